"""Input columns beside computed ones."""

import pyarrow as pa
import pytest

from flowcli.errors import DataError
from flowcli.tables.keep import KeptColumns
from flowcli.tables.table import Origin, Table


def table(first_row: int = 1, **columns) -> Table:
    cells = pa.table(columns)
    return Table(cells, (Origin("t.csv", first_row, cells.num_rows),))


def test_named_columns_come_first_in_the_order_asked_for():
    beside = KeptColumns(["b", "a"]).beside(table(a=["01"], x=["2"], b=["3"]), "s", pa.array([0.5]))
    assert beside.column_names == ["b", "a", "s"]
    assert beside.to_pydict() == {"b": ["3"], "a": ["01"], "s": [0.5]}


def test_no_columns_leave_the_computed_one():
    assert KeptColumns([]).beside(table(a=["1"]), "s", pa.array([0.5])).to_pydict() == {"s": [0.5]}


def test_every_piece_has_the_columns_of_the_first():
    kept = KeptColumns(["a", "b"], whole=True)
    assert kept.beside(table(a=["1"], b=["2"]), "s", pa.array([0.5])).column_names == ["a", "b", "s"]
    assert kept.beside(table(b=["4"], a=["3"]), "s", pa.array([0.5])).column_names == ["a", "b", "s"]
    with pytest.raises(DataError, match=r"t\.csv has no column 'a'"):
        kept.beside(table(b=["4"]), "s", pa.array([0.5]))
    with pytest.raises(DataError, match=r"t\.csv: row 7: has columns that were not there before: 'c'"):
        kept.beside(table(7, a=["3"], b=["4"], c=["5"]), "s", pa.array([0.5]))


def test_a_missing_column_is_told_with_the_nearest():
    with pytest.raises(DataError, match=r"t\.csv has no column 'idd' \(did you mean 'id'\?\)"):
        KeptColumns(["idd"]).beside(table(id=["1"]), "s", pa.array([0.5]))


@pytest.mark.parametrize("whole", [True, False])
def test_the_computed_column_is_never_there_twice(whole):
    with pytest.raises(DataError, match=r"t\.csv: has a column 's' already"):
        KeptColumns(["s"], whole).beside(table(s=["1"]), "s", pa.array([0.5]))
