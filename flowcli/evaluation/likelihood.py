"""A test log-likelihood with its uncertainty."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


class Tally:
    """Mean and spread of numbers that come a part at a time (Chan, Golub & LeVeque 1983)."""

    def __init__(self) -> None:
        self.n = 0
        self.impossible = 0
        self.mean = 0.0
        self.squares = 0.0

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Take in the values ``(m,)``."""
        if not len(values):
            return
        self.impossible += int(np.isneginf(values).sum())
        before, self.n = self.n, self.n + len(values)
        with np.errstate(invalid="ignore"):
            mean = float(values.mean())
            away = mean - self.mean
            self.squares += float(np.square(values - mean).sum()) + away**2 * before * len(values) / self.n
            self.mean = mean if not before else self.mean + away * len(values) / self.n

    @property
    def standard_error(self) -> float:
        """Of the mean; NaN for fewer than two values, and where one is infinite."""
        if self.n < 2 or not math.isfinite(self.squares):
            return math.nan
        return math.sqrt(self.squares / (self.n - 1)) / math.sqrt(self.n)

    def difference(self) -> dict[str, float | None]:
        """Mean and its standard error, of differences row by row; ``None`` where a row has none."""
        return {"mean": finite(self.mean) if self.n else None, "standard_error": finite(self.standard_error)}

    def summary(self, dimensions: int) -> dict[str, Any]:
        """See :func:`summarize`."""
        mean = self.mean if self.n else math.nan
        return {
            "mean": finite(mean),
            "standard_error": finite(self.standard_error),
            "total": finite(mean * self.n),
            "n": self.n,
            "bits_per_dim": finite(-mean / (dimensions * math.log(2))),
            "impossible_rows": self.impossible,
        }


def summarize(log_prob: npt.NDArray[np.float64], dimensions: int) -> dict[str, Any]:
    """Mean, standard error of the mean, total and n of per-row log-likelihoods in nats, and bits per dimension.

    ``impossible_rows`` counts rows of probability zero; with one, mean and total are minus infinity,
    written as ``None`` (JSON has no infinity), as is the standard error of fewer than two rows.
    """
    tally = Tally()
    tally.add(log_prob)
    return tally.summary(dimensions)


def finite(value: float) -> float | None:
    """The value as JSON can have it."""
    return value if math.isfinite(value) else None
