"""Densities of many samples: fine histograms, smoothed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

Floats = npt.NDArray[np.float64]

CELLS = 400
CELLS_EACH_WAY = 160
# Of Silverman's rule for a normal: what is not normal is not to be smoothed away.
SHARE_OF_SILVERMAN = 0.6


def bandwidth(values: Floats, dimensions: int) -> float:
    """The standard deviation of the kernel along one of so many dimensions."""
    if len(values) < 2:
        return 0.0
    spread = float(values.std())
    quartiles = float(np.subtract(*np.quantile(values, [0.75, 0.25]))) / 1.349
    narrower = min(spread, quartiles) if quartiles > 0 else spread
    return float(SHARE_OF_SILVERMAN * narrower * len(values) ** (-1 / (dimensions + 4)))


def smooth_density(values: Floats, low: float, high: float) -> tuple[Floats, Floats]:
    """Places ``(m,)`` from ``low`` to ``high``, and the density there; what is beyond has its share of the mass.

    Nothing is smoothed over the ends: a density may begin at a bound.
    """
    counts, edges = np.histogram(values, CELLS, (low, high))
    width = (high - low) / CELLS
    smoothed = gaussian_filter(counts.astype(np.float64), bandwidth(values, 1) / width, mode="reflect")
    return (edges[1:] + edges[:-1]) / 2, smoothed / (max(len(values), 1) * width)


def smooth_density_2d(
    x: Floats, y: Floats, x_limits: tuple[float, float], y_limits: tuple[float, float]
) -> tuple[Floats, Floats, Floats]:
    """Places along x ``(m,)`` and y ``(m,)``, and the density there ``(m, m)``, a row for each y."""
    counts, x_edges, y_edges = np.histogram2d(x, y, CELLS_EACH_WAY, (x_limits, y_limits))
    widths = [(limits[1] - limits[0]) / CELLS_EACH_WAY for limits in (x_limits, y_limits)]
    sigma = [bandwidth(values, 2) / width for values, width in zip((x, y), widths, strict=True)]
    smoothed = gaussian_filter(counts, sigma, mode="reflect") / (max(len(x), 1) * widths[0] * widths[1])
    x_places, y_places = ((edges[1:] + edges[:-1]) / 2 for edges in (x_edges, y_edges))
    return x_places, y_places, smoothed.T


def levels_holding(density: Floats, shares: tuple[float, ...]) -> Floats:
    """The levels of a density on a regular grid above which these shares of its mass lie, ascending and different."""
    descending = np.sort(density, axis=None)[::-1]
    held = np.cumsum(descending)
    if not held[-1] > 0:
        return np.zeros(0)
    places = np.searchsorted(held, np.array(shares) * held[-1]).clip(max=len(descending) - 1)
    return np.unique(descending[places])
