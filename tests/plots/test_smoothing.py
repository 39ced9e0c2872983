"""Smoothed densities against closed forms."""

import numpy as np
import pytest
from scipy.stats import expon, norm

from flowcli.plots.smoothing import levels_holding, smooth_density, smooth_density_2d


def test_a_line_integrates_to_one_and_is_the_density():
    values = np.random.default_rng(0).standard_normal(100_000)
    x, density = smooth_density(values, -6, 6)
    assert density.sum() * (x[1] - x[0]) == pytest.approx(1, abs=1e-9)
    assert np.abs(density - norm.pdf(x)).max() < 0.02


def test_a_bound_keeps_its_mass():
    values = np.random.default_rng(0).exponential(size=100_000)
    x, density = smooth_density(values, 0, 15)
    assert density.sum() * (x[1] - x[0]) == pytest.approx(1, abs=1e-4)
    assert density[0] == pytest.approx(expon.pdf(0), rel=0.1)


def test_what_is_beyond_has_its_share():
    values = np.random.default_rng(0).standard_normal(100_000)
    x, density = smooth_density(values, -1, 1)
    assert density.sum() * (x[1] - x[0]) == pytest.approx(norm.cdf(1) - norm.cdf(-1), abs=0.01)


def test_regions_of_a_normal_hold_their_shares():
    x = np.linspace(-6, 6, 400)
    density = norm.pdf(x)[:, None] * norm.pdf(x)
    shares = (0.95, 0.5, 0.2)
    # The region with a share s is the circle where the density is (1 - s) / (2 pi).
    np.testing.assert_allclose(levels_holding(density, shares), (1 - np.array(shares)) / (2 * np.pi), rtol=0.02)
    assert not len(levels_holding(np.zeros((3, 3)), shares))


def test_two_columns():
    noise = np.random.default_rng(0)
    x, y, density = smooth_density_2d(noise.normal(0, 1, 50_000), noise.normal(3, 2, 50_000), (-5, 5), (-7, 13))
    assert density.sum() * (x[1] - x[0]) * (y[1] - y[0]) == pytest.approx(1, abs=1e-9)
    peak = np.unravel_index(density.argmax(), density.shape)
    assert abs(y[peak[0]] - 3) < 1
    assert abs(x[peak[1]]) < 0.5
