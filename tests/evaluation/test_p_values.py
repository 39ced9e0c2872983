"""P-values against SciPy, quadrature and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from flowcli.evaluation import p_values


@pytest.mark.parametrize("z", [0.0, 0.3, 1.96, -2.5, 6.0])
def test_normal(z: float) -> None:
    assert p_values.normal_two_sided(z) == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-12)
    assert p_values.normal_above(z) == pytest.approx(stats.norm.sf(z), rel=1e-12)


@pytest.mark.parametrize(("value", "degrees"), [(0.0, 1), (3.84, 1), (12.5, 4), (200.0, 30)])
def test_chi_squared(value: float, degrees: int) -> None:
    assert p_values.chi_squared(value, degrees) == pytest.approx(stats.chi2.sf(value, degrees), rel=1e-9)


def limit_of_anderson_darling(z: float) -> float:
    """``P(sum_j chi^2_1 / (j (j + 1)) > z)`` by Imhof's integral, the small terms by their mean."""
    j = np.arange(1, 301)
    weights, rest = 1 / (j * (j + 1)), 1 / 301

    def integrand(u: float) -> float:
        angle = 0.5 * np.arctan(weights * u).sum() - 0.5 * (z - rest) * u
        return float(np.sin(angle) / (u * np.exp(0.25 * np.log1p((weights * u) ** 2).sum())))

    return 0.5 + integrate.quad(integrand, 1e-9, 250, limit=2000)[0] / math.pi


@pytest.mark.parametrize("z", [0.5, 1.0, 2.0, 3.0, 4.99, 5.01, 6.0, 8.0])
def test_anderson_darling_of_many_values(z: float) -> None:
    """So many that the correction for their number is nothing: the statistic is set by moving one value."""
    n = 10**6
    log_below = np.log((np.arange(n) + 0.5) / n)
    log_above = log_below[::-1].copy()
    value = p_values.anderson_darling(log_below, log_above)[0]
    # The statistic is the sum of this and what the first value is moved by.
    log_below[0] -= (z - value) * n
    moved, p = p_values.anderson_darling(log_below, log_above)
    assert moved == pytest.approx(z, rel=1e-6)
    assert p == pytest.approx(limit_of_anderson_darling(z), rel=0.005)


def test_anderson_darling_statistic() -> None:
    values = np.random.default_rng(0).normal(0.2, 1.1, 80)
    found, p = p_values.anderson_darling(stats.norm.logcdf(values), stats.norm.logsf(values))
    fixed = {"loc": 0, "scale": 1}
    simulated = stats.goodness_of_fit(
        stats.norm, values, known_params=fixed, statistic="ad", n_mc_samples=3000, rng=np.random.default_rng(1)
    )
    assert found == pytest.approx(simulated.statistic, rel=1e-9)
    assert p == pytest.approx(simulated.pvalue, abs=0.03)


@pytest.mark.parametrize("n", [10, 15, 100])
def test_anderson_darling_holds_its_level(n: int) -> None:
    noise = np.random.default_rng(n)
    u = noise.random((6000, n))
    p = np.array([p_values.anderson_darling(np.log(row), np.log1p(-row))[1] for row in u])
    for level in (0.5, 0.1, 0.01):
        assert stats.binomtest(int((p <= level).sum()), len(p), level).pvalue > 1e-4


@pytest.mark.parametrize(("m", "n"), [(30, 200), (200, 200), (1000, 150)])
def test_kolmogorov_smirnov(m: int, n: int) -> None:
    noise = np.random.default_rng(m + n)
    for shift in (0.0, 0.1, 0.3, 0.5):
        one, other = noise.normal(shift, 1, m), noise.normal(0, 1, n)
        expected = stats.ks_2samp(one, other)
        distance, p = p_values.kolmogorov_smirnov(one, other)
        assert distance == pytest.approx(expected.statistic)
        assert p == pytest.approx(expected.pvalue, rel=0.15, abs=0.01)


@pytest.mark.parametrize(("rows", "rank", "samples"), [(50, 1, 199), (300, 50, 10_000), (10, 3, 40)])
def test_exceedances(rows: int, rank: int, samples: int) -> None:
    """Rows that come before so many samples in a random order are negative hypergeometric."""
    distribution = stats.nhypergeom(rows + samples, rows, rank)
    for count in (0, 1, 3, rows):
        expected = min(1.0, 2 * min(distribution.cdf(count), distribution.sf(count - 1)))
        assert p_values.exceedances(count, rows, rank, samples) == pytest.approx(expected, rel=1e-6, abs=1e-10)


@pytest.mark.parametrize(("count", "rows"), [(0, 1000), (5, 1000), (14, 1000), (3, 20)])
def test_binomial(count: int, rows: int) -> None:
    distribution = stats.binom(rows, 0.005)
    expected = min(1.0, 2 * min(distribution.cdf(count), distribution.sf(count - 1)))
    assert p_values.binomial(count, rows, 0.005) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("decimals", [1, 8])
def test_mann_whitney(decimals: int) -> None:
    noise = np.random.default_rng(2)
    one, other = noise.normal(0.2, 1, 300).round(decimals), noise.normal(0, 1, 400).round(decimals)
    expected = stats.mannwhitneyu(one, other, use_continuity=False, method="asymptotic")
    chance, z = p_values.mann_whitney(one, other)
    assert chance == pytest.approx(expected.statistic / (300 * 400))
    assert p_values.normal_two_sided(z) == pytest.approx(expected.pvalue, rel=1e-9)


def test_midranks() -> None:
    values = np.random.default_rng(3).integers(0, 9, 50).astype(float)
    np.testing.assert_array_equal(p_values.midranks(values)[0], stats.rankdata(values))


def test_holm() -> None:
    # By hand: the smallest times 4, the next times 3, ..., never falling.
    np.testing.assert_allclose(p_values.holm([0.03, 0.001, 0.02, 0.9]), [0.06, 0.004, 0.06, 0.9])
    assert p_values.holm([]).shape == (0,)
