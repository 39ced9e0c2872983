"""Tables that are read more than once, and samples of them."""

import io
import sys

import numpy as np
import pyarrow as pa
import pytest

from flowcli.errors import DataError
from flowcli.tables.source import InFiles, InMemory, survey
from flowcli.tables.table import Origin, Table


def chunked(rows: int, size: int):
    """A source of the numbers from 0, in chunks."""

    class Source:
        def chunks(self):
            for start in range(0, rows, size):
                numbers = pa.array(range(start, min(start + size, rows)))
                yield Table(pa.table({"x": numbers}), (Origin("t.csv", 1 + start, len(numbers)),))

    return Source()


def test_a_small_table_is_its_own_sample():
    found = survey(chunked(100, 7), most=100)
    assert found.whole
    assert found.sample.column("x").to_pylist() == list(range(100))
    assert found.index.tolist() == list(range(100))


@pytest.mark.parametrize("size", [7, 1000, 20_000])
def test_a_sample_is_as_large_as_asked_and_knows_its_rows(size):
    found = survey(chunked(20_000, size), most=500)
    assert (found.rows, len(found.sample), found.whole) == (20_000, 500, False)
    assert found.sample.column("x").to_pylist() == found.index.tolist()
    assert found.sample.locate(3) == f"t.csv: row {found.index[3] + 1}"


def test_a_sample_does_not_depend_on_the_chunks():
    samples = [survey(chunked(5000, size), most=100).index.tolist() for size in (10, 999, 5000)]
    assert samples[0] == samples[1] == samples[2]


def test_a_sample_is_drawn_evenly():
    index = survey(chunked(50_000, 1000), most=5000).index
    counts = np.histogram(index, bins=10, range=(0, 50_000))[0]
    assert counts.min() > 400
    assert len(np.unique(index % 2)) == 2
    assert abs((index % 2).mean() - 0.5) < 0.03


def test_standard_input_can_be_read_again(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x\n1\n2\n")))
    source = InFiles(["-"])
    for _ in range(3):
        (chunk,) = source.chunks()
        assert chunk.column("x").to_pylist() == ["1", "2"]
        assert chunk.locate(0) == "standard input: row 1"
    source.kept.close()


def test_files_with_other_columns_are_refused(tmp_path):
    for name, text in (("a.csv", "x,y\n1,2\n"), ("b.csv", "x,z\n1,2\n")):
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=r"b\.csv: its columns differ from those of .*a\.csv: y, z"):
        survey(InFiles([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]))


def test_types_that_differ_are_refused():
    class Source:
        def chunks(self):
            for cells in (pa.array([1]), pa.array(["a"])):
                yield Table(pa.table({"x": cells}), (Origin("t", 1, 1),))

    with pytest.raises(DataError, match=r"'x' \(int64 and string\)"):
        survey(Source())


def test_a_table_in_memory():
    table = Table(pa.table({"x": [1]}), (Origin("t", 1, 1),))
    assert next(InMemory(table).chunks()) is table
