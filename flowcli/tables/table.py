"""A table as it was read, with the place of every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from flowcli.errors import DataError
from flowcli.tables import compute as pc
from flowcli.tables.arrays import integers


@dataclass(frozen=True)
class Origin:
    """A run of rows from one source; rows are counted from 1, the header not counted."""

    source: str
    first_row: int
    rows: int


@dataclass(frozen=True)
class Table:
    """Cells as the source has them (text, for CSV), and where each row comes from."""

    cells: pa.Table
    origins: tuple[Origin, ...]
    # Where the rows stand in the origins, after :meth:`take`; ``None`` when they are all there in order.
    index: np.ndarray | None = None

    @property
    def names(self) -> list[str]:
        """The columns' names, in the source's order."""
        return list(self.cells.column_names)

    def __len__(self) -> int:
        return int(self.cells.num_rows)

    def column(self, name: str) -> pa.ChunkedArray:
        """One column's cells."""
        return self.cells.column(name)

    def locate(self, index: int) -> str:
        """The place of a row, as ``file: row 7``."""
        if self.index is not None:
            index = int(self.index[index])
        for origin in self.origins:
            if index < origin.rows:
                return f"{origin.source}: row {origin.first_row + index}"
            index -= origin.rows
        raise IndexError(index)

    @property
    def last_row(self) -> int:
        """The number of the last row that was read, in its source."""
        return self.origins[-1].first_row - 1 + self.origins[-1].rows if self.origins else len(self)

    def source(self) -> str:
        """The name of the source, or of the first of several."""
        return self.origins[0].source if self.origins else "the table"

    def take(self, rows: np.ndarray) -> Table:
        """The rows at these indices."""
        cells = pc.take(self.cells, integers(rows))
        return Table(cells, self.origins, rows if self.index is None else self.index[rows])


def concatenate(tables: Sequence[Table]) -> Table:
    """Several tables of the same columns as one.

    Raises:
        DataError: a column is of different types in two of them.
    """
    try:
        cells = pa.concat_tables([table.cells for table in tables], promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        types = {
            name: {str(table.column(name).type) for table in tables if name in table.names} for name in tables[-1].names
        }
        differ = [f"{name!r} ({' and '.join(sorted(found))})" for name, found in types.items() if len(found) > 1]
        sources = ", ".join(dict.fromkeys(table.source() for table in tables))
        raise DataError(f"{sources}: columns of different types: {', '.join(differ)}") from None
    index = None
    if any(table.index is not None for table in tables):
        starts = np.cumsum([0, *(sum(origin.rows for origin in table.origins) for table in tables)])
        each = [np.arange(len(table)) if table.index is None else table.index for table in tables]
        index = np.concatenate([start + part for start, part in zip(starts, each, strict=False)])
    return Table(cells, tuple(origin for table in tables for origin in table.origins), index)


def check_names(names: Sequence[str], source: str, where: str = "") -> None:
    """Refuse a name that is there twice, and a blank one; ``where`` says where the names are written.

    Raises:
        DataError: there is one.
    """
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise DataError(f"{source}: column names are there twice: {', '.join(map(repr, twice))}")
    if any(not name.strip() for name in names):
        position = next(i for i, name in enumerate(names, 1) if not name.strip())
        raise DataError(f"{source}: column {position} has no name; give it one{where}")


def without_views(cells: pa.Table) -> pa.Table:
    """Texts in the layout that all of Arrow's functions know, which not all know views."""
    schema = pa.schema([field.with_type(_without_views(field.type)) for field in cells.schema])
    return cells if schema == cells.schema else cells.cast(schema)


def _without_views(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _without_views(kind.value_type), kind.ordered)
    return pa.large_string() if pa.types.is_string_view(kind) else kind
