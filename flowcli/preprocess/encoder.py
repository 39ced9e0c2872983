"""Rows of a table to standardised numbers, label codes and context, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flowcli.errors import DataError
from flowcli.flows.layout import Layout
from flowcli.tables.cells import as_numbers, as_text
from flowcli.tables.columns import Column, describe_missing
from flowcli.tables.table import Table

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

UNSEEN = -1
# Beyond it, float64 does not hold every whole number.
LARGEST_WHOLE = 2.0**53


@dataclass(frozen=True)
class Encoded:
    """Rows as a model sees them.

    ``numbers`` (n, d) are standardised; ``labels`` (n, l) are positions in the categories, ``UNSEEN``
    for a label that training had not; ``ordinals`` (n, o) are whole numbers, counted from each column's middle;
    ``context`` (n, c) holds standardised numbers and one-hot labels.
    ``bad`` maps the index of a row that cannot be scored to the reason.
    """

    numbers: Floats
    labels: Codes
    ordinals: Floats
    context: Floats
    bad: Mapping[int, str]


class TableEncoder:
    """The columns of a model, as a map between tables and arrays.

    Standardisation is ``z = (x - mean) / scale``; ``log_det`` is ``log|det dz/dx|``, in nats.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.numbers = [c for c in columns if c.kind == "number" and not c.context]
        self.labels = [c for c in columns if c.kind == "label" and not c.context]
        self.ordinals = [c for c in columns if c.kind == "ordinal" and not c.context]
        self.context = [c for c in columns if c.kind != "constant" and c.context]
        self.mean = np.array([c.mean for c in self.numbers])
        self.scale = np.array([c.scale for c in self.numbers])
        self.log_det = -float(np.log(self.scale).sum())

    @property
    def layout(self) -> Layout:
        """The columns as a density sees them."""
        return Layout(
            numbers=tuple(c.name for c in self.numbers),
            labels=tuple((c.name, len(c.categories)) for c in self.labels),
            ordinals=tuple((c.name, c.scale) for c in self.ordinals),
            context=tuple((c.name, len(c.categories) if c.kind == "label" else 1) for c in self.context),
            constant=tuple(c.name for c in self.columns if c.kind == "constant"),
        )

    @property
    def modelled(self) -> int:
        """How many columns the density is over."""
        return len(self.numbers) + len(self.labels) + len(self.ordinals)

    @property
    def discrete(self) -> list[Column]:
        """The columns that have probabilities, and no latent."""
        return [*self.labels, *self.ordinals]

    def encode(self, table: Table) -> Encoded:
        """Encode rows; columns are found by name, others are ignored.

        Raises:
            DataError: columns are missing.
        """
        self._require([*self.numbers, *self.discrete, *self.context], table)
        return self._encoded(self.numbers, table)

    def encode_context(self, table: Table) -> Encoded:
        """Encode only the context columns of rows, for sampling given them."""
        self._require(self.context, table)
        bad: dict[int, str] = {}
        empty = np.empty((len(table), 0))
        return Encoded(empty, empty.astype(np.int64), empty, self._encode_context(table, bad), bad)

    def encode_latent(self, table: Table) -> Encoded:
        """Encode rows of ``z1..zd`` with label and context columns, as :meth:`latent_cells` writes them."""
        latent = [Column(name=name, kind="number", reason="latent") for name in self.latent_names]
        self._require([*latent, *self.discrete, *self.context], table)
        return self._encoded(latent, table)

    def _encoded(self, numbers: Sequence[Column], table: Table) -> Encoded:
        bad: dict[int, str] = {}
        standardized = [_standardized(column, table, bad) for column in numbers]
        labels = [_codes(column, table, bad) for column in self.labels]
        ordinals = [_whole(column, table, bad) for column in self.ordinals]
        return Encoded(
            _side_by_side(standardized, len(table)),
            _side_by_side(labels, len(table)).astype(np.int64),
            _side_by_side(ordinals, len(table)),
            self._encode_context(table, bad),
            bad,
        )

    @property
    def latent_names(self) -> list[str]:
        """``z1..zd``.

        Raises:
            DataError: a label or context column has one of these names.
        """
        names = [f"z{position}" for position in range(1, len(self.numbers) + 1)]
        for column in (*self.discrete, *self.context):
            if column.name in names:
                raise DataError(f"column {column.name!r} has a latent's name: encode needs another name for it")
        return names

    def decode(
        self, numbers: Floats, labels: Codes, ordinals: Floats, context: pa.Table | None, *, rounded: bool
    ) -> pa.Table:
        """Rows in the data's own columns, order and units.

        Args:
            numbers: standardised numbers, (n, d).
            labels: label codes, (n, l).
            ordinals: whole numbers from each column's middle, (n, o).
            context: the context columns' cells as given, or ``None`` when there are none.
            rounded: write each number with as many decimals as the training rows had.
        """
        cells: dict[str, pa.Array | pa.ChunkedArray] = {}
        for position, column in enumerate(self.numbers):
            values = numbers[:, position] * column.scale + column.mean
            cells[column.name] = _as_written(values, column) if rounded else pa.array(values)
        for position, column in enumerate(self.labels):
            cells[column.name] = pa.array(column.categories).take(pa.array(labels[:, position]))
        for position, column in enumerate(self.ordinals):
            cells[column.name] = _as_integers(ordinals[:, position] + round(column.mean))
        for column in self.columns:
            if column.kind == "constant":
                cells[column.name] = pa.array([column.value] * len(numbers), pa.string())
            elif column.context and context is not None:
                cells[column.name] = context.column(column.name)
        return pa.table({column.name: cells[column.name] for column in self.columns})

    def latent_cells(self, latent: Floats, table: Table) -> pa.Table:
        """Latents ``z1..zd``, then the label and context columns as they are in the table."""
        cells: dict[str, pa.Array | pa.ChunkedArray] = {
            name: pa.array(latent[:, position]) for position, name in enumerate(self.latent_names)
        }
        for column in self.columns:
            if column in self.discrete or column in self.context:
                cells[column.name] = table.column(column.name)
        return pa.table(cells)

    def _encode_context(self, table: Table, bad: dict[int, str]) -> Floats:
        features: list[Floats] = [np.empty((len(table), 0))]
        for column in self.context:
            if column.kind == "ordinal":
                features.append(_whole(column, table, bad)[:, None] / column.scale)
                continue
            if column.kind == "number":
                features.append(_standardized(column, table, bad)[:, None])
                continue
            codes = _codes(column, table, bad)
            for row in np.flatnonzero(codes == UNSEEN):
                value = table.column(column.name)[int(row)].as_py()
                bad.setdefault(int(row), f"column {column.name!r}: {value!r} was not among the training rows")
            features.append((codes[:, None] == np.arange(len(column.categories))).astype(np.float64))
        return np.concatenate(features, axis=1)

    @staticmethod
    def _require(columns: Sequence[Column], table: Table) -> None:
        missing = [column.name for column in columns if column.name not in table.names]
        if missing:
            raise DataError(describe_missing(missing, table.names, table.source()))


