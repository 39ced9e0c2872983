"""Reading tables: CSV and TSV, plain or compressed, Parquet, JSON lines; files or standard input."""

from __future__ import annotations

import csv
import io
import json
import lzma
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from flowcli.errors import DataError, UsageError
from flowcli.tables.table import Origin, Table, concatenate

STDIN = "-"
BLOCK_BYTES = 4 << 20
ROWS_PER_CHUNK = 65536

_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
_XZ = b"\xfd7zXZ\x00"
_PARQUET = b"PAR1"
_DELIMITERS = [",", "\t", ";", "|"]


def read_table(sources: Sequence[str]) -> Table:
    """Read several sources as one table.

    Raises:
        UsageError: a file is missing, or standard input is a terminal.
        DataError: a source is empty or damaged, or the sources' columns differ.
    """
    tables: list[Table] = []
    for source in sources:
        chunks = list(read_chunks(source))
        if tables and chunks[0].names != tables[0].names:
            raise DataError(
                f"{chunks[0].source()}: its columns differ from those of {tables[0].source()}: "
                f"{', '.join(sorted(set(chunks[0].names) ^ set(tables[0].names))) or 'their order'}"
            )
        tables += chunks
    try:
        return concatenate(tables)
    except pa.ArrowTypeError:
        types = {name: {str(table.column(name).type) for table in tables} for name in tables[0].names}
        differ = [f"{name!r} ({' and '.join(sorted(found))})" for name, found in types.items() if len(found) > 1]
        raise DataError(f"{', '.join(sources)}: columns of different types: {', '.join(differ)}") from None


