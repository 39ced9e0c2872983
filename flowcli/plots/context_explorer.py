"""Densities that move with the context of a conditional model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from bokeh.models import ColumnDataSource, DataRange1d, FixedTicker, PlainText, Range1d
from bokeh.plotting import figure

from flowcli.plots.interactive import as_base64, as_item, new_plot
from flowcli.plots.shown_column import LONGEST_LABEL, ShownColumn, shortened
from flowcli.plots.style import DATA, MODEL
from flowcli.printable import printable

Floats = npt.NDArray[np.float64]

MILLISECONDS_A_DAY = 86_400_000.0
BAR = 0.8
# More letters of labels than this do not stand side by side.
MOST_LETTERS = 40


@dataclass(frozen=True)
class Slider:
    """A context column that is moved: what stands at its positions, and where it starts."""

    name: str
    unit: str
    is_label: bool
    texts: Sequence[str]
    start: int


@dataclass(frozen=True)
class Explored:
    """A modelled column: its density at places ``(m,)`` for each context, ``(contexts, m)``.

    ``masses`` are the probabilities of spikes and of a missing cell, ``(contexts,)`` each. The rows themselves are a
    histogram: heights ``(b,)`` between edges ``(b + 1,)``.
    """

    shown: ShownColumn
    places: Floats
    heights: Floats
    masses: dict[str, Floats]
    row_heights: Floats
    row_edges: Floats


@dataclass(frozen=True)
class Exploration:
    """Densities of modelled columns for each context of a grid.

    ``fixed``: the context columns that are not moved, and the typical value of each. ``contexts``: how many
    combinations the sliders have; the last slider moves fastest. ``samples``: drawn for each context, or ``None`` where
    densities are the model's own. ``not_shown``: modelled columns beyond the first ones.
    """

    sliders: Sequence[Slider]
    fixed: Sequence[tuple[str, str]]
    explored: Sequence[Explored]
    contexts: int
    samples: int | None
    not_shown: Sequence[str]


def plots(found: Exploration) -> list[dict[str, Any]]:
    """Of each modelled column the figure as it starts, and what the page's script moves it by."""
    start = 0
    for slider in found.sliders:
        start = start * len(slider.texts) + slider.start
    return [
        {
            "item": as_item(_plot(each, start)),
            "heights": as_base64(each.heights),
            "masses": {name: as_base64(shares) for name, shares in each.masses.items()},
        }
        for each in found.explored
    ]


def _plot(each: Explored, start: int) -> figure:
    shown, date = each.shown, each.shown.column.kind == "date"
    factor = MILLISECONDS_A_DAY if date else 1.0
    places, edges = each.places * factor, each.row_edges * factor
    unit = "day" if date else shown.column.unit
    label = "probability" if shown.discrete else f"density [1 / {printable(unit)}]" if unit else "density"
    kind = {"x_axis_type": "datetime"} if date else {}
    half = 0.6 if shown.discrete else 0.0
    x_range = Range1d(start=places[0] - half, end=places[-1] + half)
    highest = 1.05 * max(each.heights.max(), each.row_heights.max())
    y_range = Range1d(start=0, end=highest) if shown.discrete else DataRange1d(start=0)
    plot = new_plot(shown.name, label, x_range=x_range, y_range=y_range, **kind)
    plot.quad(left=edges[:-1], right=edges[1:], bottom=0, top=each.row_heights, color=DATA, alpha=0.2, line_width=0)
    source = ColumnDataSource({"x": places, "y": each.heights[start]}, name="model")
    if shown.discrete:
        plot.vbar(x="x", top="y", width=BAR / 2, source=source, color=MODEL, alpha=0.85)
    else:
        plot.varea(x="x", y1=0, y2="y", source=source, color=MODEL, alpha=0.2)
        plot.line(x="x", y="y", source=source, color=MODEL, line_width=2)
    if shown.is_label:
        names = [shortened(printable(text), LONGEST_LABEL) for text in shown.labels]
        plot.xaxis.ticker = FixedTicker(ticks=list(range(len(names))))
        plot.xaxis.major_label_overrides = {at: PlainText(text=name) for at, name in enumerate(names)}
        if sum(map(len, names)) > MOST_LETTERS:
            plot.xaxis.major_label_orientation = 0.7
    return plot
