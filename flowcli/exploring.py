"""How a conditional model's densities move with its context, computed for every position that can be chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from operator import not_

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flowcli.model import Model
from flowcli.plots.context_explorer import Exploration, Explored, Slider
from flowcli.plots.panels import bars
from flowcli.plots.shown_column import ShownColumn
from flowcli.plots.smoothing import smooth_density
from flowcli.tables.arrays import integers, texts
from flowcli.tables.cells import as_text
from flowcli.tables.columns import Column
from flowcli.tables.table import Origin, Table

Floats = npt.NDArray[np.float64]

# Of a line; of whole numbers at most so many.
PLACES, MOST_BARS = 161, 61
# So many rows are scored or drawn in all, and so many samples for each context where a density is not exact.
ROWS, SAMPLES_EACH = 100_000, 1000
ROWS_FOR_LIMITS = 2000
# Positions of a slider, and labels to choose from.
LEAST_POSITIONS, MOST_POSITIONS = 5, 41
MOST_LABELS = 8
# A slider goes from this quantile of the rows to its counterpart.
END = 0.02
# More modelled columns are not shown.
MOST_COLUMNS = 6
MISSING = "missing"


@dataclass(frozen=True)
class _Positions:
    """The values that a context column takes, as cells and as they are read; the typical one is at ``start``."""

    column: Column
    cells: pa.Array
    texts: list[str]
    start: int

    @property
    def slider(self) -> Slider:
        return Slider(self.column.name, self.column.unit, self.column.kind == "label", self.texts, self.start)


def explore(model: Model, data: Table, seed: int) -> Exploration:
    """Densities of the modelled columns on a grid of contexts, that lie where these rows are.

    Exact where one column is modelled; else of each column its marginal, from samples that are drawn from the same
    random numbers for every context.

    Raises:
        DataError: the rows lack a column.
    """
    modelled = [*model.encoder.numbers, *model.encoder.discrete]
    shown = [ShownColumn(column, data.column(column.name)) for column in modelled[:MOST_COLUMNS]]
    exact = len(modelled) == 1 and len(shown[0].spikes) == len(modelled[0].spikes)
    moved, fixed = _positions(model.encoder.context, data, ROWS // (PLACES if exact else SAMPLES_EACH))
    context = _product(moved, fixed)
    few = pa.concat_tables(model.sample_chunks(-(-ROWS_FOR_LIMITS // len(context)), context, seed))
    places = [_places(column, data, few) for column in shown]
    found = [_exact(model, shown[0], places[0], context)] if exact else _sampled(model, shown, places, context, seed)
    return Exploration(
        [each.slider for each in moved],
        [(each.column.name, each.texts[each.start]) for each in fixed],
        [
            Explored(column, at, heights, masses, *_of_rows(column, at, data))
            for column, at, (heights, masses) in zip(shown, places, found, strict=True)
        ],
        len(context),
        None if exact else SAMPLES_EACH,
        [column.name for column in modelled[MOST_COLUMNS:]],
    )


def _positions(columns: Sequence[Column], data: Table, most: int) -> tuple[list[_Positions], list[_Positions]]:
    """The columns that are moved, with their positions, of which there are no more combinations than ``most``.

    The first ones are moved, as long as each can have its labels, or the least number of positions; the others stay
    where they are typical.
    """
    labels = {column.name: _labels(column, data) for column in columns if column.kind == "label"}
    least = {c.name: len(labels[c.name].texts) if c.name in labels else LEAST_POSITIONS for c in columns}
    taken: list[Column] = []
    for column in columns:
        if math.prod(least[each.name] for each in [*taken, column]) <= most:
            taken.append(column)
    sliding = [column for column in taken if column.name not in labels]
    room = most / math.prod(least[column.name] for column in taken if column.name in labels)
    count = min(MOST_POSITIONS, int(room ** (1 / len(sliding)) + 1e-9)) if sliding else 0
    found = [
        labels[column.name] if column.name in labels else _numbers(column, data, count if column in taken else 1)
        for column in columns
    ]
    # What has one value cannot be moved.
    moves = [each.column in taken and len(each.texts) > 1 for each in found]
    return list(compress(found, moves)), list(compress(found, map(not_, moves)))


def _labels(column: Column, data: Table) -> _Positions:
    """The commonest labels in the column's order, and a missing one where the model knows it."""
    counts = {row["values"]: row["counts"] for row in as_text(data.column(column.name)).value_counts().to_pylist()}
    common = sorted(column.categories, key=lambda label: -counts.get(label, 0))[:MOST_LABELS]
    kept: list[str | None] = [label for label in column.categories if label in common]
    start = kept.index(common[0])
    if column.missing:
        kept.append(None)
    return _Positions(column, texts(kept), [f"({MISSING})" if text is None else text for text in kept], start)


def _numbers(column: Column, data: Table, count: int) -> _Positions:
    """Values evenly apart between quantiles of the rows, on the column's grid; that next to the median is typical."""
    shown = ShownColumn(column, data.column(column.name))
    places = shown.places(data.column(column.name))
    places = places[np.isfinite(places)]
    if not len(places):
        places = shown.of_encoded(np.zeros(1))
    low, middle, high = np.quantile(places, [END, 0.5, 1 - END], method="nearest")
    wanted = np.linspace(low, high, count) if count > 1 else np.array([middle])
    if shown.step is not None:
        wanted = shown.origin + shown.step * np.rint((wanted - shown.origin) / shown.step)
    found, cells = _written(shown, wanted)
    return _Positions(column, cells, [shown.written(place) for place in found], int(np.abs(found - middle).argmin()))


