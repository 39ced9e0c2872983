"""A flow step by step: small multiples of the same rows after each transform, or a film of them."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowcli.plots.flow_path import Step
from flowcli.plots.shown_column import ShownColumn
from flowcli.plots.style import DENSITIES, GREY, WIDTH, new_figure, styled

Floats = npt.NDArray[np.float64]

MOST_STEPS = 16
ACROSS = 4
OUTSIDE, MARGIN = 0.002, 0.08
# Of the film: frames from one step to the next, and those for which it rests there.
MOVING, RESTING, FRAMES_A_SECOND = 10, 5, 15
FILM_WIDTH = 4.0


def steps(path: Sequence[Step], columns: Sequence[ShownColumn], what: str) -> Figure:
    """A panel for each step, in the colours of where a row starts; of very many steps some, evenly chosen.

    Args:
        path: from base to data; the last is in places along the columns.
        what: which rows, and of which model.
    """
    shown = _some(path)
    across = min(ACROSS, len(shown))
    down = math.ceil(len(shown) / across)
    with styled():
        figure = new_figure(WIDTH / across * down * 1.1 + 0.4)
        figure.suptitle(what, x=0.01, ha="left", fontsize=9)
        grid: Any = figure.subplots(down, across, squeeze=False)
        panels = grid.flatten()
        for axes, (number, step), limits in zip(panels, shown, _limits([step for _, step in shown]), strict=False):
            axes.scatter(step.points[:, 0], step.points[:, 1], c=_colours(path), s=_size(step.points), linewidth=0)
            axes.set(xlim=limits[0], ylim=limits[1], title=_title(number, step))
            axes.set_box_aspect(1)
            axes.title.set_fontsize(8)
        for axes in panels[len(shown) :]:
            axes.axis("off")
        _dress_data(panels[len(shown) - 1], columns)
    return figure


def film(path: Sequence[Step], columns: Sequence[ShownColumn]) -> bytes:
    """A GIF in which every row moves on a straight line from each step to the next, the axes with them."""
    limits = _limits(path)
    # Places in the panel: 0 and 1 are its edges.
    places = [
        (step.points - np.array(ends)[:, 0]) / np.ptp(np.array(ends), axis=1)
        for step, ends in zip(path, limits, strict=True)
    ]
    with styled(), tempfile.TemporaryDirectory() as folder:
        figure = Figure(figsize=(FILM_WIDTH, FILM_WIDTH), dpi=100)
        axes = figure.add_axes((0.15, 0.12, 0.8, 0.8))
        x, y = places[0].T
        dots = axes.scatter(x, y, c=_colours(path), s=_size(places[0]), linewidth=0, transform=axes.transAxes)
        file = Path(folder) / "film.gif"
        writer = PillowWriter(fps=FRAMES_A_SECOND)
        with writer.saving(figure, str(file), dpi=100):
            for at, step in enumerate(path):
                axes.set_title(_title(at, step))
                for share in np.linspace(0, 1, MOVING) if at else ():
                    eased = share * share * (3 - 2 * share)
                    dots.set_offsets((1 - eased) * places[at - 1] + eased * places[at])
                    _set_limits(axes, (1 - eased) * np.array(limits[at - 1]) + eased * np.array(limits[at]))
                    writer.grab_frame()
                _set_limits(axes, np.array(limits[at]))
                if at == len(path) - 1:
                    _dress_data(axes, columns)
                for _ in range(RESTING * (3 if at == len(path) - 1 else 1)):
                    writer.grab_frame()
        return file.read_bytes()


def _some(path: Sequence[Step]) -> list[tuple[int, Step]]:
    """At most :data:`MOST_STEPS` of the steps, with their numbers, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(path) - 1, min(len(path), MOST_STEPS)).round().astype(int))
    return [(int(at), path[at]) for at in chosen]


def _title(number: int, step: Step) -> str:
    return step.name if step.name in ("base", "data") else f"{number}  {step.name}"


def _colours(path: Sequence[Step]) -> Floats:
    """A row's colour is its rank along the first coordinate of the base."""
    first = path[0].points[:, 0]
    ranks = np.argsort(np.argsort(first)) / max(len(first) - 1, 1)
    return np.asarray(mpl.colormaps[DENSITIES](0.9 * ranks))


def _size(points: Floats) -> float:
    return float(np.clip(4000 / max(len(points), 1), 1.5, 12))


def _limits(path: Sequence[Step]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Of each step: the data's own for the last, and for all others the same."""
    before = np.concatenate([step.points for step in path[:-1]])
    low, high = (np.quantile(before, share) for share in (OUTSIDE, 1 - OUTSIDE))
    room = MARGIN * (high - low)
    same = (float(low - room), float(high + room))
    data = path[-1].points
    ends = []
    for places in data.T:
        low, high = (float(np.quantile(places, share)) for share in (OUTSIDE, 1 - OUTSIDE))
        room = MARGIN * (high - low) or 0.5
        ends.append((low - room, high + room))
    return [(same, same)] * (len(path) - 1) + [(ends[0], ends[1])]


def _set_limits(axes: Axes, limits: Floats) -> None:
    axes.set(xlim=tuple(limits[0]), ylim=tuple(limits[1]))


def _dress_data(axes: Axes, columns: Sequence[ShownColumn]) -> None:
    for axis, column in zip((axes.xaxis, axes.yaxis), columns, strict=True):
        column.dress(axis, 4)
        axis.set_label_text(column.name)
        axis.label.set_color(GREY)
