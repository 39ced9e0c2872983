"""Rows of a table to numbers, label codes and context, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flowcli.errors import DataError
from flowcli.flows.layout import Layout
from flowcli.preprocess.numbers import column_numbers, within
from flowcli.tables import compute as pc
from flowcli.tables.arrays import flags, flags_of, floats_of, integers, scalar, texts
from flowcli.tables.arrays import numbers as floats
from flowcli.tables.cells import as_numbers, as_text, is_number_type
from flowcli.tables.columns import LARGEST_WHOLE, Column, describe_missing
from flowcli.tables.dates import written_dates
from flowcli.tables.table import Table
from flowcli.transforms.support import PLACEHOLDER, Support

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

UNSEEN = -1
# The state of a partial column's cell that holds a number of the density.
NUMBER = 0
# What stands in a partial column, beside the latents, for such a number.
IN_LATENT = "latent"
# The number of the component, from 1, that a row of a mixture belongs to.
COMPONENT = "component"


@dataclass(frozen=True)
class Encoded:
    """Rows as a model sees them.

    ``numbers`` (n, d) are in units of each column's scale, from its mean, and a placeholder where a row has none.
    ``labels`` (n, l) are positions in the categories, ``UNSEEN`` for a label that training had not, and after the
    label columns the states of the partial ones. ``ordinals`` (n, o) are whole numbers, counted from each column's
    middle; ``context`` (n, c) holds standardised numbers and one-hot labels. ``outside`` (n,): a number beyond its
    column's bounds. ``bad`` maps the index of a row that cannot be scored to the reason.
    """

    numbers: Floats
    labels: Codes
    ordinals: Floats
    context: Floats
    outside: Flags
    bad: Mapping[int, str]

    def take(self, rows: npt.NDArray[np.int64] | slice) -> Encoded:
        """The rows at these indices, none of which is bad."""
        numbers, labels, ordinals, context, outside = (part[rows] for part in self.arrays())
        return Encoded(numbers, labels, ordinals, context, outside, {})

    def arrays(self) -> tuple[np.ndarray, ...]:
        """The five arrays, in order."""
        return self.numbers, self.labels, self.ordinals, self.context, self.outside


def concatenated(parts: Sequence[Encoded]) -> Encoded:
    """Rows one after the other, none of which is bad."""
    numbers, labels, ordinals, context, outside = (
        np.concatenate(arrays) for arrays in zip(*(part.arrays() for part in parts), strict=True)
    )
    return Encoded(numbers, labels, ordinals, context, outside, {})


class TableEncoder:
    """The columns of a model, as a map between tables and arrays."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.numbers = [c for c in columns if c.numeric and not c.context]
        self.labels = [c for c in columns if c.kind == "label" and not c.context]
        self.partial = [c for c in self.numbers if c.partial]
        self.ordinals = [c for c in columns if c.kind == "ordinal" and not c.context]
        self.context = [c for c in columns if c.kind not in ("constant", "identifier") and c.context]

    @property
    def layout(self) -> Layout:
        """The columns as a density sees them."""
        labels = [(c.name, c.codes) for c in self.labels] + [(c.name, c.states) for c in self.partial]
        return Layout(
            numbers=tuple(c.name for c in self.numbers),
            supports=tuple(_support(c) for c in self.numbers),
            states=tuple(len(self.labels) + self.partial.index(c) if c.partial else None for c in self.numbers),
            labels=tuple(labels),
            ordinals=tuple((c.name, c.scale) for c in self.ordinals),
            context=tuple((c.name, _context_width(c)) for c in self.context),
            constant=tuple(c.name for c in self.columns if c.kind in ("constant", "identifier")),
        )

    @property
    def context_features(self) -> int:
        """How wide the encoded context is."""
        return sum(_context_width(column) for column in self.context)

    @property
    def modelled(self) -> int:
        """How many columns the density is over."""
        return len(self.numbers) + len(self.labels) + len(self.ordinals)

    @property
    def discrete(self) -> list[Column]:
        """The columns that have probabilities, and no latent."""
        return [*self.labels, *self.ordinals]

    def empty(self) -> Encoded:
        """No rows."""
        shapes = len(self.numbers), len(self.labels) + len(self.partial), len(self.ordinals), self.context_features
        numbers, labels, ordinals, context = (np.empty((0, columns)) for columns in shapes)
        return Encoded(numbers, labels.astype(np.int64), ordinals, context, np.zeros(0, dtype=bool), {})

    def encode(self, table: Table) -> Encoded:
        """Encode rows; columns are found by name, others are ignored.

        Raises:
            DataError: columns are missing.
        """
        self._require([*self.numbers, *self.discrete, *self.context], table)
        bad: dict[int, str] = {}
        outside = np.zeros(len(table), dtype=bool)
        numbers, states = [], []
        for column in self.numbers:
            values, state = _state(column, table, bad)
            outside |= _beyond(column, values) & (state == NUMBER)
            held = (state == NUMBER) & np.isfinite(values)
            with np.errstate(invalid="ignore", over="ignore"):
                numbers.append(np.where(held, within(column.map, (values - column.mean) / column.scale), PLACEHOLDER))
            if column.partial:
                states.append(state)
        return self._encoded(numbers, states, table, outside, bad)

    def encode_context(self, table: Table) -> Encoded:
        """Encode only the context columns of rows, for sampling given them."""
        self._require(self.context, table)
        bad: dict[int, str] = {}
        empty = np.empty((len(table), 0))
        context = self._encode_context(table, bad)
        return Encoded(empty, empty.astype(np.int64), empty, context, np.zeros(len(table), dtype=bool), bad)

    def encode_latent(self, table: Table, components: int = 0) -> Encoded:
        """Encode rows as :meth:`latent_cells` writes them: ``numbers`` are the latents, 0 where a row has none.

        Of a mixture of so many ``components`` the number of the row's own stands behind them.
        """
        names = self._latent_names(mixture=bool(components))
        known = [Column(name=name, kind="number", reason="latent") for name in names]
        latent, component = known[: len(self.numbers)], known[len(self.numbers) :]
        self._require([*latent, *component, *self.partial, *self.discrete, *self.context], table)
        bad: dict[int, str] = {}
        states = [_latent_state(column, table, bad) for column in self.partial]
        lacking: Codes = np.sum([np.zeros(len(table)), *(state != NUMBER for state in states)], axis=0).astype(np.int64)
        numbers, holes = [], np.zeros(len(table), dtype=np.int64)
        for column in latent:
            values = as_numbers(table.column(column.name))
            holes += values.missing
            if not self.partial:
                _tell_bad(column, table, ~np.isfinite(values.values), bad)
            else:
                _tell_bad(column, table, ~np.isfinite(values.values) & ~values.missing, bad)
            numbers.append(np.where(np.isfinite(values.values), values.values, 0.0))
        for row in np.flatnonzero(holes != lacking) if self.partial else ():
            bad.setdefault(int(row), "as many latents are missing as columns have no number, and here they differ")
        for column in component:
            of_row = as_numbers(table.column(column.name)).values
            there = np.isin(of_row, np.arange(1, components + 1))
            for row in np.flatnonzero(~there):
                bad.setdefault(int(row), f"column {COMPONENT!r}: not one of the {components} components of the model")
            numbers.append(np.where(there, of_row, 1.0))
        return self._encoded(numbers, states, table, np.zeros(len(table), dtype=bool), bad)

    def _encoded(
        self, numbers: list[Floats], states: list[Codes], table: Table, outside: Flags, bad: dict[int, str]
    ) -> Encoded:
        labels = [_codes(column, table, bad) for column in self.labels]
        ordinals = [_whole(column, table, bad) for column in self.ordinals]
        return Encoded(
            _side_by_side(numbers, len(table)),
            _side_by_side([*labels, *states], len(table)).astype(np.int64),
            _side_by_side(ordinals, len(table)),
            self._encode_context(table, bad),
            outside,
            bad,
        )

    @property
    def latent_names(self) -> list[str]:
        """``z1..zd``.

        Raises:
            DataError: a label or context column has one of these names.
        """
        return self._latent_names(mixture=False)

    def _latent_names(self, mixture: bool) -> list[str]:
        names = [f"z{position}" for position in range(1, len(self.numbers) + 1)]
        names += [COMPONENT] if mixture else []
        for column in (*self.partial, *self.discrete, *self.context):
            if column.name in names:
                raise DataError(f"column {column.name!r} has a latent's name: encode needs another name for it")
        return names

    def decode(
        self, numbers: Floats, labels: Codes, ordinals: Floats, context: pa.Table | None, *, rounded: bool
    ) -> pa.Table:
        """Rows in the data's own columns, order and units.

        Args:
            numbers: numbers in units of each column's scale, (n, d).
            labels: label codes and states, (n, l).
            ordinals: whole numbers from each column's middle, (n, o).
            context: the context columns' cells as given, or ``None`` when there are none.
            rounded: bring each number onto its column's grid, and write it with as many decimals as the training
                rows had.
        """
        cells: dict[str, pa.Array | pa.ChunkedArray] = {}
        state_at = len(self.labels)
        for position, column in enumerate(self.numbers):
            # What is too far out for a float is infinite.
            with np.errstate(over="ignore", invalid="ignore"):
                values = numbers[:, position] * column.scale + column.mean
                if rounded:
                    values = _on_grid(values, column)
            if column.partial:
                values = _with_spikes(values, labels[:, state_at], column)
                state_at += 1
            cells[column.name] = _as_written(values, column, rounded)
        for position, column in enumerate(self.labels):
            cells[column.name] = _label_cells(labels[:, position], column)
        for position, column in enumerate(self.ordinals):
            cells[column.name] = _as_integers(ordinals[:, position] + round(column.mean))
        for column in self.columns:
            if column.kind == "constant":
                cells[column.name] = _typed(texts([column.value or None] * len(numbers)), column)
            elif column.context and context is not None:
                cells[column.name] = context.column(column.name)
        return pa.table({c.name: cells[c.name] for c in self.columns if c.kind != "identifier"})

    def latent_cells(self, latent: Floats, labels: Codes, table: Table) -> pa.Table:
        """Latents ``z1..zd``, of a mixture ``component``, then the label and context columns as they are in the table.

        A partial column comes too: its spike, nothing where the cell is missing, or the word ``latent``.
        """
        cells: dict[str, pa.Array | pa.ChunkedArray] = {
            name: floats(latent[:, position], np.isnan(latent[:, position]))
            for position, name in enumerate(self._latent_names(mixture=latent.shape[1] > len(self.numbers)))
        }
        if COMPONENT in cells:
            cells[COMPONENT] = integers(latent[:, -1].astype(np.int64))
        for column in self.columns:
            if column in self.partial:
                states = labels[:, len(self.labels) + self.partial.index(column)]
                spikes = _as_written(np.array(column.spikes), column, True).cast(pa.string()).to_pylist()
                words = texts([IN_LATENT, *spikes, *([None] if column.missing else [])])
                cells[column.name] = words.take(integers(states))
            elif column in self.discrete or column in self.context:
                cells[column.name] = table.column(column.name)
        return pa.table(cells)

    def names_in_latent_cells(self, mixture: bool) -> list[str]:
        """The columns of :meth:`latent_cells`, in order."""
        beside = [c.name for c in self.columns if c in self.partial or c in self.discrete or c in self.context]
        return [*self._latent_names(mixture), *beside]

    def _encode_context(self, table: Table, bad: dict[int, str]) -> Floats:
        features: list[Floats] = [np.empty((len(table), 0))]
        for column in self.context:
            if column.kind == "ordinal":
                features.append(_whole(column, table, bad)[:, None] / column.scale)
                continue
            if column.numeric:
                values, state = _state(column, table, bad)
                there = np.isfinite(values) & (state == NUMBER)
                standardized = np.where(there, (values - column.mean) / column.scale, 0.0)
                features.append(standardized[:, None])
                if column.missing:
                    features.append((state != NUMBER)[:, None].astype(np.float64))
                continue
            codes = _codes(column, table, bad)
            for row in np.flatnonzero(codes == UNSEEN):
                value = table.column(column.name)[int(row)].as_py()
                bad.setdefault(int(row), f"column {column.name!r}: {value!r} was not among the training rows")
            features.append((codes[:, None] == np.arange(column.codes)).astype(np.float64))
        return np.concatenate(features, axis=1)

    @staticmethod
    def _require(columns: Sequence[Column], table: Table) -> None:
        missing = [column.name for column in columns if column.name not in table.names]
        if missing:
            raise DataError(describe_missing(missing, table.names, table.source()))


