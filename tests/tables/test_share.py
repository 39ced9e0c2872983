"""Shares of the rows of files."""

import gzip
import io

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest

from flowcli.errors import DataError
from flowcli.tables.read import read_table
from flowcli.tables.share import Share, count_rows

ENDINGS = ["csv", "csv.gz", "jsonl", "parquet", "arrow"]


def write(cells, path):
    if path.name.endswith(".parquet"):
        pa.parquet.write_table(cells, path, row_group_size=7)
    elif path.name.endswith(".arrow"):
        pa.feather.write_feather(cells, path, chunksize=7)
    elif path.name.endswith(".jsonl"):
        path.write_text("".join(f'{{"x": {x}, "word": "{word}"}}\n' for x, word in zip(*cells.columns, strict=True)))
    else:
        text = io.BytesIO()
        pa.csv.write_csv(cells, text)
        path.write_bytes(gzip.compress(text.getvalue()) if path.name.endswith(".gz") else text.getvalue())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shares_are_the_whole(tmp_path, ending, parts):
    files = [str(tmp_path / f"{number}.{ending}") for number in range(3)]
    for number in range(3):
        start, size = 100 * number, (20, 1, 33)[number]
        words = [f"two\nlines, {k}" if ending.startswith("csv") else f"word {k}" for k in range(size)]
        write(pa.table({"x": range(start, start + size), "word": words}), tmp_path / f"{number}.{ending}")
    whole = read_table(files)
    counted = [count_rows(file) for file in files]
    assert [file.rows for file in counted] == [20, 1, 33]
    assert {tuple(file.names) for file in counted} == {("x", "word")}
    cells, places = [], []
    for part in range(parts):
        share = Share(counted, 54 * part // parts, 54 * (part + 1) // parts)
        for chunk in share.chunks():
            cells += chunk.cells.to_pylist()
            places += [chunk.locate(row) for row in range(len(chunk))]
    assert cells == whole.cells.to_pylist()
    assert places == [whole.locate(row) for row in range(len(whole))]


def test_a_share_without_rows_has_a_chunk(tmp_path):
    write(pa.table({"x": [1, 2], "word": ["a", "b"]}), tmp_path / "t.csv")
    (chunk,) = Share([count_rows(str(tmp_path / "t.csv"))], 1, 1).chunks()
    assert (chunk.names, len(chunk)) == (["x", "word"], 0)


def test_files_of_other_columns_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    with pytest.raises(DataError, match=r"b\.csv: its columns differ from those of .*a\.csv: y, z"):
        Share([count_rows(str(tmp_path / name)) for name in ("a.csv", "b.csv")], 0, 1)
