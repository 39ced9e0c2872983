"""Writing tables: CSV, TSV, JSON lines, Parquet or Arrow."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.csv

from flowcli.errors import DataError
from flowcli.tables import compute as pc
from flowcli.tables.arrays import scalar


class TableWriter(Protocol):
    """Takes a table in pieces."""

    def write(self, cells: pa.Table) -> None:
        """Append rows.

        Raises:
            DataError: the format cannot hold a column.
        """

    def close(self) -> None:
        """Write what is still to be written."""


class Sink(io.RawIOBase):
    """Writes into a stream until it is cut off: Parquet's writer ends its file even when it is thrown away."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.cut_off = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return len(data) if self.cut_off else self.stream.write(data)


class DelimitedWriter:
    """CSV or TSV; floats in the shortest form that reads back as the same number."""

    def __init__(self, stream: Sink, delimiter: str) -> None:
        self.stream = stream
        self.delimiter = delimiter
        self.header_written = False

    def write(self, cells: pa.Table) -> None:
        if not self.header_written:
            # The csv module's header: Arrow's has every name in quotes.
            header = io.StringIO()
            # With this end, older Pythons too quote a name that holds a bare carriage return.
            csv.writer(header, delimiter=self.delimiter, lineterminator="\r\n").writerow(cells.column_names)
            self.stream.write(header.getvalue().removesuffix("\r\n").encode() + b"\n")
            self.header_written = True
        columns = zip(cells.column_names, cells.columns, strict=True)
        cells = pa.table({name: _plain(name, column) for name, column in columns})
        special = rf'["\r\n{self.delimiter}]{"|^$" if cells.num_columns == 1 else ""}'
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
        pass


def _plain(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Every kind of text as the one that Arrow's CSV writer takes."""
    kind = column.type
    others = (pa.types.is_nested, pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    if any(is_other(kind) for is_other in others):
        raise DataError(f"column {name!r} holds {kind}, which CSV cannot; write JSON lines, Parquet or Arrow")
    texts = (pa.types.is_large_string, pa.types.is_string_view, pa.types.is_dictionary)
    return column.cast(pa.string()) if any(is_text(kind) for is_text in texts) else column


def _joined(cells: pa.Table, special: str, delimiter: str) -> bytes:
    """Rows as lines, with quotes around the cells that need them and no others (Arrow quotes all text or none)."""
    empty = '""' if cells.num_columns == 1 else ""
    quote, nothing = scalar('"'), scalar("")
    columns = []
    for column in cells.columns:
        text = column.cast(pa.string())
        quoted = pc.binary_join_element_wise(quote, pc.replace_substring(text, '"', '""'), quote, nothing)
        columns.append(pc.if_else(pc.match_substring_regex(text, special), quoted, text).fill_null(scalar(empty)))
    lines = pc.binary_join_element_wise(*columns, scalar(delimiter)).to_pylist()
    return "".join(f"{line}\n" for line in lines).encode()


class JsonLinesWriter:
    """One JSON object a row; infinities, which JSON has not, are null, and dates are text."""

    def __init__(self, stream: Sink) -> None:
        self.stream = stream

    def write(self, cells: pa.Table) -> None:
        lines = (json.dumps(_as_json(row), ensure_ascii=False, default=str) + "\n" for row in cells.to_pylist())
        self.stream.write("".join(lines).encode())

    def close(self) -> None:
        pass


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_json(inner) for inner in value]
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    return value


class ColumnarWriter:
    """A Parquet or an Arrow file: every piece in the types of the first."""

    def __init__(self, stream: Sink, form: str) -> None:
        self.stream = stream
        self.form = form
        self.writer: Any = None
        self.schema: pa.Schema | None = None
        self.rows = 0

    def write(self, cells: pa.Table) -> None:
        if self.schema is None:
            self.schema = pa.schema([pa.field(field.name, _own_type(field.type)) for field in cells.schema])
            self.writer = self._writer(self.schema)
        columns = [self._in_first_type(cells.column(field.name), field) for field in self.schema]
        self.writer.write_table(pa.table(columns, self.schema))
        self.rows += len(cells)

    def _writer(self, schema: pa.Schema) -> Any:
        if self.form == "parquet":
            from pyarrow import parquet

            return parquet.ParquetWriter(self.stream, schema)
        return (pa.ipc.new_file if self.form == "arrow" else pa.ipc.new_stream)(self.stream, schema)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()

    def _in_first_type(self, column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
        try:
            if column.type == field.type or _is_alike(column.type, field.type):
                return column.cast(field.type)
        except pa.ArrowInvalid:
            pass  # a number that the type cannot hold
        raise DataError(
            f"column {field.name!r} holds {column.type} after {self.rows:,} rows of {field.type}, and {self.form} has "
            "one type for a column; write CSV or JSON lines"
        )


def _own_type(kind: pa.DataType) -> pa.DataType:
    """The type to write: categories as their values, as each piece has categories of its own."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_alike(kind: pa.DataType, first: pa.DataType) -> bool:
    """Whether a checked cast changes no value: text is never taken for a number, nor a number for text."""
    kind = _own_type(kind)
    if pa.types.is_floating(kind) and pa.types.is_floating(first):
        return bool(kind.bit_width <= first.bit_width)
    return pa.types.is_null(kind) or any(
        all(any(is_one(each) for is_one in family) for each in (kind, first))
        for family in (
            (pa.types.is_integer, pa.types.is_floating),
            (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
            (first.equals,),
        )
    )


_COLUMNAR = ("parquet", "arrow", "arrows")


@contextmanager
def table_writer(stream: IO[bytes], form: str) -> Iterator[TableWriter]:
    """A writer of one of the formats of :mod:`.formats`, closed when the block ends well."""
    sink = Sink(stream)
    writer = _writer(sink, form)
    try:
        yield writer
        writer.close()
    except BaseException:
        sink.cut_off = True
        raise


def _writer(stream: Sink, form: str) -> TableWriter:
    if form in _COLUMNAR:
        return ColumnarWriter(stream, form)
    if form == "jsonl":
        return JsonLinesWriter(stream)
    return DelimitedWriter(stream, "\t" if form == "tsv" else ",")