def _support(column: Column) -> Support:
    step = 0.0 if column.step is None else column.step / abs(column.scale)
    return Support(map=column.map, center=column.center, spread=column.spread, unit=column.scale, step=step)


def _context_width(column: Column) -> int:
    if column.kind == "label":
        return column.codes
    return 2 if column.numeric and column.missing else 1


def _state(column: Column, table: Table, bad: dict[int, str]) -> tuple[Floats, Codes]:
    """A numeric column's cells and their states; what is no number, or missing for the first time, is bad."""
    numbers = column_numbers(column, table.column(column.name))
    values = numbers.values
    if column.fill is not None and numbers.missing.any():
        filling = column_numbers(column, pa.chunked_array([texts([column.fill])])).values[0]
        values = np.where(numbers.missing, filling, values)
    state = np.full(len(values), NUMBER, dtype=np.int64)
    for position, spike in enumerate(column.spikes, 1):
        state[np.abs(values - spike) <= 1e-9 * max(abs(spike), 1e-300)] = position
    wrong = ~np.isfinite(values)
    if column.missing:
        state[numbers.missing] = column.states - 1
        wrong &= ~numbers.missing
    _tell_bad(column, table, wrong, bad)
    return values, state


def _latent_state(column: Column, table: Table, bad: dict[int, str]) -> Codes:
    """The states of a partial column as :meth:`TableEncoder.latent_cells` writes them."""
    cells = table.column(column.name)
    text = as_text(cells.cast(pa.string()))
    latent = flags_of(pc.equal(text, scalar(IN_LATENT)))
    others = Table(pa.table({column.name: pc.if_else(flags(latent), scalar(None), text)}), table.origins, table.index)
    told: dict[int, str] = {}
    _, states = _state(column, others, told)
    for row, reason in told.items():
        if not latent[row]:
            bad.setdefault(row, reason)
    for stray in np.flatnonzero((states == NUMBER) & ~latent):
        cell = text[int(stray)].as_py()
        bad.setdefault(int(stray), f"column {column.name!r}: {cell!r} is none of its spikes, and is not 'latent'")
    return np.where(latent, NUMBER, states)


