"""Rows of CSV and TSV: the delimiter found, every cell as text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.csv

from flowcli.errors import DataError
from flowcli.tables import compute as pc
from flowcli.tables.arrays import texts
from flowcli.tables.columns import MOST_COLUMNS
from flowcli.tables.streams import BLOCK_BYTES, last_byte

# What pandas, too, calls a first column without a name: the index that it and R write.
INDEX = "Unnamed: 0"
_DELIMITERS = [",", "\t", ";", "|"]


def csv_cells(text: io.BufferedReader, name: str) -> Iterator[pa.Table]:
    """The cells as they are written, so that nothing is guessed per piece; at least one piece.

    Args:
        text: UTF-8, from :func:`flowcli.tables.streams.as_utf8`.

    Raises:
        DataError: a row is ragged, or a quote is not closed.
    """
    header = _header(text, name)
    if "\0" in header:
        raise DataError(f"{name}: is no table: NUL in the first line; if it is UTF-16 text, add --encoding utf-16-le")
    ragged: list[str] = []

    def refuse(row: pyarrow.csv.InvalidRow) -> str:
        place = f"{name}: row {row.number - 1}" if row.number else name
        ragged.append(f"{place}: has {row.actual_columns} cells, the header has {row.expected_columns}")
        return "error"

    parse = pa.csv.ParseOptions(delimiter=_delimiter(header, name), newlines_in_values=True, invalid_row_handler=refuse)
    own_names = _names(header, parse.delimiter, name)
    names = [INDEX, *own_names[1:]] if len(own_names) > 1 and not own_names[0] else own_names
    rows, last = 0, None
    try:
        reader = pa.csv.open_csv(
            text,
            # One thread: only then are rows numbered for the message above.
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
            parse_options=parse,
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(own_names, pa.string()), strings_can_be_null=False, check_utf8=False
            ),
        )
        for batch in reader:
            rows += batch.num_rows
            last = batch.slice(batch.num_rows - 1)
            yield pa.Table.from_batches([batch]).rename_columns(names)
    except pa.ArrowInvalid as error:
        if ragged:
            raise DataError(ragged[0]) from None
        if "straddling" in str(error):
            raise DataError(f"{name}: after row {rows:,}: a quote is not closed, or a row is too long") from None
        if header.count('"') % 2:
            raise DataError(f"{name}: a quote in the header line is not closed") from None
        if "Empty CSV" not in str(error):
            raise
    if last is None:
        yield pa.table({column: texts([]) for column in names})
    elif _is_open(last, parse.delimiter) and last_byte(text) != b'"':
        # Arrow takes the rest of the file for one cell.
        raise DataError(f"{name}: row {rows:,}: a quote is not closed")


def _is_open(row: pa.RecordBatch, delimiter: str) -> bool:
    """Whether the row's last cell holds what only stands between quotes."""
    return bool(pc.any(pc.match_substring_regex(row.column(row.num_columns - 1), rf"[\r\n{delimiter}]")).as_py())


def _header(text: io.BufferedReader, name: str) -> str:
    """The header record without consuming it; a quoted name may hold a newline.

    Raises:
        DataError: there is no end of a line in the first block.
    """
    block = text.peek(BLOCK_BYTES)
    # A character may be cut by the end of the buffer.
    start = block.decode("utf-8", "ignore").lstrip("\r\n")
    if len(block) == BLOCK_BYTES and "\n" not in start and "\r" not in start:
        raise DataError(f"{name}: is no table: its first line has more than {BLOCK_BYTES >> 20} MB")
    header = ""
    for line in io.StringIO(start, newline=""):
        header += line
        if header.count('"') % 2 == 0:
            break
    return header.rstrip("\r\n")


def _names(header: str, delimiter: str, name: str) -> list[str]:
    if header.count(delimiter) >= MOST_COLUMNS:
        raise DataError(f"{name}: more than {MOST_COLUMNS:,} columns")
    try:
        return next(csv.reader(io.StringIO(header), delimiter=delimiter))
    except csv.Error:
        raise DataError(f"{name}: the first line is no header: it has a cell of more than 100,000 characters") from None


def _delimiter(header: str, name: str) -> str:
    if re.search(r"\.tsv(\.\w+)?$", name, re.IGNORECASE):
        return "\t"
    return max(_DELIMITERS, key=re.sub(r'"[^"]*"', "", header).count)
