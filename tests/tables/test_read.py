"""Reading: formats, compressions, and what is refused."""

import bz2
import gzip
import lzma
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from flowcli.errors import DataError, UsageError
from flowcli.tables.json_source import PIECE_BYTES
from flowcli.tables.read import ROWS_PER_CHUNK, read_chunks, read_table

TEXT = "x,kind\n1.5,a\n-2,b\n00501,c d\n"
CELLS = {"x": ["1.5", "-2", "00501"], "kind": ["a", "b", "c d"]}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a file in the folder that is worked in; gives its name."""
    monkeypatch.chdir(tmp_path)

    def write(content: str | bytes, name: str = "t.csv") -> str:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    return write


def cells(*sources: str) -> dict[str, list]:
    return read_table(sources).cells.to_pydict()


def refused(source: str, *words: str) -> None:
    """One line that names the source, in words a user knows."""
    with pytest.raises(DataError) as caught:
        read_table([source])
    message = str(caught.value)
    assert message.startswith(f"{source}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


COMPRESSED = {"gzip": gzip.compress, "zstd": zstd, "bz2": bz2.compress, "xz": lzma.compress}


def arrow_bytes(table: pa.Table, writer) -> bytes:
    sink = pa.BufferOutputStream()
    with writer(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def parquet_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue().to_pybytes()


COLUMNAR = {
    "parquet": parquet_bytes,
    "arrow": lambda table: arrow_bytes(table, pa.ipc.new_file),
    "arrows": lambda table: arrow_bytes(table, pa.ipc.new_stream),
}


# CSV


def test_cells_come_as_they_are_written(written):
    assert cells(written(TEXT)) == CELLS


@pytest.mark.parametrize("delimiter", ["\t", ";", "|"])
def test_the_delimiter_is_found(written, delimiter):
    assert cells(written(TEXT.replace(",", delimiter))) == CELLS


def test_decimal_commas_do_not_hide_a_semicolon(written):
    assert cells(written("x;y\n1,5;2,5\n")) == {"x": ["1,5"], "y": ["2,5"]}


def test_delimiters_inside_quoted_names_do_not_count(written):
    assert cells(written('"a;b;c",d\n1,2\n')) == {"a;b;c": ["1"], "d": ["2"]}


def test_a_tsv_is_split_at_tabs_whatever_its_names_hold(written):
    assert cells(written("a,b,c\td\n1\t2\n", "t.tsv")) == {"a,b,c": ["1"], "d": ["2"]}


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode(),
        TEXT.rstrip("\n").encode(),
        b"\n" + TEXT.encode() + b"\n\n",
    ],
    ids=["BOM", "CRLF", "BOM and CRLF", "no last newline", "blank lines around"],
)
def test_the_ways_that_programs_write_csv(written, content):
    assert cells(written(content)) == CELLS


def test_quoted_delimiters_quotes_and_newlines(written):
    text = 'name,x\n"a,b",1\n"say ""hi""",2\n"two\nlines",3\n'
    assert cells(written(text)) == {"name": ["a,b", 'say "hi"', "two\nlines"], "x": ["1", "2", "3"]}


def test_a_quoted_newline_in_a_name(written):
    assert cells(written('"a\nb",c\n1,2\n')) == {"a\nb": ["1"], "c": ["2"]}


def test_nothing_is_guessed_of_a_cell(written):
    odd = ["None", "NA", "", "true", "2020-01-01", "1e5", " 7 ", "0x10"]
    assert cells(written("x,y\n" + "".join(f"{cell},1\n" for cell in odd)))["x"] == odd


def test_unicode_names_and_cells(written):
    assert cells(written("größe,😀\n1,Łódź\n")) == {"größe": ["1"], "😀": ["Łódź"]}


def test_a_header_alone_is_a_table_without_rows(written):
    table = read_table([written("a,b\n")])
    assert table.names == ["a", "b"]
    assert len(table) == 0


def test_a_header_without_a_newline_is_a_table_without_rows(written):
    table = read_table([written("a,b")])
    assert table.names == ["a", "b"]
    assert len(table) == 0


@pytest.mark.parametrize(("line", "count"), [("1", 1), ("1,2,3", 3), ("1,2,", 3)])
def test_a_ragged_row_is_refused_with_its_number(written, line, count):
    source = written(f"a,b\n1,2\n3,4\n{line}\n5,6\n")
    refused(source, "row 3", f"has {count} cell", "the header has 2")


def test_a_ragged_row_far_down_is_refused_with_its_number(written):
    # Beyond the reader's first block.
    rows = 700_000
    source = written("a,b\n" + "1.25,2.5\n" * rows + "1\n")
    refused(source, f"row {rows + 1}:")


