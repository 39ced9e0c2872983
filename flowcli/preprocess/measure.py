"""What the training rows say of each column: means and scales, spikes, bounds, and the map to the real line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from flowcli.errors import DataError
from flowcli.preprocess.numbers import column_numbers, within
from flowcli.preprocess.whole import Statistics, Whole
from flowcli.tables.cells import as_text
from flowcli.tables.columns import Column
from flowcli.tables.table import Table
from flowcli.transforms.supports import MAPS

Floats = npt.NDArray[np.float64]

# Zero is a bound of a column without numbers below it when a normal of its mean and deviation had put so many there.
LEAST_EXPECTED_BEYOND = 5.0
# Numbers within [0, 1], or [0, 100], that come this close to both ends lie between bounds.
NEAR_THE_END = 0.05
LEAST_BOUNDED_ROWS = 50
# A value is a spike when so many rows have it, this share of them, and so many times as many as its neighbours'.
LEAST_SPIKE_ROWS = 50
LEAST_SPIKE_SHARE = 0.005
LEAST_SPIKE_RATIO = 2.5
NEIGHBOURS = 5
MOST_SPIKES = 60
# With no more values than this, each that enough rows have is a spike.
FEW_VALUES = 20
# A map is taken over those before it when it makes a normal fit better by this much a row, in nats.
LEAST_GAIN = 0.1
# In standard deviations: a softplus of this unit bends only what is next to the bound.
SHARP = 0.1
# In units of a column's scale: what is further out overflows float32 in training.
FARTHEST = 1e30
MOST_MEASURED = 200_000
# A given column whose standard deviation is so many times that of a normal of its quartiles is standardised by these.
HEAVY_TAILED = 3.0


def fit_columns(
    columns: Sequence[Column],
    training: Table,
    missing: str = "model",
    spikes: bool = True,
    maps: bool = True,
    whole: Mapping[str, Whole] | None = None,
) -> list[Column]:
    """The columns with what depends on the training rows.

    A column that varies in the whole table but not in the training rows becomes a constant.

    Args:
        training: the training rows, or a sample of them.
        missing: what becomes of missing cells: ``model``, or ``impute``.
        spikes: whether spikes are looked for; a flow that cannot leave out columns has no use for them.
        maps: whether bounds and heavy tails are looked for; declared bounds hold in any case.
        whole: what all rows say, where the training rows here are a sample; by default, these say it.

    Raises:
        DataError: numbers are too large for a mean and a scale.
    """
    if whole is None:
        statistics = Statistics(columns)
        statistics.add(training, np.arange(len(training)))
        whole = statistics.found
    fitted = []
    for column in columns:
        update: dict[str, Any] = {}
        if column.numeric or column.kind == "ordinal":
            numbers = column_numbers(column, training.column(column.name))
            values = numbers.values[~numbers.missing]
            # The extremes of all rows count as two rows of a sample.
            extremes = [end for end in (whole[column.name].low, whole[column.name].high) if np.isfinite(end)]
            if len(values):
                values = np.r_[values, np.setdiff1d(extremes, [values.min(), values.max()])]
            with np.errstate(over="ignore", invalid="ignore"):
                usable = bool(len(values)) and np.isfinite(values.mean()) and np.isfinite(values.std())
            if len(values) and not usable:
                raise DataError(
                    f"{training.source()}: column {column.name!r}: its numbers are too large for a mean and a scale"
                )
            if column.missing and missing == "impute":
                update = {"missing": False, "fill": _as_written(float(np.median(values)), training, column)}
            update |= _numbers(replace(column, **update), values, spikes and not column.context, maps)
        elif column.kind == "label":
            text = as_text(training.column(column.name))
            categories = tuple(sorted(whole[column.name].categories))
            update = {"categories": categories}
            if not categories:
                update |= {"kind": "constant", "reason": "every cell of the training rows is missing"}
            elif column.missing and missing == "impute":
                counts = text.value_counts().to_pylist()
                most = max((c["counts"], c["values"]) for c in counts if c["values"] is not None)
                update |= {"missing": False, "fill": most[1]}
            elif len(categories) == 1 and not column.missing:
                update = {"kind": "constant", "value": categories[0], "categories": ()}
                update |= {"reason": "one value in the training rows"}
        fitted.append(replace(column, **update))
    return fitted


def _numbers(column: Column, values: Floats, spikes: bool, maps: bool) -> dict[str, Any]:
    """What to know of a numeric or an ordinal column with these numbers."""
    constant = {"kind": "constant", "missing": False, "fill": None, "reason": "one value in the training rows"}
    if not len(values):
        return {**constant, "reason": "every cell of the training rows is missing"}
    if values.std() == 0 and not column.missing:
        value = _shortest(float(values[0]))
        typed = "text" if column.kind == "date" else "number" if not value.lstrip("-").isdigit() else "integer"
        return {**constant, "value": value, "cells": typed}
    mean, scale = float(values.mean()), float(values.std()) or 1.0
    if column.kind == "ordinal":
        mean, scale = _middle(values, scale)
        return {"mean": mean, "scale": scale}
    found = column.spikes or (_spikes(column, values) if spikes else ())
    rest = values[~np.isin(values, found)]
    # What is left must say enough of itself.
    if len(np.unique(rest)) < 3:
        rest = values
    return {"spikes": found, **_support(column, rest, values, maps)}


def _spikes(column: Column, values: Floats) -> tuple[float, ...]:
    """Values that far more rows have than those around them, the commonest first."""
    different, counts = np.unique(values, return_counts=True)
    least = max(LEAST_SPIKE_ROWS, LEAST_SPIKE_SHARE * len(values))
    often = counts >= least
    if column.step is None or len(different) <= FEW_VALUES:
        found = often
    else:
        at = np.rint((different - different[0]) / column.step).astype(np.int64)
        found = often.copy()
        found[often] = counts[often] >= LEAST_SPIKE_RATIO * _around(at, counts, np.flatnonzero(often))
    chosen = np.flatnonzero(found)
    chosen = chosen[np.argsort(-counts[chosen], kind="stable")][:MOST_SPIKES]
    return tuple(float(value) for value in different[chosen])


def _around(at: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], chosen: npt.NDArray[np.int64]) -> Floats:
    """Of the chosen values, the median count of the grid's places up to ``NEIGHBOURS`` away, empty ones too."""
    medians = []
    for k in chosen:
        place = at[k]
        low, high = np.searchsorted(at, [place - NEIGHBOURS, place + NEIGHBOURS + 1])
        near = [int(counts[j]) for j in range(low, high) if j != k]
        # At the end of the range there are no rows beyond: that says nothing of a spike.
        width = min(NEIGHBOURS, int(place - at[0])) + min(NEIGHBOURS, int(at[-1] - place))
        medians.append(float(np.median(near + [0] * (width - len(near)))) if width else math.inf)
    return np.array(medians)


