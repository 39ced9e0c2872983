"""Panels that show one column or two: of data and of samples of the model."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from flowcli.plots.shown_column import ShownColumn
from flowcli.plots.smoothing import levels_holding, smooth_density, smooth_density_2d
from flowcli.plots.style import DATA, DENSITIES, MODEL

Floats = npt.NDArray[np.float64]

# The regions of highest density that hold these shares of the samples, by contours.
SHARES = (0.95, 0.8, 0.6, 0.4, 0.2)
# Of more points nothing more is seen.
MOST_POINTS = 2000
# Pixels.
NARROW, LINE = 150, 12
BAR = 0.38
VIOLIN = 0.42


def draw_marginal(
    axes: Axes, column: ShownColumn, data: Floats | None, samples: Floats, noise: np.random.Generator
) -> None:
    """One column: the data as bars, the samples as a line; labels as bars side by side. Limits are set before."""
    if column.is_label:
        _grouped_bars(axes, column, data, samples)
    else:
        limits = axes.get_xlim()
        if data is not None:
            draw_histogram(axes, column, data)
        numbers = column.without_spikes(samples)
        if column.has_few_places(*limits):
            axes.stairs(*bars(column, numbers, limits), color=MODEL, linewidth=1.6, label="model")
        else:
            axes.plot(*smooth_density(column.spread(numbers, noise), *limits), color=MODEL, label="model")
        axes.set_xlim(limits)
    told = shares_beside(column, data, samples)
    box = axes.get_window_extent()
    # A line of this type is so high, in pixels, and would be wider than a small panel.
    lines = [line for words in told for line in (words if box.width < NARROW else [" ".join(words)])]
    axes.set_ylim(0, axes.dataLim.ymax / max(0.92 - LINE * len(lines) / box.height, 0.3) or 1)
    text = "\n".join(lines)
    axes.text(0.99, 0.99, text, transform=axes.transAxes, ha="right", va="top", fontsize=6.5, linespacing=1.2)


def draw_histogram(axes: Axes, column: ShownColumn, data: Floats) -> None:
    """The data of a number column as bars."""
    heights, edges = bars(column, column.without_spikes(data), axes.get_xlim())
    axes.stairs(heights, edges, fill=True, color=DATA, alpha=0.35, linewidth=0, label="data")
    axes.stairs(heights, edges, color=DATA, linewidth=0.6)


def bars(column: ShownColumn, numbers: Floats, limits: tuple[float, float]) -> tuple[Floats, Floats]:
    """A histogram: densities ``(m,)``, and the edges of the bars ``(m + 1,)``."""
    edges = column.bins(numbers, *limits)
    return np.histogram(numbers, edges)[0] / (max(len(numbers), 1) * np.diff(edges)), edges


def _grouped_bars(axes: Axes, column: ShownColumn, data: Floats | None, samples: Floats) -> None:
    at = np.arange(len(column.labels))
    if data is not None:
        axes.bar(at - BAR / 2, _shares(data, len(at)), BAR, color=DATA, alpha=0.6, linewidth=0, label="data")
    place = at if data is None else at + BAR / 2
    axes.bar(place, _shares(samples, len(at)), BAR, facecolor="white", edgecolor=MODEL, hatch="/////", label="model")


def _shares(codes: Floats, count: int) -> Floats:
    there = codes[np.isfinite(codes)].astype(np.int64)
    return np.asarray(np.bincount(there, minlength=count)[:count] / max(len(there), 1))


def shares_beside(column: ShownColumn, data: Floats | None, samples: Floats) -> list[tuple[str, str]]:
    """What no density shows: missing cells and a few spikes, and their shares in the data and in the model."""
    told = []
    both = [places for places in (data, samples) if places is not None and len(places)]
    if column.column.missing or any(np.isnan(places).any() for places in both):
        told.append(("missing", _percentages([np.isnan(places) for places in both])))
    told += [(f"at {spike:g}", _percentages([places == spike for places in both])) for spike in column.spikes]
    return told


def _percentages(flags: list[npt.NDArray[np.bool_]]) -> str:
    return " | ".join(f"{100 * where.mean():.2g}%" for where in flags)


def draw_points(
    axes: Axes, across: tuple[ShownColumn, Floats], up: tuple[ShownColumn, Floats], noise: np.random.Generator
) -> None:
    """Rows of data as points; two columns of labels as circles, whose areas are their counts."""
    (x_column, x), (y_column, y) = across, up
    there = np.isfinite(x) & np.isfinite(y)
    x, y = x[there], y[there]
    if x_column.is_label and y_column.is_label:
        _areas(axes, x, y, "o", {"facecolor": DATA, "alpha": 0.6, "linewidth": 0})
        return
    if len(x) > MOST_POINTS:
        some = np.sort(noise.choice(len(x), MOST_POINTS, replace=False))
        x, y = x[some], y[some]
    x, y = (
        places + noise.uniform(-0.25, 0.25, len(places)) if column.is_label else _apart(column, places, noise)
        for column, places in ((x_column, x), (y_column, y))
    )
    size = float(np.clip(900 / max(len(x), 1), 1.2, 9))
    axes.scatter(x, y, s=size, color=DATA, alpha=0.75 if len(x) < 500 else 0.4, linewidth=0)


def _apart(column: ShownColumn, places: Floats, noise: np.random.Generator) -> Floats:
    """Places on a coarse grid, moved a little so that points do not hide each other."""
    low, high = column.limits(places)
    return column.spread(places, noise) if column.step is not None and (high - low) / column.step < 100 else places


def draw_model(
    axes: Axes, across: tuple[ShownColumn, Floats], up: tuple[ShownColumn, Floats], noise: np.random.Generator
) -> None:
    """Samples as filled contours; of a label column as violins, of two as squares. Limits are set before."""
    (x_column, x), (y_column, y) = across, up
    if x_column.is_label and y_column.is_label:
        there = np.isfinite(x) & np.isfinite(y)
        _areas(axes, x[there], y[there], "s", {"facecolor": "white", "edgecolor": MODEL, "hatch": "/////"})
    elif x_column.is_label:
        _violins(axes, x, (y_column, y), noise, upright=True)
    elif y_column.is_label:
        _violins(axes, y, (x_column, x), noise, upright=False)
    else:
        there = np.isfinite(x) & np.isfinite(y)
        spread = [c.spread(places[there], noise) for c, places in ((x_column, x), (y_column, y))]
        found = smooth_density_2d(spread[0], spread[1], axes.get_xlim(), axes.get_ylim())
        draw_regions(axes, *found)


def draw_regions(axes: Axes, x: Floats, y: Floats, density: Floats) -> None:
    """The regions of highest density that hold :data:`SHARES` of the mass, filled."""
    levels = levels_holding(density, SHARES)
    if not len(levels):
        return
    colours = mpl.colormaps[DENSITIES](np.linspace(0.12, 1, len(levels)))
    axes.contourf(
        x, y, density, [*levels, max(density.max() * 1.001, np.nextafter(levels[-1], np.inf))], colors=colours
    )


def draw_outline(
    axes: Axes, across: tuple[ShownColumn, Floats], up: tuple[ShownColumn, Floats], noise: np.random.Generator
) -> None:
    """The line around the region that holds 95% of the samples; none where a column holds labels."""
    (x_column, x), (y_column, y) = across, up
    if x_column.is_label or y_column.is_label:
        return
    there = np.isfinite(x) & np.isfinite(y)
    spread = [c.spread(places[there], noise) for c, places in ((x_column, x), (y_column, y))]
    x_places, y_places, density = smooth_density_2d(spread[0], spread[1], axes.get_xlim(), axes.get_ylim())
    levels = levels_holding(density, SHARES[:1])
    if len(levels):
        axes.contour(x_places, y_places, density, levels, colors=[MODEL], linewidths=0.9)


def _violins(
    axes: Axes, codes: Floats, numbers: tuple[ShownColumn, Floats], noise: np.random.Generator, upright: bool
) -> None:
    column, values = numbers
    low, high = axes.get_ylim() if upright else axes.get_xlim()
    for code in np.unique(codes[np.isfinite(codes)]):
        of_label = values[(codes == code) & np.isfinite(values)]
        if len(of_label) < 2:
            continue
        places, density = smooth_density(column.spread(of_label, noise), low, high)
        half = VIOLIN * density / max(density.max(), np.finfo(float).tiny)
        fill = axes.fill_betweenx if upright else axes.fill_between
        shown = half > 0.01 * VIOLIN
        fill(places, code - half, code + half, where=shown, color=MODEL, alpha=0.55, linewidth=0)


def _areas(axes: Axes, x: Floats, y: Floats, marker: str, look: dict[str, object]) -> None:
    pairs, counts = np.unique(np.stack([x, y], axis=1), axis=0, return_counts=True)
    columns, rows = np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())
    box = axes.get_window_extent()
    largest = 0.8 * 72 / axes.get_figure(root=True).dpi * min(box.width / columns, box.height / rows)  # type: ignore[union-attr]
    axes.scatter(pairs[:, 0], pairs[:, 1], s=counts / counts.max() * largest**2, marker=marker, **look)  # type: ignore[arg-type]
