"""The learning rate over a run."""

from __future__ import annotations

import math


def learning_rate_factor(step: int, warmup: int, progress: float, decay: str) -> float:
    """The share of the peak learning rate at a step.

    It rises linearly over the first ``warmup`` steps; with ``cosine`` it then falls to zero as
    ``progress`` goes from 0 to 1 (Loshchilov & Hutter 2017, equation 5, without restarts).
    """
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, progress))) if decay == "cosine" else 1.0
    return rise * fall