def _beyond(column: Column, values: Floats) -> Flags:
    """Where a value is beyond the column's bounds."""
    with np.errstate(invalid="ignore"):
        below = values < column.lower if column.lower is not None else np.zeros(len(values), dtype=bool)
        above = values > column.upper if column.upper is not None else np.zeros(len(values), dtype=bool)
        return np.asarray(below | above | (np.abs(values - column.mean) > LARGEST_DEVIATION * abs(column.scale)))


# In units of a column's scale: beyond it the arithmetic overflows, and nothing has a density.
LARGEST_DEVIATION = 1e100


def _tell_bad(column: Column, table: Table, wrong: Flags, bad: dict[int, str]) -> None:
    if not wrong.any():
        return
    cells = table.column(column.name)
    numbers = column_numbers(column, cells)
    what = "a date as the training rows have them" if column.kind == "date" else "a number"
    for row in np.flatnonzero(wrong):
        if numbers.missing[row]:
            reason = "the cell is missing"
        elif numbers.invalid[row]:
            reason = f"{cells[int(row)].as_py()!r} is not {what}"
        else:
            reason = "the number is infinite"
        bad.setdefault(int(row), f"column {column.name!r}: {reason}")


def _whole(column: Column, table: Table, bad: dict[int, str]) -> Floats:
    """The cells of an ordinal column, counted from its middle; what is not whole is bad, and stands as 0.

    In float64 here: float32 holds large numbers only roughly.
    """
    cells = table.column(column.name)
    values, _ = _state(column, table, bad)
    for row in np.flatnonzero(np.isfinite(values) & (np.rint(values) != values)):
        bad.setdefault(int(row), f"column {column.name!r}: {cells[int(row)].as_py()!r} is not a whole number")
    for row in np.flatnonzero(np.isfinite(values) & (np.abs(values) > LARGEST_WHOLE)):
        bad.setdefault(int(row), f"column {column.name!r}: {cells[int(row)].as_py()!r} is beyond 2^53")
    return np.where(np.isfinite(values), np.rint(values) - round(column.mean), 0.0)


