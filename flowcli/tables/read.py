"""Reading tables: CSV, TSV, JSON lines, Parquet and Arrow, plain or compressed; files or standard input."""

from __future__ import annotations

import io
import lzma
import re
from collections.abc import Iterator, Sequence

import pyarrow as pa

from flowcli.errors import DataError, first_line
from flowcli.tables.columnar_source import columnar_cells, within
from flowcli.tables.csv_source import csv_cells
from flowcli.tables.json_source import json_cells
from flowcli.tables.streams import BLOCK_BYTES, STDIN, as_utf8, opened
from flowcli.tables.table import Origin, Table, check_names, concatenate

ROWS_PER_CHUNK = 65536


def read_table(sources: Sequence[str], encoding: str = "utf-8") -> Table:
    """Read several sources as one table.

    Raises:
        UsageError: a file is missing, or standard input is a terminal.
        DataError: a source is empty or damaged, or the sources' columns differ.
    """
    tables: list[Table] = []
    for source in sources:
        chunks = list(read_chunks(source, encoding))
        if tables and chunks[0].names != tables[0].names:
            raise DataError(
                f"{chunks[0].source()}: its columns differ from those of {tables[0].source()}: "
                f"{', '.join(sorted(set(chunks[0].names) ^ set(tables[0].names))) or 'their order'}"
            )
        tables += chunks
    return concatenate(tables)


def read_chunks(
    source: str, encoding: str = "utf-8", kept: io.FileIO | None = None, rows: tuple[int, int] | None = None
) -> Iterator[Table]:
    """Read one source a chunk at a time; at least one chunk comes, also of a table without rows.

    CSV cells come as text, so that nothing is guessed per chunk; the other formats keep their types.

    Args:
        encoding: of CSV, TSV and JSON lines; Parquet and Arrow have theirs.
        kept: what standard input was, where it has been read already.
        rows: only those from the first number up to the second, counted from 0.

    Raises:
        UsageError: the file is missing, or standard input is a terminal.
        DataError: the source is empty or damaged, or is not text in this encoding.
    """
    name = "standard input" if source == STDIN else source
    first_row = 1 if rows is None else 1 + rows[0]
    try:
        with opened(source, kept) as stream:
            pieces = columnar_cells(stream, rows) or within(_text_cells(as_utf8(stream, encoding, name), name), rows)
            for cells in pieces:
                check_names(cells.column_names, name, " in the header line")
                for start in range(0, max(cells.num_rows, 1), ROWS_PER_CHUNK):
                    chunk = cells.slice(start, ROWS_PER_CHUNK)
                    yield Table(chunk, (Origin(name, first_row, chunk.num_rows),))
                    first_row += chunk.num_rows
    except pa.ArrowInvalid as error:
        raise DataError(f"{name}: cannot be read: {first_line(error)}") from None
    except (pa.ArrowException, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{name}: damaged or cut short: {first_line(error)}") from None
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or first_line(error)}") from None


def _text_cells(text: io.BufferedReader, name: str) -> Iterator[pa.Table]:
    head = text.peek(BLOCK_BYTES).lstrip()
    if not head:
        raise DataError(f"{name}: empty")
    if head.startswith(b"{"):
        return json_cells(text, name)
    if re.match(rb'\[\s*([\[{"0-9-]|null|true|false)', head):
        raise DataError(f"{name}: is a JSON array; flowcli reads JSON lines, one object on each line")
    if re.match(rb"<(!doctype|html|\?xml)", head, re.IGNORECASE):
        raise DataError(f"{name}: is a page of HTML or XML, not a table")
    return csv_cells(text, name)
