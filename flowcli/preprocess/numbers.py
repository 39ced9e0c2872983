"""A numeric column's cells as numbers."""

from __future__ import annotations

import pyarrow as pa

from flowcli.tables.cells import Numbers, as_numbers
from flowcli.tables.columns import Column
from flowcli.tables.dates import date_numbers


def column_numbers(column: Column, cells: pa.ChunkedArray) -> Numbers:
    """The cells as numbers; of a date column, as days or seconds since 1970."""
    return date_numbers(cells, column.date_format) if column.kind == "date" else as_numbers(cells)
