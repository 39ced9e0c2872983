"""Rows of Parquet and of Arrow's own formats, with their types."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa

from flowcli.tables.streams import BLOCK_BYTES
from flowcli.tables.table import without_views

if TYPE_CHECKING:
    from pyarrow import parquet

BATCH_BYTES = 8 << 20
MOST_ROWS = 65536

_PARQUET = b"PAR1"
_ARROW_FILE = b"ARROW1"
_ARROW_STREAM = b"\xff\xff\xff\xff"  # no text begins like this


def columnar_cells(stream: io.BufferedReader, rows: tuple[int, int] | None = None) -> Iterator[pa.Table] | None:
    """The cells in at least one piece, or ``None`` when the first bytes are those of no such format.

    ``rows``: only those from the first number up to the second, counted from 0.
    """
    head = stream.peek(8)
    if head.startswith(_PARQUET):
        return _parquet(stream, rows)
    if head.startswith(_ARROW_FILE):
        return within(_arrow_file(stream), rows)
    if head.startswith(_ARROW_STREAM):
        return within(_arrow_stream(stream), rows)
    return None


def parquet_groups(stream: io.BufferedReader) -> list[int] | None:
    """How many rows each row group of a Parquet file has; ``None`` if it is none, or can be read only once."""
    from pyarrow import parquet

    if not stream.peek(8).startswith(_PARQUET) or not stream.seekable():
        return None
    metadata = parquet.ParquetFile(stream).metadata
    return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


def within(pieces: Iterator[pa.Table], rows: tuple[int, int] | None) -> Iterator[pa.Table]:
    """The cells of some rows, in at least one piece."""
    if rows is None:
        yield from pieces
        return
    (first, stop), start = rows, 0
    for cells in pieces:
        some = cells.slice(max(first - start, 0), max(min(stop, start + len(cells)) - max(first, start), 0))
        start += len(cells)
        if len(some) or start >= stop:
            yield some
        if start >= stop:
            return


def _parquet(stream: io.BufferedReader, rows: tuple[int, int] | None) -> Iterator[pa.Table]:
    from pyarrow import parquet

    with _seekable(stream) as file:
        # By default whole row groups are held.
        file_of = parquet.ParquetFile(file, buffer_size=BLOCK_BYTES, pre_buffer=False)
        groups = list(range(file_of.metadata.num_row_groups))
        if rows is not None:
            ends = np.cumsum([file_of.metadata.row_group(group).num_rows for group in groups])
            groups = [group for group in groups if rows[0] < ends[group]]
            skipped = int(ends[groups[0] - 1]) if groups and groups[0] else 0
            rows = rows[0] - skipped, rows[1] - skipped
        batches = file_of.iter_batches(_rows_at_once(file_of.metadata), row_groups=groups)
        yield from within(_tables(batches, file_of.schema_arrow), rows)


def _rows_at_once(metadata: parquet.FileMetaData) -> int:
    """How many rows of average size have this many bytes."""
    groups = range(metadata.num_row_groups)
    size = sum(metadata.row_group(group).total_byte_size for group in groups) / max(metadata.num_rows, 1)
    return int(min(max(BATCH_BYTES / max(size, 1), 1), MOST_ROWS))


def _arrow_file(stream: io.BufferedReader) -> Iterator[pa.Table]:
    with _seekable(stream) as file:
        reader = pa.ipc.open_file(file)
        yield from _tables(map(reader.get_batch, range(reader.num_record_batches)), reader.schema)


def _arrow_stream(stream: io.BufferedReader) -> Iterator[pa.Table]:
    reader = pa.ipc.open_stream(stream)
    yield from _tables(reader, reader.schema)


def _tables(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    empty = True
    for batch in batches:
        empty = False
        yield without_views(pa.Table.from_batches([batch]))
    if empty:
        yield without_views(schema.empty_table())


@contextmanager
def _seekable(stream: io.BufferedReader) -> Iterator[IO[bytes]]:
    """The stream, or a copy of it on disk: these formats have their table of contents at the end."""
    if stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(stream, file, BLOCK_BYTES)
        file.seek(0)
        yield file