def _side_by_side(columns: Sequence[np.ndarray], rows: int) -> np.ndarray:
    return np.stack(columns, axis=1) if columns else np.empty((rows, 0))


def _codes(column: Column, table: Table, bad: dict[int, str]) -> Codes:
    cells = table.column(column.name)
    text = as_text(cells)
    if column.fill is not None:
        text = text.fill_null(scalar(column.fill))
    codes = pc.index_in(text, value_set=texts(column.categories))
    if column.cells in ("integer", "number") and is_number_type(cells):
        # 79.0 is the label 79.
        categories = floats(np.array([float(category) for category in column.categories]))
        codes = pc.coalesce(codes, pc.index_in(cells.cast(pa.float64(), safe=False), value_set=categories))
    missing = flags_of(pc.is_null(text))
    found = floats_of(pc.cast(codes, pa.float64()))
    result = np.where(np.isnan(found), UNSEEN, found).astype(np.int64)
    if column.missing:
        result[missing] = len(column.categories)
    else:
        for row in np.flatnonzero(missing):
            bad.setdefault(int(row), f"column {column.name!r}: the cell is missing")
    return result


def _on_grid(values: Floats, column: Column) -> Floats:
    """Values brought to the nearest place of the column's grid, and within its bounds."""
    if column.step is not None:
        values = column.origin + column.step * np.rint((values - column.origin) / column.step)
    if column.decimals is not None:
        values = np.round(values, column.decimals)
    if column.lower is not None or column.upper is not None:
        values = np.clip(values, column.lower, column.upper)
    return values


