"""Quantiles of latents."""

import numpy as np
import pytest
from scipy.stats import norm

from flowcli.plots.latents import latents, quantile_band

from .cases import panels


def test_points_are_the_sorted_latents():
    z = np.random.default_rng(0).standard_normal((80, 3))
    z[5, 1] = np.nan
    grid = panels(latents(z, ["z1", "z2", "z3"], "80 rows"))
    for at in range(3):
        (points,) = [line for line in grid[at, at].get_lines() if line.get_marker() == "o"]
        expected = np.sort(z[np.isfinite(z[:, at]), at])
        np.testing.assert_array_equal(points.get_ydata(), expected)
        np.testing.assert_array_equal(points.get_xdata(), quantile_band(len(expected))[0])
    shown = grid[2, 0].collections[0].get_offsets()
    np.testing.assert_allclose(shown, z[:, [0, 2]])


def test_one_value_lies_where_a_normal_one_does():
    middle, low, high = quantile_band(1)
    np.testing.assert_allclose([*middle, *low, *high], norm.ppf([0.5, 0.025, 0.975]), atol=1e-9)


@pytest.mark.parametrize("count", [10, 200])
def test_the_band_holds_95_percent_at_each_place(count):
    samples = np.sort(np.random.default_rng(0).standard_normal((4000, count)), axis=1)
    _, low, high = quantile_band(count)
    inside = ((samples >= low) & (samples <= high)).mean(axis=0)
    # Four standard errors.
    assert np.abs(inside - 0.95).max() < 4 * np.sqrt(0.95 * 0.05 / 4000)