def _support(column: Column, rest: Floats, values: Floats, maps: bool) -> dict[str, Any]:
    """Bounds, map and scales, from the numbers that are no spikes; bounds from all of them."""
    lower, upper = column.lower, column.upper
    maps = maps and column.kind == "number" and not column.context
    if maps and lower is None and upper is None:
        lower, upper = _bounds(column, values)
    mean, scale = float(rest.mean()), float(rest.std()) or 1.0
    half = (column.step or 0.0) / 2
    quartiles = np.quantile(rest, [0.25, 0.5, 0.75])
    middle_scale = float(quartiles[2] - quartiles[0]) / 1.349
    if lower is not None and upper is not None:
        low, high = (_moved_out(end, rest, half, scale, sign) for end, sign in ((lower, -1), (upper, 1)))
        candidates = [("logit", low, high - low)]
    elif lower is not None:
        low = _moved_out(lower, rest, half, scale, -1)
        candidates = [("softplus", low, SHARP * scale), ("softplus", low, scale), ("log", low, scale)]
    elif upper is not None:
        high = _moved_out(upper, rest, half, scale, 1)
        candidates = [("softplus", high, -SHARP * scale), ("softplus", high, -scale), ("log", high, -scale)]
    else:
        if column.context and scale > HEAVY_TAILED * middle_scale > 0:
            mean, scale = float(quartiles[1]), middle_scale
        candidates = [("none", mean, scale)]
        near = np.abs(rest - quartiles[1]).max() < FARTHEST * middle_scale
        if maps and near and len(np.unique(rest)) > FEW_VALUES:
            candidates.append(("arcsinh", float(quartiles[1]), middle_scale))
    sample = rest if len(rest) <= MOST_MEASURED else rest[:: math.ceil(len(rest) / MOST_MEASURED)]
    best: dict[str, Any] = {}
    best_value = -math.inf
    for name, start, unit in candidates:
        y, log_slope = (part.numpy() for part in MAPS[name][0](torch.from_numpy(within(name, (sample - start) / unit))))
        center, spread = (0.0, 1.0) if name == "none" else (float(y.mean()), float(y.std()) or 1.0)
        # The likelihood of a normal after the map, per row.
        value = float(log_slope.mean()) - math.log(abs(unit)) - math.log(float(y.std()) or 1.0)
        if np.isfinite(value) and value > best_value + LEAST_GAIN:
            best = {"map": name, "mean": start, "scale": unit, "center": center, "spread": spread}
            best_value = value
    return {"lower": lower, "upper": upper, **best}


def _bounds(column: Column, values: Floats) -> tuple[float | None, float | None]:
    """Bounds that a new value will not plausibly leave."""
    low, high = float(values.min()), float(values.max())
    if low < 0:
        return None, None
    if len(values) >= LEAST_BOUNDED_ROWS and not (column.step is not None and column.step >= 1):
        for end in (1.0, 100.0):
            if low <= NEAR_THE_END * end and (1 - NEAR_THE_END) * end <= high <= end:
                return 0.0, end
    mean, scale = float(values.mean()), float(values.std())
    if scale > 0 and len(values) * math.erfc(mean / scale / math.sqrt(2)) / 2 >= LEAST_EXPECTED_BEYOND:
        return 0.0, None
    return None, None


def _moved_out(end: float, rest: Floats, half_step: float, scale: float, sign: int) -> float:
    """The bound as the map has it: half a step further out on a grid, a little where values lie on the bound itself."""
    if half_step:
        return end + sign * half_step
    distance = sign * (end - rest)
    if distance.min() > 0:
        return end
    inside = distance[distance > 0]
    return end + sign * (float(inside.min()) / 2 if len(inside) else 1e-3 * scale)


def _middle(values: Floats, deviation: float) -> tuple[float, float]:
    """Median and spread of counts, whose few large ones would hide the small ones: a normal's of the same quartiles."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float(np.rint(median)), float(high - low) / 1.349 or min(deviation, 1.0)


def _as_written(number: float, training: Table, column: Column) -> str:
    """A number as a cell of the column; of dates, the cell that is nearest to it."""
    if column.kind == "date":
        cells = training.column(column.name)
        values = column_numbers(column, cells).values
        return str(cells[int(np.nanargmin(np.abs(values - number)))].as_py())
    if column.step is not None:
        number = column.origin + column.step * round((number - column.origin) / column.step)
    return _shortest(round(number, column.decimals) if column.decimals is not None else number)


def _shortest(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)
