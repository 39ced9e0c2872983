"""Means with their standard errors, and which of two is ahead."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mean:
    """Of values, or of differences row by row; where one is not finite the standard error is not a number."""

    value: float
    error: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Mean:
        with np.errstate(invalid="ignore"):
            return cls(float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5)

    @property
    def verdict(self) -> str:
        """Of a difference: ahead or behind by more than one standard error, or within it."""
        if abs(self.value) <= self.error:
            return "within"
        # What is not a number is no success.
        return "ahead" if self.value > 0 else "behind"

    def text(self, signed: bool = False) -> str:
        if not math.isfinite(self.value):
            return f"{self.value}"
        return f"{self.value:{'+' if signed else ''}.3f} ± {self.error:.3f}"
