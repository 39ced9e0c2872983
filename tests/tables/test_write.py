"""Writing: formats that read back, and files that are whole or not there."""

import csv
import datetime
import gc
import io
import json
import math
import os
import stat
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcli.errors import DataError, FlowcliError, UsageError
from flowcli.files import written_whole
from flowcli.tables.formats import FORMATS, output_format
from flowcli.tables.read import read_table
from flowcli.tables.write import table_writer

NASTY = ["plain", "a,b", 'say "hi"', "two\nlines", "tab\there", " spaced ", "é😀", "", "'", "\\", "-", "=1+1", "a;b|c"]


def written(cells: pa.Table, form: str) -> bytes:
    stream = io.BytesIO()
    with table_writer(stream, form) as writer:
        writer.write(cells)
    return stream.getvalue()


@pytest.mark.parametrize("ending", FORMATS)
def test_what_is_written_reads_back(tmp_path, ending):
    cells = pa.table({"x": [0.1, 1e-300, -0.5], "n": [1, -2, 2**53 + 1], "kind": ["a,b", 'q"q', "é"]})
    path = tmp_path / f"t{ending}"
    path.write_bytes(written(cells, FORMATS[ending]))
    read = read_table([str(path)]).cells
    assert read.column_names == ["x", "n", "kind"]
    assert [float(x) for x in read["x"].to_pylist()] == [0.1, 1e-300, -0.5]
    assert [int(n) for n in read["n"].to_pylist()] == [1, -2, 2**53 + 1]
    assert read["kind"].to_pylist() == ["a,b", 'q"q', "é"]


@pytest.mark.parametrize(("form", "delimiter"), [("csv", ","), ("tsv", "\t")])
@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_any_label_is_quoted_where_it_must_be(form, delimiter, kind):
    cells = pa.table({"kind": pa.array(NASTY).cast(kind), "x": range(len(NASTY))})
    rows = list(csv.reader(io.StringIO(written(cells, form).decode(), newline=""), delimiter=delimiter))
    assert rows[0] == ["kind", "x"]
    assert [row[0] for row in rows[1:]] == NASTY
    assert [row[1] for row in rows[1:]] == [str(i) for i in range(len(NASTY))]


def test_plain_cells_have_no_quotes():
    assert written(pa.table({"x": [1.5], "kind": ["a b"]}), "csv") == b"x,kind\n1.5,a b\n"


def test_names_are_quoted_where_they_must_be():
    cells = pa.table({"a,b": ["1"], 'c"d': ["2"], "plain": ["3"]})
    assert next(csv.reader(io.StringIO(written(cells, "csv").decode()))) == ["a,b", 'c"d', "plain"]


def test_a_missing_cell_is_empty():
    assert written(pa.table({"x": [1.5, None], "kind": [None, "a"]}), "csv") == b"x,kind\n1.5,\n,a\n"


