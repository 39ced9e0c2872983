"""Tables of other libraries: what they become, what comes back, and what is refused."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from flowcli.errors import DataError, UsageError
from flowcli.tables.frames import as_table, files_of, in_kind_of, library_of, written_as
from flowcli.tables.infer import infer_columns
from flowcli.tables.table import Table

ROWS = {"x": [0.5, 1.5, 2.5], "word": ["a", None, "c"], "when": [datetime.date(2024, 1, day) for day in (1, 2, 3)]}


class OnlyStream:
    """What has the Arrow PyCapsule interface and nothing else."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


class OnlyInterchange:
    """What has the dataframe interchange protocol and nothing else."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __dataframe__(self, *args: Any, **options: Any) -> object:
        return self.table.__dataframe__(*args, **options)


@pytest.mark.parametrize(
    "table",
    [pd.DataFrame(ROWS), pl.DataFrame(ROWS), pa.table(ROWS), OnlyStream(pa.table(ROWS)), ROWS],
    ids=["pandas", "polars", "pyarrow", "stream", "mapping"],
)
def test_the_cells_are_those_of_the_source(table: object) -> None:
    found = as_table(table)
    assert found.cells.to_pydict() == ROWS
    assert found.locate(1) == "the table: row 2"


def test_the_interchange_protocol_will_do() -> None:
    numbers = pa.table({"x": [1.0, 2.0], "n": [3, 4]})
    assert as_table(OnlyInterchange(numbers)).cells.to_pydict() == numbers.to_pydict()


def test_the_index_of_pandas_is_left_out_and_names_become_text() -> None:
    frame = pd.DataFrame([[1, 2.5]], columns=[0, ("a", 1)], index=["row"])
    assert as_table(frame).cells.to_pydict() == {"0": [1], "('a', 1)": [2.5]}


def test_arrays() -> None:
    assert as_table(np.array([[1, 2], [3, 4]])).cells.to_pydict() == {"x1": [1, 3], "x2": [2, 4]}
    assert as_table(np.array([1.5, np.nan]), names=["z"]).cells.to_pydict() == {"z": [1.5, None]}
    masked = np.ma.masked_equal([[1.0, 2.0]], 2.0)
    assert as_table(masked).cells.to_pydict() == {"x1": [1.0], "x2": [None]}
    with pytest.raises(DataError, match=r"an array has rows and columns, \(n, d\); got float64 of shape \(2, 2, 2\)"):
        as_table(np.zeros((2, 2, 2)))
    with pytest.raises(DataError, match="has 3 columns, and not 2: a, b"):
        as_table(np.zeros((2, 3)), names=["a", "b"])


def test_a_single_value_is_a_column_of_one_row() -> None:
    row = {"a": 1, "b": "word", "c": np.float64(2.5), "d": None}
    assert as_table(row).cells.to_pydict() == {"a": [1], "b": ["word"], "c": [2.5], "d": [None]}


def test_numbers_and_texts_beside_each_other_are_texts_as_in_a_file() -> None:
    frame = pd.DataFrame({"c": [1, "a", 2.5, None, True]})
    assert as_table(frame).column("c").to_pylist() == ["1", "a", "2.5", None, "True"]
    strays = pd.DataFrame({"c": [*np.linspace(0.1, 7, 50).tolist(), "oops"]}, dtype=object)
    with pytest.raises(DataError, match=r"'c' .not a number: 'oops' in row 51"):
        infer_columns(as_table(strays))


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
def test_rows_come_back_in_the_kind_of_the_table(library: str) -> None:
    table = written_as(pa.table(ROWS), library)
    back = in_kind_of(table, as_table(table).cells)
    assert type(back) is type(table)
    assert library_of(back) == library
    assert as_table(back).cells.to_pydict() == ROWS


def test_arrays_come_back_as_arrays() -> None:
    numbers = pa.table({"a": [1.5, None], "b": [1, 2], "c": [True, False]})
    back = in_kind_of(np.zeros((2, 3)), numbers)
    np.testing.assert_array_equal(back, [[1.5, 1, 1], [np.nan, 2, 0]])
    assert in_kind_of(np.zeros((2, 1)), numbers.select(["b"])).dtype == np.int64
    assert written_as(pa.table(ROWS), "numpy")[0].tolist() == [0.5, "a", datetime.date(2024, 1, 1)]


def test_a_pandas_index_comes_back() -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=["one", "two"])
    assert in_kind_of(frame, pa.table({"b": [3, 4]})).index.tolist() == ["one", "two"]


def test_files() -> None:
    assert files_of("a.csv") == ["a.csv"]
    assert files_of(["a.csv", "b.csv"]) == ["a.csv", "b.csv"]
    assert files_of([[1, 2]]) is None
    assert files_of([]) is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "column names are there twice: 'a'"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "column names are there twice: '1'"),
        (pd.DataFrame([[1, 2]], columns=["a", " "]), "column 2 has no name; give it one"),
        (pd.DataFrame({"a": [1.5, object()]}), "row 2, column 'a': holds object"),
        (pd.DataFrame({"a": [1j]}), "row 1, column 'a': holds complex"),
        (pd.Series([1.5], name="a"), "a Series is one column; series.to_frame() is a table"),
        (pl.Series("a", [1.5]), "a Series is one column; series.to_frame() is a table"),
        (pl.DataFrame({"a": [1]}).lazy(), "got LazyFrame; collect it into a DataFrame first"),
        ({"a": [1], "b": [1, 2]}, "columns of different lengths: 'a' 1, 'b' 2"),
        ({"a": np.zeros((2, 2))}, "column 'a' is an array of 2 dimensions; a column has one"),
        ([[1, 2], [3, 4]], "got list"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(table: object, message: str) -> None:
    with pytest.raises(DataError) as refused:
        as_table(table)
    assert str(refused.value).startswith("the table: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_library_is_refused() -> None:
    with pytest.raises(UsageError, match="pandas, polars, arrow, numpy; got 'excel'"):
        written_as(pa.table(ROWS), "excel")


def kinds(table: object) -> dict[str, tuple[str, str]]:
    return {column.name: (column.nature, column.cells) for column in infer_columns(as_table(table))}


def test_categories_are_labels_whatever_they_are() -> None:
    frame = pd.DataFrame(
        {
            "word": pd.Categorical(list("ab") * 20),
            "number": pd.Categorical([3, 7] * 20),
            "half": pd.Categorical([0.5, 1.5] * 20),
            "flag": pd.Categorical([True, False] * 20),
        }
    )
    expected = {
        "word": ("label", "text"),
        "number": ("label", "integer"),
        "half": ("label", "number"),
        "flag": ("boolean", "boolean"),
    }
    assert kinds(frame) == expected
    words = pl.DataFrame(
        {
            "a": pl.Series(list("ab") * 20, dtype=pl.Categorical),
            "b": pl.Series(list("ab") * 20, dtype=pl.Enum(["a", "b"])),
        }
    )
    assert kinds(words) == {"a": ("label", "text"), "b": ("label", "text")}


def test_nullable_columns_have_holes() -> None:
    frame = pd.DataFrame(
        {
            "n": pd.array([1, None, 3, 4] * 10, dtype="Int64"),
            "b": pd.array([True, None, False, True] * 10, dtype="boolean"),
            "s": pd.array(["u", None, "v", "u"] * 10, dtype="string"),
        }
    )
    assert [column.missing for column in infer_columns(as_table(frame))] == [True, True, True]


def test_a_constant_keeps_its_type() -> None:
    frame = pd.DataFrame({"x": [0.5, 2.0], "n": [7, 7], "h": [1.5, 1.5], "b": [True, True], "s": ["7", "7"]})
    expected = {"n": "integer", "h": "number", "b": "boolean", "s": "text"}
    found = kinds(frame)
    assert {name: found[name] for name in expected} == {name: ("constant", cells) for name, cells in expected.items()}


def test_rows_of_polars_can_be_taken() -> None:
    # Its texts are views, which not all of Arrow's functions know.
    frame = pl.DataFrame({"s": ["a", "b"], "c": pl.Series(["u", "v"], dtype=pl.Categorical)})
    taken: Table = as_table(frame).take(np.array([1]))
    assert taken.cells.to_pydict() == {"s": ["b"], "c": ["v"]}