def test_names_that_are_there_twice_are_refused(written):
    refused(written("a,b,a,c,b\n1,2,3,4,5\n"), "twice", "'a', 'b'")


def test_a_column_without_a_name_is_refused(written):
    refused(written("a, ,c\n1,2,3\n"), "column 2 has no name")


@pytest.mark.parametrize("content", ["x,kind\n1,é\n", "größe,x\n1,2\n"], ids=["cell", "name"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings_are_refused_with_advice(written, content, encoding):
    refused(written(content.encode(encoding)), "UTF-8", f"--encoding {encoding}")


@pytest.mark.parametrize("content", ["", "\n", "\n\n\n", " \n", "\ufeff"])
def test_an_empty_file_is_refused(written, content):
    refused(written(content), "empty")


def test_no_message_speaks_of_the_reader_inside(written):
    with pytest.raises(DataError) as caught:
        read_table([written('"a,b\n1,2\n')])
    assert "block" not in str(caught.value)


def test_a_missing_file_is_a_usage_error(written):
    with pytest.raises(UsageError, match=r"nowhere\.csv: no such file"):
        read_table(["nowhere.csv"])


def test_a_folder_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="is a folder"):
        read_table([str(tmp_path)])


# Compression is found by the first bytes, not by the name


@pytest.mark.parametrize("compression", COMPRESSED)
@pytest.mark.parametrize("name", ["t.csv", "t.csv.other"])
def test_compressed_files(written, compression, name):
    assert cells(written(COMPRESSED[compression](TEXT.encode()), name)) == CELLS


def test_gzip_in_several_members(written):
    head, tail = TEXT[:20], TEXT[20:]
    assert cells(written(gzip.compress(head.encode()) + gzip.compress(tail.encode()))) == CELLS


def test_a_compressed_tsv(written):
    assert cells(written(gzip.compress(b"a,b\tc\n1\t2\n"), "t.tsv.gz")) == {"a,b": ["1"], "c": ["2"]}


@pytest.mark.parametrize("compression", COMPRESSED)
def test_a_truncated_file_is_refused(written, compression):
    many = "x,y\n" + "".join(f"{i},{i * 7919 % 1009}\n" for i in range(5000))
    content = COMPRESSED[compression](many.encode())
    refused(written(content[: len(content) // 2]))


@pytest.mark.parametrize("compression", COMPRESSED)
def test_a_truncated_last_byte_is_noticed(written, compression):
    refused(written(COMPRESSED[compression](TEXT.encode())[:-1]))


@pytest.mark.parametrize(
    "magic", [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\x00", b"PAR1", b"ARROW1\0\0", b"\xff" * 4]
)
def test_garbage_behind_good_first_bytes_is_refused(written, magic):
    refused(written(magic + b"garbage" * 9))


def test_an_empty_table_in_gzip_is_refused(written):
    refused(written(gzip.compress(b"")), "empty")


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_quote_that_is_not_closed_swallows_no_rows(written, end):
    refused(written('a,b\n1,"2\n3,4\n5,6' + end), "row 1: a quote is not closed")


def test_a_quote_that_is_not_closed_is_told_before_all_is_read(written):
    refused(written('a,b\n1,"2\n' + "3,4\n" * 600_000), "a quote is not closed")


def test_the_row_of_a_quote_that_is_not_closed(written):
    rows = 600_000
    refused(written("a,b\n" + "3,4\n" * rows + '1,"2\n3,4\n'), f"row {rows + 1:,}: a quote")


@pytest.mark.parametrize("end", ['"', '"\n', '"\r\n\r\n', '" \n'])
def test_a_last_cell_in_quotes_is_no_mistake(written, end):
    assert [cell.rstrip() for cell in cells(written('a,b\n1,"2\n3,4' + end))["b"]] == ["2\n3,4"]


def test_a_header_wider_than_a_pipe_is_read_whole(tmp_path):
    names = [f"a_rather_long_name_{i}" for i in range(10_000)]
    content = f"{','.join(names)}\n{','.join(['01'] * len(names))}\n"
    command = "t = read_table(['-']); print(t.names[-1], set(t.cells.schema.types))"
    command = f"from flowcli.tables.read import read_table; {command}"
    done = subprocess.run([sys.executable, "-c", command], input=content.encode(), capture_output=True, check=True)
    assert done.stdout.decode().strip() == "a_rather_long_name_9999 {DataType(string)}"


# Encodings


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_an_encoding_that_is_given(written, encoding, pack):
    source = written(pack('größe,x\nÀ,"a\r\nb"\r\n'.encode(encoding)))
    assert read_table([source], encoding).cells.to_pydict() == {"größe": ["À"], "x": ["a\r\nb"]}


def test_json_lines_in_another_encoding(written):
    source = written('{"größe": "À"}\n'.encode("latin-1"), "t.jsonl")
    assert read_table([source], "latin-1").cells.to_pydict() == {"größe": ["À"]}
    refused(source, "line 1", "--encoding latin-1")


def test_columnar_formats_have_their_own_encoding(tmp_path):
    pyarrow.parquet.write_table(pa.table({"größe": ["À"]}), tmp_path / "t.parquet")
    assert read_table([str(tmp_path / "t.parquet")], "latin-1").cells.to_pydict() == {"größe": ["À"]}


# Standard input, through a real pipe

# Ended as the program ends: see flowcli/__main__.py.
READ_STDIN = """
import os
from flowcli.tables.read import read_table
print(read_table(['-']).cells.to_pydict(), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress], ids=["plain", "gzip", "xz"])
@pytest.mark.parametrize("kind", COLUMNAR)
def test_columnar_formats_on_standard_input(kind, pack):
    content = pack(COLUMNAR[kind](pa.table(CELLS)))
    done = subprocess.run([sys.executable, "-c", READ_STDIN], input=content, capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(CELLS)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace(",", "\t").encode(),
        TEXT.replace(",", ";").replace("a", '"a"').encode(),
    ],
    ids=["BOM", "CRLF", "tabs", "semicolons"],
)
def test_the_ways_that_programs_write_csv_on_standard_input(content):
    done = subprocess.run([sys.executable, "-c", READ_STDIN], input=content, capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(CELLS)


def test_newlines_in_cells_on_standard_input():
    done = subprocess.run([sys.executable, "-c", READ_STDIN], input=b'a,b\r\n"1\r\n2",3\r\n', capture_output=True)
    assert done.stdout.decode().strip() == str({"a": ["1\r\n2"], "b": ["3"]})


@pytest.mark.parametrize("kind", ["plain", *COMPRESSED, "json lines"])
def test_standard_input(kind):
    if kind == "json lines":
        content = "".join(f'{{"x": "{x}", "kind": "{k}"}}\n' for x, k in zip(*CELLS.values(), strict=True)).encode()
    else:
        content = COMPRESSED.get(kind, bytes)(TEXT.encode())
    done = subprocess.run([sys.executable, "-c", READ_STDIN], input=content, capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(CELLS)


# The other formats keep their types


@pytest.mark.parametrize("kind", COLUMNAR)
def test_columnar_formats(written, kind):
    table = pa.table({"x": [1.5, None], "n": [1, 2], "kind": ["a", "00501"], "flag": [True, False]})
    assert read_table([written(COLUMNAR[kind](table), "t.any")]).cells.equals(table)


@pytest.mark.parametrize("kind", COLUMNAR)
def test_columnar_formats_without_rows(written, kind):
    read = read_table([written(COLUMNAR[kind](pa.table({"x": pa.array([], pa.float64())})))])
    assert (read.names, len(read)) == (["x"], 0)


@pytest.mark.parametrize("kind", COLUMNAR)
@pytest.mark.parametrize("left", [0.9, 0.5, 0.1])
def test_columnar_formats_cut_short_are_refused(written, kind, left):
    content = COLUMNAR[kind](pa.table({"x": [i * 7919 % 1009 for i in range(5000)]}))
    refused(written(content[: int(len(content) * left)]))


def test_parquet_of_wide_rows_comes_in_smaller_chunks(written):
    table = pa.table({"x": range(1000), "note": [f"{i}" * 10_000 for i in range(1000)]})
    sizes = [chunk.cells.nbytes for chunk in read_chunks(written(parquet_bytes(table)))]
    assert sum(sizes) > 2e7
    assert max(sizes) < 20e6


@pytest.mark.parametrize("kind", [*COLUMNAR, "csv", "jsonl"])
def test_large_tables_come_in_chunks_with_their_rows_counted(written, kind):
    rows = 2 * ROWS_PER_CHUNK + 10
    table = pa.table({"x": range(rows)})
    if kind in COLUMNAR:
        source = written(COLUMNAR[kind](table))
    else:
        head, line = ("x\n", "{}\n") if kind == "csv" else ("", '{{"x": {}}}\n')
        source = written(head + "".join(line.format(i) for i in range(rows)))
    chunks = list(read_chunks(source))
    assert max(map(len, chunks)) <= ROWS_PER_CHUNK
    assert [int(x) for chunk in chunks for x in chunk.column("x").to_pylist()] == list(range(rows))
    for chunk in chunks:
        assert chunk.locate(0) == f"{source}: row {int(chunk.column('x')[0].as_py()) + 1}"


def test_json_lines(written):
    text = '{"x": 1, "kind": "00501"}\n\n{"kind": "é", "x": 2.5}\n{"x": null, "kind": "b"}\n'
    assert cells(written(text, "t.jsonl")) == {"x": [1.0, 2.5, None], "kind": ["00501", "é", "b"]}


def test_a_key_that_a_line_has_not_is_a_missing_cell(written):
    assert cells(written('{"a": 1}\n{"a": 2, "b": 3}\n', "t.jsonl")) == {"a": [1, 2], "b": [None, 3]}


def test_a_key_that_a_later_chunk_has_not_is_a_column_of_holes(written):
    rows = PIECE_BYTES // 1000 + 1
    line = f'{{"a": 1, "b": "{"x" * 1000}"}}\n'
    source = written(line * rows + '{"a": 2.5, "c": 3}\n', "t.jsonl")
    first, second = read_chunks(source)
    assert first.names == ["a", "b"]
    second = second.take(np.array([len(second) - 1]))
    assert second.cells.to_pydict() == {"a": [2.5], "b": [None], "c": [3]}
    # As one table, the column of two types of numbers is of the wider one.
    whole = read_table([source]).cells
    assert [str(kind) for kind in whole.schema.types] == ["double", "string", "int64"]
    assert whole.slice(rows - 1).to_pydict() == {"a": [1.0, 2.5], "b": ["x" * 1000, None], "c": [None, 3]}


def test_the_row_of_another_type_is_named(written):
    refused(written('{"a": null}\n{"a": 1}\n{"a": 2.5}\n{"a": "x"}\n', "t.jsonl"), "row 4", "'a'")


def test_a_chunk_of_another_type_is_refused(written):
    refused(written('{"a": 1}\n' * (PIECE_BYTES // 9 + 1) + '{"a": "x"}\n', "t.jsonl"), "'a' (int64 and string)")


def test_dates_in_json_lines_stay_as_they_are_written(written):
    # In CSV this cell is text; the same data in another format is the same table.
    assert cells(written('{"day": "2020-01-01"}\n', "t.jsonl")) == {"day": ["2020-01-01"]}


@pytest.mark.parametrize(
    "text", ['{"a": 1\n{"a": 2}\n', '{"a": 1}\n{"a": "x"}\n', '{"a": 1, "a": 2}\n', '{"a": 1}\nnonsense\n']
)
def test_wrong_json_lines_are_refused(written, text):
    refused(written(text, "t.jsonl"))


def test_a_json_array_is_refused_with_what_is_read_instead(written):
    refused(written('[{"a": 1}, {"a": 2}]', "t.json"), "JSON lines")


# Several sources


def test_several_files_are_one_table(written):
    names = [written("a,b\n1,2\n", "1.csv"), written("a;b\n3;4\n5;6\n", "2.csv")]
    table = read_table(names)
    assert table.cells.to_pydict() == {"a": ["1", "3", "5"], "b": ["2", "4", "6"]}
    assert [table.locate(row) for row in range(3)] == ["1.csv: row 1", "2.csv: row 1", "2.csv: row 2"]


def test_files_with_other_columns_are_refused_by_name(written):
    names = [written("a,b\n1,2\n", "1.csv"), written("a,c\n3,4\n", "2.csv")]
    with pytest.raises(DataError, match=r"2\.csv: .*1\.csv: b, c"):
        read_table(names)


def test_the_same_columns_in_another_order_are_the_same_columns(written):
    names = [written("a,b\n1,2\n", "1.csv"), written("b,a\n4,3\n", "2.csv")]
    try:
        outcome = cells(*names)
    except DataError as error:
        outcome = str(error)
    # Refused is good too; mixed up is not.
    assert outcome == {"a": ["1", "3"], "b": ["2", "4"]} or "order" in outcome


def test_formats_with_other_types_are_refused_or_joined(written, tmp_path):
    pyarrow.parquet.write_table(pa.table({"a": [1.5]}), tmp_path / "1.parquet")
    names = ["1.parquet", written("a\n2.5\n", "2.csv")]
    told, values = "", []
    try:
        values = cells(*names)["a"]
    except DataError as error:
        told = str(error)
    assert "'a'" in told or [float(value) for value in values] == [1.5, 2.5]
