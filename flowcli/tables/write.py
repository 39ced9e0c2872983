"""Writing tables: CSV, TSV, Parquet or JSON lines."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet


class TableWriter(Protocol):
    """Takes a table in pieces."""

    def write(self, cells: pa.Table) -> None:
        """Append rows."""

    def close(self) -> None:
        """Write what is still to be written."""


class DelimitedWriter:
    """CSV or TSV; floats in the shortest form that reads back as the same number."""

    def __init__(self, stream: IO[bytes], delimiter: str) -> None:
        self.stream = stream
        self.delimiter = delimiter
        self.header_written = False

    def write(self, cells: pa.Table) -> None:
        if not self.header_written:
            # The csv module's header: Arrow's has every name in quotes.
            header = io.StringIO()
            csv.writer(header, delimiter=self.delimiter, lineterminator="\n").writerow(cells.column_names)
            self.stream.write(header.getvalue().encode())
            self.header_written = True
        cells = pa.table({name: _plain(column) for name, column in zip(cells.column_names, cells.columns, strict=True)})
        special = rf'["\r\n{self.delimiter}]'
        texts = [column for column in cells.columns if pa.types.is_string(column.type)]
        # An empty line would be no row to most readers.
        blank = cells.num_columns == 1 and cells.column(0).null_count > 0
        if blank or any(pc.any(pc.match_substring_regex(column, special)).as_py() for column in texts):
            self.stream.write(_joined(cells, special, self.delimiter))
            return
        body = io.BytesIO()
        options = pa.csv.WriteOptions(include_header=False, delimiter=self.delimiter, quoting_style="none")
        pa.csv.write_csv(cells, body, options)
        self.stream.write(body.getbuffer())

    def close(self) -> None:
        self.stream.flush()


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Every kind of text as the one that Arrow's CSV writer takes."""
    kind = column.type
    texts = (pa.types.is_large_string, pa.types.is_string_view, pa.types.is_dictionary)
    return column.cast(pa.string()) if any(is_text(kind) for is_text in texts) else column


def _joined(cells: pa.Table, special: str, delimiter: str) -> bytes:
    """Rows as lines, with quotes around the cells that need them and no others (Arrow quotes all text or none)."""
    empty = '""' if cells.num_columns == 1 else ""
    columns = []
    for column in cells.columns:
        text = column.cast(pa.string())
        quoted = pc.binary_join_element_wise('"', pc.replace_substring(text, '"', '""'), '"', "")
        columns.append(pc.if_else(pc.match_substring_regex(text, special), quoted, text).fill_null(empty))
    return "".join(f"{line}\n" for line in pc.binary_join_element_wise(*columns, delimiter).to_pylist()).encode()


class JsonLinesWriter:
    """One JSON object a row; infinities, which JSON has not, are null."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def write(self, cells: pa.Table) -> None:
        lines = (json.dumps(_finite(row), ensure_ascii=False) + "\n" for row in cells.to_pylist())
        self.stream.write("".join(lines).encode())

    def close(self) -> None:
        self.stream.flush()


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


class ParquetWriter:
    """A Parquet file."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.writer: pa.parquet.ParquetWriter | None = None

    def write(self, cells: pa.Table) -> None:
        if self.writer is None:
            self.writer = pa.parquet.ParquetWriter(self.stream, cells.schema)
        self.writer.write_table(cells)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


def table_writer(stream: IO[bytes], form: str) -> TableWriter:
    """A writer of one of the formats of :mod:`.formats`."""
    if form == "parquet":
        return ParquetWriter(stream)
    if form == "jsonl":
        return JsonLinesWriter(stream)
    return DelimitedWriter(stream, "\t" if form == "tsv" else ",")
