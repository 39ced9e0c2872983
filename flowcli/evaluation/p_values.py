"""How rarely a statistic comes out so far off when nothing is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float64]

# Above it the tail's own formula is the better one.
ANDERSON_DARLING_TAIL = 5.0
TERMS_OF_KOLMOGOROV = 100


def normal_two_sided(z: float) -> float:
    """Of a standard normal, the chance to be at least so far from 0."""
    return math.erfc(abs(z) / math.sqrt(2))


def normal_above(z: float) -> float:
    """Of a standard normal, the chance to be at least so large."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def chi_squared(value: float, degrees: float) -> float:
    """Of a chi-squared variable, the chance to be at least so large."""
    half = torch.tensor([degrees / 2, value / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def anderson_darling(log_below: Floats, log_above: Floats) -> tuple[float, float]:
    """The Anderson-Darling statistic of values whose distribution is fully known, and its p-value.

    Args:
        log_below: of each value, the logarithm of the chance to be below it, ``(n,)``.
        log_above: of each value, the logarithm of the chance to be above it, ``(n,)``.

    The p-value is Marsaglia & Marsaglia 2004, "Evaluating the Anderson-Darling distribution", their correction for
    finite ``n`` included. Far out it is that of ``sum_j chi^2_1 / (j (j + 1))``, the limit, by its largest term:
    ``sqrt(3) erfc(sqrt(A^2)) (1 + 11 / (36 A^2))``.
    """
    n = len(log_below)
    odd = 2 * np.arange(1, n + 1) - 1
    value = float(-n - (odd * (np.sort(log_below) + np.sort(log_above))).sum() / n)
    if value > ANDERSON_DARLING_TAIL:
        return value, math.sqrt(3) * math.erfc(math.sqrt(value)) * (1 + 11 / (36 * value))
    limit = _anderson_darling_limit(value)
    return value, min(1.0, max(0.0, 1 - limit - _anderson_darling_correction(n, limit)))


def _anderson_darling_limit(z: float) -> float:
    """The distribution function for infinitely many values."""
    if z <= 0:
        return 0.0
    if z < 2:
        polynomial = np.polyval([0.00168691, -0.0116720, 0.0347962, -0.0649821, 0.247105, 2.00012], z)
        return float(math.exp(-1.2337141 / z) / math.sqrt(z) * polynomial)
    return math.exp(-math.exp(np.polyval([-0.0003146, 0.008056, -0.082433, 0.43424, -2.30695, 1.0776], z)))


def _anderson_darling_correction(n: int, x: float) -> float:
    """What finitely many values add to the limit's distribution function ``x``."""
    if x > 0.8:
        return float(np.polyval([255.7844, -1116.360, 1950.646, -1705.091, 745.2337, -130.2137], x)) / n
    border = 0.01265 + 0.1757 / n
    if x < border:
        t = x / border
        return math.sqrt(t) * (1 - t) * (49 * t - 102) * (0.0037 / n**2 + 0.00078 / n + 0.00006) / n
    t = (x - border) / (0.8 - border)
    return float(np.polyval([1.91864, -8.259, 14.458, -14.6538, 6.54034, -0.00022633], t)) * (0.04213 + 0.01365 / n) / n


def kolmogorov_smirnov(one: Floats, other: Floats) -> tuple[float, float]:
    """The largest distance of two samples' distribution functions, and its p-value; with ties it is too large.

    By Stephens 1970, "Use of the Kolmogorov-Smirnov, Cramer-von Mises and related statistics without extensive tables".
    """
    places = np.concatenate([one, other])
    below = (np.searchsorted(np.sort(sample), places, side="right") / len(sample) for sample in (one, other))
    distance = float(np.abs(next(below) - next(below)).max())
    size = math.sqrt(len(one) * len(other) / len(places))
    scaled = (size + 0.12 + 0.11 / size) * distance
    if scaled < 0.2:
        return distance, 1.0
    terms = np.arange(1, TERMS_OF_KOLMOGOROV + 1)
    return distance, min(1.0, max(0.0, float(2 * ((-1.0) ** (terms - 1) * np.exp(-2 * (terms * scaled) ** 2)).sum())))


def exceedances(count: int, rows: int, rank: int, samples: int) -> float:
    """Two-sided, of so many of the rows beyond the sample of this rank, counted from the outermost, 1.

    Rows and samples are from one continuous distribution: the count is then negative hypergeometric.
    """
    j = np.arange(rows + 1)
    log_chance = _log_choose(j + rank - 1, j) + _log_choose(samples - rank + rows - j, rows - j)
    return _two_sided(log_chance - _log_choose(np.array(samples + rows), np.array(rows)), count)


def binomial(count: int, rows: int, chance: float) -> float:
    """Two-sided, of so many of the rows where each has this chance."""
    j = np.arange(rows + 1)
    return _two_sided(_log_choose(np.array(rows), j) + j * math.log(chance) + (rows - j) * math.log1p(-chance), count)


def _two_sided(log_chance: Floats, count: int) -> float:
    chance = np.exp(log_chance)
    return float(min(1.0, 2 * min(chance[: count + 1].sum(), chance[count:].sum())))


def _log_choose(n: npt.NDArray[np.int64], k: npt.NDArray[np.int64]) -> Floats:
    def log_factorial(values: npt.NDArray[np.int64]) -> Floats:
        found: Floats = torch.lgamma(torch.from_numpy(np.asarray(values, dtype=np.float64)) + 1).numpy()
        return found

    return log_factorial(n) - log_factorial(k) - log_factorial(n - k)


def mann_whitney(one: Floats, other: Floats) -> tuple[float, float]:
    """The chance that a value of ``one`` is above a value of ``other``, ties counted half, and its z-score.

    The z-score's variance is that of equal distributions, with the correction for ties.
    """
    ranks, ties = midranks(np.concatenate([one, other]))
    m, n = len(one), len(other)
    chance = (ranks[:m].sum() - m * (m + 1) / 2) / (m * n)
    total = m + n
    variance = (total + 1 - (ties**3 - ties).sum() / (total * (total - 1))) / (12 * m * n)
    return float(chance), float((chance - 0.5) / math.sqrt(variance)) if variance > 0 else 0.0


def midranks(values: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Ranks from 1, equal values the mean of theirs, and how many there are of each value."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place], counts


def holm(p_values: Sequence[float]) -> Floats:
    """Corrected p-values: the chance that any of them is falsely below a level is at most that level (Holm 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return corrected