def _with_spikes(values: Floats, states: Codes, column: Column) -> Floats:
    """The values, with the spike or NaN where the state says so."""
    instead = np.array([np.nan, *column.spikes, *([np.nan] if column.missing else [])])
    return np.where(states == NUMBER, values, instead[states])


def _as_written(values: Floats, column: Column, rounded: bool) -> pa.Array:
    """The values as the column's cells, null for NaN; its type is the column's, whatever the values."""
    if column.kind == "date":
        return written_dates(values, column.date_format)
    missing = np.isnan(values)
    if rounded and column.decimals == 0 and abs(column.mean) + 1000 * abs(column.scale) < LARGEST_WHOLE:
        return _as_integers(values, missing)
    return floats(values + 0.0, missing)  # no minus zero


def _as_integers(values: Floats, missing: Flags | None = None) -> pa.Array:
    whole = np.rint(np.nan_to_num(values).clip(-(2.0**62), 2.0**62)).astype(np.int64)
    return integers(whole, missing)


def _label_cells(codes: Codes, column: Column) -> pa.Array:
    """Labels as they were written, typed where the training rows' were."""
    words: Any = texts([*column.categories, *([None] if column.missing else [])])
    return pc.take(_typed(words, column), integers(codes))


def _typed(words: pa.Array, column: Column) -> pa.Array:
    """Words as cells of the type that the training rows' had."""
    kind = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}[column.cells]
    return pc.cast(words, kind)