def read_chunks(source: str) -> Iterator[Table]:
    """Read one source a chunk at a time; at least one chunk comes, also of a table without rows.

    CSV cells come as text, so that nothing is guessed per chunk; Parquet and JSON lines keep their types.

    Raises:
        UsageError: the file is missing, or standard input is a terminal.
        DataError: the source is empty or damaged.
    """
    name = "standard input" if source == STDIN else source
    first_row = 1
    try:
        with _opened(source) as stream:
            for cells in _cells(stream, source):
                _check_names(cells.column_names, name)
                yield Table(cells, (Origin(name, first_row, cells.num_rows),))
                first_row += cells.num_rows
    except pa.ArrowInvalid as error:
        raise DataError(f"{name}: cannot be read: {_first_line(error)}") from None
    except (pa.ArrowException, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{name}: damaged or cut short: {_first_line(error)}") from None
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or _first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@contextmanager
def _opened(source: str) -> Iterator[io.BufferedReader]:
    """The source as a decompressed, buffered stream of bytes."""
    if source == STDIN:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("no DATA given, and standard input is a terminal: name a file, or pipe a table in")
        unbuffered = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
        yield _decompressed(_buffered(unbuffered))
        return
    path = Path(source)
    if not path.exists():
        raise UsageError(f"{source}: no such file")
    if path.is_dir():
        raise UsageError(f"{source}: is a folder, not a table")
    with path.open("rb", buffering=0) as file:
        yield _decompressed(_buffered(file))


def _buffered(stream: Any) -> io.BufferedReader:
    """With a buffer that holds the header line of a wide table."""
    return io.BufferedReader(stream, BLOCK_BYTES)


def _decompressed(stream: io.BufferedReader) -> io.BufferedReader:
    """Undo gzip, zstd, bz2 or xz, recognised by the first bytes."""
    head = stream.peek(8)[:8]
    if head.startswith(_XZ):
        return _buffered(lzma.LZMAFile(stream))
    for magic, compression in _COMPRESSIONS.items():
        if head.startswith(magic):
            return _buffered(pa.CompressedInputStream(stream, compression))
    return stream


def _cells(stream: io.BufferedReader, source: str) -> Iterator[pa.Table]:
    name = "standard input" if source == STDIN else source
    head = stream.peek(8).removeprefix(b"\xef\xbb\xbf")
    if not head.strip():
        head = stream.peek(BLOCK_BYTES).strip()
    if not head:
        raise DataError(f"{name}: empty")
    if head.startswith(_PARQUET):
        file = pa.parquet.ParquetFile(stream if stream.seekable() else pa.BufferReader(stream.read()))
        yield from _at_least_one(file.iter_batches(ROWS_PER_CHUNK), file.schema_arrow)
    elif head.lstrip()[:1] == b"{":
        yield from _json_cells(stream, name)
    elif re.match(rb"\s*\[\s*[{\[]", head):
        raise DataError(f"{name}: is a JSON array; flowcli reads JSON lines, one object on each line")
    else:
        yield from _csv_cells(stream, source)


def _json_cells(stream: io.BufferedReader, name: str) -> Iterator[pa.Table]:
    """JSON lines, with the values' own types: a text stays a text, whatever it looks like."""
    first = 1
    while lines := list(islice((line for line in stream if line.strip()), ROWS_PER_CHUNK)):
        rows = []
        for number, line in enumerate(lines, first):
            try:
                row = json.loads(line, object_pairs_hook=_no_key_twice)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise DataError(f"{name}: row {number}: not one JSON object on a line, each key once")
            rows.append(row)
        first += len(lines)
        keys = dict.fromkeys(key for row in rows for key in row)
        yield pa.table({key: _json_column([row.get(key) for row in rows], f"{name}: {key!r}") for key in keys})


def _json_column(values: list[Any], name: str) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        raise DataError(f"{name}: its values are of different types, or too large") from None


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def _at_least_one(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    empty = True
    for batch in batches:
        empty = False
        yield pa.Table.from_batches([batch])
    if empty:
        yield schema.empty_table()


def _csv_cells(stream: io.BufferedReader, source: str) -> Iterator[pa.Table]:
    name = "standard input" if source == STDIN else source
    header = _header(stream, name)
    if not header.strip():
        raise DataError(f"{name}: empty")
    ragged: list[str] = []

    def refuse(row: pyarrow.csv.InvalidRow) -> str:
        place = f"{name}: row {row.number - 1}" if row.number else name
        ragged.append(f"{place}: has {row.actual_columns} cells, the header has {row.expected_columns}")
        return "error"

    parse = pa.csv.ParseOptions(
        delimiter=_delimiter(header, source), newlines_in_values=True, invalid_row_handler=refuse
    )
    names = next(csv.reader(io.StringIO(header), delimiter=parse.delimiter))
    try:
        reader = pa.csv.open_csv(
            stream,
            # One thread: only then are rows numbered for the message above.
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
            parse_options=parse,
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=True
            ),
        )
        yield from _at_least_one(iter(reader), reader.schema)
    except pa.ArrowInvalid as error:
        if ragged:
            raise DataError(ragged[0]) from None
        if "UTF8" in str(error):
            raise DataError(_not_utf8(name)) from None
        if "Empty CSV" in str(error) and header.count('"') % 2 == 0:
            yield pa.table({column: pa.array([], pa.string()) for column in names})
            return
        if header.count('"') % 2:
            raise DataError(f"{name}: a quote in the header line is not closed") from None
        raise


def _not_utf8(name: str) -> str:
    return f"{name}: is not UTF-8 text; convert it, for example with iconv -f latin1 -t utf8"


def _header(stream: io.BufferedReader, name: str) -> str:
    """The header record, as far as it is buffered, without consuming it; a quoted name may hold a newline."""
    try:
        text = stream.peek(BLOCK_BYTES).removeprefix(b"\xef\xbb\xbf").decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        if error.end < len(error.object) - 4:
            raise DataError(_not_utf8(name)) from None
        text = error.object[: error.start].decode("utf-8")  # a character cut by the end of the buffer
    header = ""
    for line in io.StringIO(text.lstrip("\r\n"), newline=""):
        header += line
        if header.count('"') % 2 == 0:
            break
    return header.rstrip("\r\n")


def _delimiter(header: str, source: str) -> str:
    if re.search(r"\.tsv(\.\w+)?$", source):
        return "\t"
    return max(_DELIMITERS, key=re.sub(r'"[^"]*"', "", header).count)


def _check_names(names: list[str], source: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{source}: column names are there twice: {', '.join(map(repr, twice))}")
    if any(not name.strip() for name in names):
        position = next(i for i, name in enumerate(names, 1) if not name.strip())
        raise DataError(f"{source}: column {position} has no name; give the file a header line")
