"""Whether latents are normal: quantiles, and every two of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import beta, chi2, norm

from flowcli.plots.style import BLACK, DATA, GREY, WIDTH, data_key, new_figure, styled

Floats = npt.NDArray[np.float64]

BAND = 0.95
# Of more points nothing more is seen.
MOST_POINTS = 2000
CIRCLES = (0.5, 0.95)
LEAST_REACH, MOST_REACH = 3.5, 6.0
# Of a legend, in letters.
LONGEST_LINE = 95


def latents(z: Floats, names: Sequence[str], data_name: str) -> Figure:
    """A matrix of panels: on the diagonal each latent's quantiles against the normal's, below it every two latents.

    Above the diagonal stand their correlations. Normal points lie along the line, in the pointwise band for 95% of
    samples of that size, and within the circles with the shares 50% and 95%.

    Args:
        z: latents ``(n, d)``; NaN where a row has none.
    """
    count = len(names)
    reach = float(np.clip(np.nanmax(np.abs(z), initial=0.0) * 1.05, LEAST_REACH, MOST_REACH))
    with styled():
        side = WIDTH if count > 1 else 0.65 * WIDTH
        figure = new_figure(0.97 * side, side)
        grid: Any = figure.subplots(count, count, squeeze=False, sharex=True, sharey=True)
        for up, across in np.ndindex(count, count):
            axes = grid[up, across]
            axes.set_aspect("equal")
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[-3, 0, 3], yticks=[-3, 0, 3])
            if up == across:
                _quantiles(axes, z[:, up])
                axes.text(0.05, 0.95, names[up], transform=axes.transAxes, va="top", weight="bold")
            elif up > across:
                _two(axes, z[:, across], z[:, up])
            else:
                axes.axis("off")
                _correlation(axes, z[:, across], z[:, up])
            if up == count - 1:
                axes.set_xlabel(names[across] if up != across else "normal")
            if across == 0:
                axes.set_ylabel(names[up] if up != across else "latent")
        keys = _keys(data_name, count)
        narrow = sum(len(str(key.get_label())) for key in keys) < LONGEST_LINE
        figure.legend(handles=keys, loc="outside upper left", ncols=4 if narrow else 2, columnspacing=1.5)
    return figure


def quantile_band(count: int, share: float = BAND) -> tuple[Floats, Floats, Floats]:
    """Normal quantiles for the places of ``count`` sorted values, and between what they lie with this probability.

    The i-th smallest of n uniform values has the distribution Beta(i, n + 1 - i); its median stands for its place.
    """
    order = np.arange(1, count + 1)
    tail = (1 - share) / 2
    middle, low, high = (norm.ppf(beta.ppf(part, order, count + 1 - order)) for part in (0.5, tail, 1 - tail))
    return middle, low, high


def _quantiles(axes: Axes, z: Floats) -> None:
    ordered = np.sort(z[np.isfinite(z)])
    middle, low, high = quantile_band(len(ordered))
    axes.fill_between(middle, low, high, color=GREY, alpha=0.3, linewidth=0)
    axes.axline((0, 0), slope=1, color=BLACK, linewidth=0.7)
    axes.plot(middle, ordered, "o", color=DATA, markersize=2, markeredgewidth=0)
    below, above = (ordered < axes.get_ylim()[0]).sum(), (ordered > axes.get_ylim()[1]).sum()
    if below or above:
        axes.text(0.97, 0.03, f"{below + above} beyond", transform=axes.transAxes, ha="right", fontsize=6.5)


def _two(axes: Axes, x: Floats, y: Floats) -> None:
    there = np.isfinite(x) & np.isfinite(y)
    some = np.flatnonzero(there)[:: max(1, -(-int(there.sum()) // MOST_POINTS))]
    size = float(np.clip(900 / max(len(some), 1), 1.2, 9))
    axes.scatter(x[some], y[some], s=size, color=DATA, alpha=0.75 if len(some) < 500 else 0.4, linewidth=0)
    angle = np.linspace(0, 2 * np.pi, 200)
    for share in CIRCLES:
        radius = np.sqrt(chi2.ppf(share, 2))
        axes.plot(radius * np.cos(angle), radius * np.sin(angle), color=BLACK, linewidth=0.7)


def _correlation(axes: Axes, x: Floats, y: Floats) -> None:
    there = np.isfinite(x) & np.isfinite(y)
    if there.sum() > 2:
        found = float(np.corrcoef(x[there], y[there])[0, 1])
        axes.text(0.5, 0.5, f"r = {found:.2f}", transform=axes.transAxes, ha="center", va="center", color=GREY)


def _keys(data_name: str, count: int) -> list[Line2D | Patch]:
    keys: list[Line2D | Patch] = [data_key(data_name), Patch(facecolor=GREY, alpha=0.3, label="95% of normal samples")]
    if count > 1:
        keys.append(Line2D([], [], color=BLACK, linewidth=0.7, label="normal: line; circles with 50% and 95%"))
    return keys