def _written(shown: ShownColumn, wanted: Floats) -> tuple[Floats, pa.Array]:
    """Places as they are when they have been written as cells, each once, and the cells."""
    cells = shown.cells(wanted)
    places, first = np.unique(shown.places(pa.chunked_array([cells])), return_index=True)
    return places, cells.take(integers(first))


def _product(moved: Sequence[_Positions], fixed: Sequence[_Positions]) -> Table:
    """Every combination of the positions, the last one moving fastest."""
    shape = [len(each.texts) for each in moved]
    rows = math.prod(shape)
    indices = np.indices(shape).reshape(len(shape), rows)
    cells = {each.column.name: each.cells.take(integers(at)) for each, at in zip(moved, indices, strict=True)}
    cells |= {each.column.name: each.cells.take(integers(np.full(rows, each.start))) for each in fixed}
    return Table(pa.table(cells), (Origin("the contexts", 1, rows),))


def _places(shown: ShownColumn, data: Table, samples: pa.Table) -> Floats:
    """Where a column's density is shown: where these rows and samples are, within its bounds."""
    if shown.is_label:
        return np.arange(len(shown.labels), dtype=np.float64)
    both = [shown.without_spikes(shown.places(cells.column(shown.column.name))) for cells in (data.cells, samples)]
    low, high = shown.within_bounds(*shown.limits(*both))
    if shown.discrete:
        first, last = math.ceil(low), math.floor(high)
        return np.arange(first, min(last, first + MOST_BARS - 1) + 1, dtype=np.float64)
    found, _ = _written(shown, np.linspace(low, high, PLACES))
    return found[~np.isin(found, shown.spikes)]


def _exact(model: Model, shown: ShownColumn, places: Floats, context: Table) -> tuple[Floats, dict[str, Floats]]:
    """Densities ``(contexts, places)`` by the model's ``log_prob``, and the probabilities of spikes and holes."""
    known = [label for label in shown.labels if label in shown.column.categories]
    cells = texts(known) if shown.is_label else shown.cells(places)
    masses = _masses(shown)
    spikes = [shown.cells(np.array([spike])) for spike in masses.values() if np.isfinite(spike)]
    holes = [pa.nulls(1, cells.type)] if shown.column.missing else []
    asked = pa.concat_arrays([cells, *spikes, *holes])
    contexts, rows = np.indices((len(context), len(asked))).reshape(2, -1)
    grid = context.take(contexts).cells.append_column(shown.column.name, asked.take(integers(rows)))
    log_prob = model.log_prob(Table(grid, (Origin("the grid", 1, len(rows)),)))
    found = np.exp(log_prob).reshape(len(context), len(asked))
    heights = found[:, : len(cells)] / shown.per_day
    if len(known) < len(shown.labels):
        heights = np.append(heights, 1 - found.sum(axis=1, keepdims=True), axis=1)
    return heights, {name: found[:, len(cells) + at] for at, name in enumerate(masses)}


def _sampled(
    model: Model, shown: Sequence[ShownColumn], places: Sequence[Floats], context: Table, seed: int
) -> list[tuple[Floats, dict[str, Floats]]]:
    """Of each column its marginal density ``(contexts, places)``, smoothed, and the shares of spikes and holes."""
    heights = [np.empty((len(context), len(at))) for at in places]
    masses = [{name: np.empty(len(context)) for name in _masses(column)} for column in shown]
    for row in range(len(context)):
        samples = pa.concat_tables(model.sample_chunks(SAMPLES_EACH, context.take(np.array([row])), seed))
        for column, at, of_column, shares in zip(shown, places, heights, masses, strict=True):
            drawn = column.places(samples.column(column.column.name))
            of_column[row] = _smoothed(column, at, drawn, np.random.default_rng(seed))
            for name, place in _masses(column).items():
                shares[name][row] = np.mean(np.isclose(drawn, place, rtol=0, atol=0, equal_nan=True))
    return list(zip(heights, masses, strict=True))


def _masses(shown: ShownColumn) -> dict[str, float]:
    """The places of a column that have a probability beside its density, NaN for a missing cell."""
    found = {f"at {shown.written(spike)}": spike for spike in shown.spikes}
    return found | ({MISSING: float("nan")} if shown.column.missing else {})


def _smoothed(shown: ShownColumn, places: Floats, drawn: Floats, noise: np.random.Generator) -> Floats:
    """The density at these places; of labels and whole numbers their shares. What is missing has its share, too."""
    if shown.discrete:
        return np.asarray((drawn == places[:, None]).mean(axis=1))
    there = shown.without_spikes(drawn)
    found, density = smooth_density(shown.spread(there, noise), places[0], places[-1])
    return np.asarray(np.interp(places, found, density) * len(there) / len(drawn))


def _of_rows(shown: ShownColumn, places: Floats, data: Table) -> tuple[Floats, Floats]:
    """The rows themselves, whatever their context: heights of bars, and their edges."""
    found = shown.places(data.column(shown.column.name))
    if shown.discrete:
        return (found == places[:, None]).mean(axis=1), np.append(places - 0.5, places[-1] + 0.5)
    there = shown.without_spikes(found)
    heights, edges = bars(shown, there, (places[0], places[-1]))
    return heights * len(there) / len(found), edges
