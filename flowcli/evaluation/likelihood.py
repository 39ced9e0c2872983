"""A test log-likelihood with its uncertainty."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


def summarize(log_prob: npt.NDArray[np.float64], dimensions: int) -> dict[str, Any]:
    """Mean, standard error of the mean, total and n of per-row log-likelihoods in nats, and bits per dimension.

    ``impossible_rows`` counts rows of probability zero; with one, mean and total are minus infinity,
    written as ``None`` (JSON has no infinity), as is the standard error of fewer than two rows.
    """
    rows = len(log_prob)
    mean = float(log_prob.mean()) if rows else math.nan
    with np.errstate(invalid="ignore"):
        standard_error = float(log_prob.std(ddof=1)) / math.sqrt(rows) if rows > 1 else math.nan
    return {
        "mean": _finite(mean),
        "standard_error": _finite(standard_error),
        "total": _finite(float(log_prob.sum())) if rows else None,
        "n": rows,
        "bits_per_dim": _finite(-mean / (dimensions * math.log(2))),
        "impossible_rows": int(np.isneginf(log_prob).sum()),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