def _standardized(column: Column, table: Table, bad: dict[int, str]) -> Floats:
    cells = table.column(column.name)
    numbers = as_numbers(cells)
    wrong = ~np.isfinite(numbers.values)
    for row in np.flatnonzero(wrong):
        if numbers.missing[row]:
            reason = "the cell is missing"
        elif numbers.invalid[row]:
            reason = f"{cells[int(row)].as_py()!r} is not a number"
        else:
            reason = "the number is infinite"
        bad.setdefault(int(row), f"column {column.name!r}: {reason}")
    return (numbers.values - column.mean) / column.scale


def _whole(column: Column, table: Table, bad: dict[int, str]) -> Floats:
    """The cells of an ordinal column, counted from its middle; what is not whole is bad, and stands as 0.

    In float64 here: float32 holds large numbers only roughly.
    """
    cells = table.column(column.name)
    _standardized(column, table, bad)
    values = as_numbers(cells).values
    for row in np.flatnonzero(np.isfinite(values) & (np.rint(values) != values)):
        bad.setdefault(int(row), f"column {column.name!r}: {cells[int(row)].as_py()!r} is not a whole number")
    for row in np.flatnonzero(np.isfinite(values) & (np.abs(values) > LARGEST_WHOLE)):
        bad.setdefault(int(row), f"column {column.name!r}: {cells[int(row)].as_py()!r} is beyond 2^53")
    return np.where(np.isfinite(values), np.rint(values) - round(column.mean), 0.0)


def _side_by_side(columns: Sequence[np.ndarray], rows: int) -> np.ndarray:
    return np.stack(columns, axis=1) if columns else np.empty((rows, 0))


def _codes(column: Column, table: Table, bad: dict[int, str]) -> Codes:
    text = as_text(table.column(column.name))
    for row in np.flatnonzero(np.asarray(text.is_null())):
        bad.setdefault(int(row), f"column {column.name!r}: the cell is missing")
    codes = pc.index_in(text, value_set=pa.array(column.categories)).fill_null(UNSEEN)
    return np.asarray(codes, dtype=np.int64)


def _as_written(values: Floats, column: Column) -> pa.Array:
    """The values with the column's decimals; its type is the column's, whatever the values."""
    if column.decimals is None:
        return pa.array(values)
    if column.decimals == 0 and abs(column.mean) + 1000 * column.scale < 2**53:
        return _as_integers(values)
    return pa.array(np.round(values, column.decimals) + 0.0)  # no minus zero


def _as_integers(values: Floats) -> pa.Array:
    return pa.array(np.rint(values.clip(-(2.0**62), 2.0**62)).astype(np.int64))
