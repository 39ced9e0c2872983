"""Data against samples of the model: every column, and every two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.transforms import blended_transform_factory

from flowcli.plots.panels import SHARES, draw_marginal, draw_model, draw_outline, draw_points
from flowcli.plots.shown_column import LONGEST_LABEL, ShownColumn
from flowcli.plots.style import DPI, WIDTH, data_key, model_key, styled
from flowcli.tables.columns import Column

# Inches beside the panels, and points in an inch.
TOP, RIGHT, POINTS = 0.35, 0.08, 72
# The size of the ticks' labels at most, in points, and how wide a letter is, in units of its size.
TICKS, LETTER = 7.5, 0.62


def pairs(columns: Sequence[Column], data: pa.Table, samples: pa.Table, data_name: str, model_name: str) -> Figure:
    """A matrix of panels, a row and a column for each of the columns.

    On the diagonal each column's marginals; above it the data, within a line around 95% of the model; below it the
    model, by the regions of highest density that hold 20 to 95% of it.
    """
    noise = np.random.default_rng(0)
    shown = [ShownColumn(column, data.column(column.name)) for column in columns]
    rows = [column.places(data.column(column.column.name)) for column in shown]
    drawn = [column.places(samples.column(column.column.name)) for column in shown]
    limits = [column.limits(*both) for column, *both in zip(shown, rows, drawn, strict=True)]
    count = len(shown)
    with styled():
        figure, grid = _matrix(shown)
        for up, across in np.ndindex(count, count):
            axes = grid[up, across]
            axes.set_xlim(limits[across])
            if up == across:
                draw_marginal(axes, shown[up], rows[up], drawn[up], noise)
                continue
            axes.set_ylim(limits[up])
            of_data, of_model = (((shown[across], places[across]), (shown[up], places[up])) for places in (rows, drawn))
            if up < across:
                draw_outline(axes, *of_model, noise)
                draw_points(axes, *of_data, noise)
            else:
                draw_model(axes, *of_model, noise)
        for up, across in np.ndindex(count, count):
            _dress(grid[up, across], shown, up, across)
        regions = Patch(facecolor="#35b779", label=f"its densest {100 * SHARES[-1]:.0f}% to {100 * SHARES[0]:.0f}%")
        keys = [data_key(data_name), model_key(model_name), *([regions] if count > 1 else [])]
        figure.legend(handles=keys, loc="upper left", ncols=3, columnspacing=1.5, borderaxespad=0.2)
    return figure


def _type_size(count: int) -> float:
    """Of a column's name, in points."""
    return 9 if count <= 4 else 7.5 if count <= 6 else 6.5


def _matrix(shown: Sequence[ShownColumn]) -> tuple[Figure, Any]:
    """A square of equal panels, with room at the edges for two lines of a name and the longest of the ticks' labels."""
    letters = max([5, *(min(len(label), LONGEST_LABEL) for column in shown for label in column.labels)])
    ticks, names = min(_type_size(len(shown)), TICKS), 2.6 * _type_size(len(shown)) + 6
    left = (LETTER * letters * ticks + names) / POINTS
    side = WIDTH - left - RIGHT
    room = side / len(shown) * POINTS / (LETTER * ticks)
    upright = max([2, *(letters for column in shown if _crowded(column, room))])
    bottom = (LETTER * upright * ticks + names) / POINTS
    height = TOP + side + bottom
    figure = Figure(figsize=(WIDTH, height))
    grid = figure.add_gridspec(
        len(shown),
        len(shown),
        left=left / WIDTH,
        right=1 - RIGHT / WIDTH,
        bottom=bottom / height,
        top=1 - TOP / height,
        wspace=0.1,
        hspace=0.1,
    )
    return figure, grid.subplots(squeeze=False)


def _dress(axes: Axes, shown: Sequence[ShownColumn], up: int, across: int) -> None:
    """Ticks, and at the outer edges their labels and the columns' names."""
    count = len(shown)
    ticks = 4 if count <= 5 else 3
    small = _type_size(count)
    whole = axes.figure.transFigure
    room = axes.get_window_extent().width / DPI * POINTS / (LETTER * small)
    axes.tick_params(labelsize=min(small, TICKS), length=2)
    shown[across].dress(axes.xaxis, ticks)
    if up != across:
        shown[up].dress(axes.yaxis, ticks)
    else:
        axes.set_yticks([])
    if up < count - 1:
        axes.tick_params(labelbottom=False)
    else:
        axes.set_xlabel(_wrapped(shown[across].name, room), fontsize=small, va="bottom", linespacing=1.1)
        axes.xaxis.set_label_coords(0.5, 0.004, blended_transform_factory(axes.transAxes, whole))
        if _crowded(shown[across], room):
            axes.tick_params(axis="x", labelrotation=90)
    if across == 0:
        axes.set_ylabel(_wrapped(shown[up].name, room), fontsize=small, va="top", linespacing=1.1)
        axes.yaxis.set_label_coords(0.006, 0.5, blended_transform_factory(whole, axes.transAxes))
    if across > 0:
        axes.tick_params(labelleft=False)


def _crowded(column: ShownColumn, room: float) -> bool:
    """Whether labels side by side take more than so many letters."""
    return column.is_label and len(column.labels) * (1 + max(map(len, column.labels))) > room


def _wrapped(name: str, room: float) -> str:
    """A name in a line of so many letters, or in two; what does not fit is cut off."""
    if len(name) <= room:
        return name
    breaks = [at + (name[at] == "_") for at in range(1, len(name)) if name[at] in " _" and at <= room]
    at = max(breaks, default=int(room))
    first, second = name[:at].rstrip(), name[at:].lstrip()
    return f"{first}\n{second}" if len(second) <= room else f"{first}\n{second[: int(room) - 1]}…"