def test_a_missing_cell_alone_in_its_row_still_is_a_row():
    # Readers skip an empty line: the rows after it would move up.
    text = written(pa.table({"log_prob": [1.0, None, 3.0]}), "csv").decode()
    frame = pd.read_csv(io.StringIO(text))
    assert frame["log_prob"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_minus_infinity_in_text(form):
    lines = written(pa.table({"log_prob": [-math.inf, 1.0]}), form).decode().splitlines()
    assert float(lines[1]) == -math.inf


def test_minus_infinity_in_parquet():
    content = written(pa.table({"log_prob": [-math.inf]}), "parquet")
    assert pyarrow.parquet.read_table(io.BytesIO(content))["log_prob"].to_pylist() == [-math.inf]


def test_minus_infinity_in_json_lines_is_json():
    def no_constant(word):
        raise AssertionError(f"{word} is not JSON")

    lines = written(pa.table({"log_prob": [-math.inf, 1.0]}), "jsonl").decode().splitlines()
    assert [json.loads(line, parse_constant=no_constant)["log_prob"] for line in lines][1] == 1.0


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_any_float_comes_back_exactly(values):
    text = written(pa.table({"x": values}), "csv").decode().splitlines()[1:]
    assert [float(cell) for cell in text] == values
    lines = written(pa.table({"x": values}), "jsonl").decode().splitlines()
    assert [json.loads(line)["x"] for line in lines] == values


def test_pieces_have_one_header():
    stream = io.BytesIO()
    with table_writer(stream, "csv") as writer:
        for start in (0, 2):
            writer.write(pa.table({"x": [start, start + 1]}))
    assert stream.getvalue() == b"x\n0\n1\n2\n3\n"


def test_pieces_of_parquet_are_one_file():
    stream = io.BytesIO()
    with table_writer(stream, "parquet") as writer:
        for start in (0, 2):
            writer.write(pa.table({"x": [start, start + 1]}))
    assert pyarrow.parquet.read_table(io.BytesIO(stream.getvalue()))["x"].to_pylist() == [0, 1, 2, 3]


# One type for a column, over all pieces


COLUMNAR = ["parquet", "arrow", "arrows"]


def pieces(form, *columns):
    stream = io.BytesIO()
    with table_writer(stream, form) as writer:
        for column in columns:
            writer.write(pa.table({"x": column}))
    return stream.getvalue()


@pytest.mark.parametrize("form", COLUMNAR)
@pytest.mark.parametrize(
    ("first", "later", "values"),
    [
        (pa.array([1.5]), pa.array([2]), [1.5, 2.0]),
        (pa.array([1]), pa.array([2.0]), [1, 2]),
        (pa.array([1]), pa.array([None]), [1, None]),
        (pa.array(["a"]), pa.array([None]), ["a", None]),
        (pa.array(["a"]), pa.array(["b"], pa.large_string()), ["a", "b"]),
        (pa.array(["a"]).dictionary_encode(), pa.array(["b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([[1]]), pa.array([[2, 3]]), [[1], [2, 3]]),
    ],
)
def test_later_pieces_take_the_types_of_the_first(tmp_path, form, first, later, values):
    path = tmp_path / "t"
    path.write_bytes(pieces(form, first, later))
    assert read_table([str(path)]).cells["x"].to_pylist() == values


@pytest.mark.parametrize("form", COLUMNAR)
@pytest.mark.parametrize(
    ("first", "later"),
    [
        (pa.array([1]), pa.array([2.5])),
        (pa.array([1.5]), pa.array([2**53 + 1])),
        (pa.array([1.5], pa.float32()), pa.array([0.1])),
        (pa.array([1]), pa.array(["05"])),
        (pa.array(["a"]), pa.array([5])),
        (pa.array([None]), pa.array(["a"])),
        (pa.array([True]), pa.array([1])),
    ],
)
def test_types_that_would_change_a_value_are_refused(form, first, later):
    with pytest.raises(DataError) as caught:
        pieces(form, first, later)
    assert str(caught.value).startswith(f"column 'x' holds {later.type} after 1 rows of {first.type}, and {form} ")


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl"])
def test_text_formats_take_any_types(form):
    assert pieces(form, pa.array([1]), pa.array([2.5]), pa.array([None]), pa.array(["a"]))


@pytest.mark.parametrize("form", ["csv", "tsv"])
@pytest.mark.parametrize("values", [[[1]], [{"a": 1}], [b"\xff"]], ids=["list", "struct", "binary"])
def test_what_is_neither_number_nor_text_is_not_for_csv(form, values):
    with pytest.raises(DataError, match=r"column 'x' holds .*, which CSV cannot"):
        pieces(form, pa.array(values))


def test_json_lines_of_every_type():
    day, price = datetime.date(2020, 1, 2), Decimal("1.50")
    line = written(pa.table({"day": [day], "price": [price], "list": [[1.5, math.inf]], "of": [{"a": None}]}), "jsonl")
    assert json.loads(line) == {"day": "2020-01-02", "price": 1.5, "list": [1.5, None], "of": {"a": None}}


@pytest.mark.parametrize("form", FORMATS.values())
def test_nothing_is_written_after_an_error(form):
    # Parquet would otherwise be given an end that makes the part look like the whole.
    stream = io.BytesIO()

    def fail():
        with table_writer(stream, form) as writer:
            writer.write(pa.table({"x": [1, 2]}))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    gc.collect()
    if form == "parquet":
        assert not stream.getvalue().endswith(b"PAR1") or len(stream.getvalue()) == 4
    if form == "arrow":
        assert not stream.getvalue().endswith(b"ARROW1")


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", *COLUMNAR])
def test_a_table_without_rows(tmp_path, form):
    content = written(pa.table({"x": pa.array([], pa.float64())}), form)
    if form in COLUMNAR:
        (tmp_path / "t").write_bytes(content)
        assert read_table([str(tmp_path / "t")]).names == ["x"]
        return
    if form in ("csv", "tsv"):
        assert content == b"x\n"
    else:
        assert content == b""


@pytest.mark.parametrize(
    ("path", "form", "compression"),
    [
        ("a.csv", "csv", None),
        ("b/a.TSV", "tsv", None),
        ("a.b.jsonl", "jsonl", None),
        ("a.parquet", "parquet", None),
        ("a.arrow", "arrow", None),
        ("a.feather", "arrow", None),
        ("a.arrows", "arrows", None),
        ("a.csv.gz", "csv", "gzip"),
        ("a.TSV.ZST", "tsv", "zstd"),
        ("b.c/a.jsonl.xz", "jsonl", "xz"),
        ("a.csv.bz2", "csv", "bz2"),
        ("-", "csv", None),
    ],
)
def test_the_ending_says_the_format(path, form, compression):
    assert output_format(path) == (form, compression)


@pytest.mark.parametrize(
    ("path", "compression"), [("a.csv", None), ("a", None), ("-", None), ("a.gz", "gzip"), ("a.csv.xz", "xz")]
)
def test_a_format_that_is_given_wins_over_the_ending(path, compression):
    assert output_format(path, "tsv") == ("tsv", compression)


@pytest.mark.parametrize("path", ["a", "a.xlsx", "a.csv.zip", "csv", "a.gz", ".gz", "a.csv.gz.gz"])
def test_another_ending_is_refused_with_the_known_ones(path):
    with pytest.raises(UsageError) as caught:
        output_format(path)
    for ending in FORMATS:
        assert ending in str(caught.value)


@pytest.mark.parametrize(("path", "form"), [("a.parquet.gz", None), ("a.arrow.zst", None), ("a.gz", "parquet")])
def test_only_text_is_compressed(path, form):
    with pytest.raises(UsageError, match="only csv, tsv, jsonl are compressed"):
        output_format(path, form)


# Whole or not at all


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "out.csv"
    with written_whole(path) as stream:
        stream.write(b"whole\n")
        assert not path.exists()
    assert path.read_bytes() == b"whole\n"
    assert [found.name for found in tmp_path.iterdir()] == ["out.csv"]


def fail_in_the_middle(path, error):
    with written_whole(path) as stream:
        stream.write(b"half")
        stream.flush()
        raise error


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_what_was_there_is_kept_when_writing_fails(tmp_path, error):
    path = tmp_path / "out.csv"
    path.write_bytes(b"before\n")
    with pytest.raises(error):
        fail_in_the_middle(path, error)
    assert path.read_bytes() == b"before\n"
    assert [found.name for found in tmp_path.iterdir()] == ["out.csv"]


def test_nothing_is_there_when_writing_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fail_in_the_middle(tmp_path / "out.csv", KeyboardInterrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_machine_is_told_with_the_file(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(FlowcliError, match=r"nowhere.out\.csv: cannot be written: No such file"):
        fail_in_the_middle(tmp_path / "nowhere" / "out.csv", ZeroDivisionError)
    with pytest.raises(FlowcliError, match=r"folder\.csv: cannot be written"), written_whole(tmp_path / "folder.csv"):
        pass
    assert [found.name for found in tmp_path.iterdir()] == ["folder.csv"]


def test_a_new_file_has_the_usual_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        with written_whole(tmp_path / "out.csv") as stream:
            stream.write(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o640


def test_a_link_keeps_pointing_where_it_did(tmp_path):
    target = tmp_path / "elsewhere.csv"
    target.write_bytes(b"before\n")
    link = tmp_path / "out.csv"
    link.symlink_to(target)
    with written_whole(link) as stream:
        stream.write(b"after\n")
    assert link.is_symlink()
    assert target.read_bytes() == b"after\n"
