"""Gaussian mixtures of as many components as predict best."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST_ROWS = 20_000
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
HELD_OUT = 0.2


class Mixture:
    """The full-covariance mixture of scikit-learn, its size the likeliest for a fifth of the rows that it is not shown.

    Raises:
        ImportError: scikit-learn is not installed.
    """

    def __init__(self, rows: Tensor, noise: np.random.Generator) -> None:
        from sklearn.mixture import GaussianMixture

        x = rows.numpy()[noise.permutation(len(rows))[:MOST_ROWS]]
        seed = int(noise.integers(2**31))

        def fitted(components: int, rows: Any) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of steps that ran out: what it found is good or not by its score
                return GaussianMixture(components, random_state=seed, max_iter=200).fit(rows)

        held_out = max(1, round(HELD_OUT * len(x)))
        d = x.shape[1]
        most = max(1, (len(x) - held_out) // (2 * (d + 1)))
        best, worse = (-np.inf, 1), 0
        for size in SIZES:
            if size > most or worse == 2:
                break
            score = fitted(size, x[held_out:]).score(x[:held_out])
            worse = 0 if score > best[0] else worse + 1
            best = max(best, (score, size))
        self.components = best[1]
        self.density = fitted(self.components, x)

    def log_prob(self, rows: Tensor) -> Tensor:
        """Log-density of each row, ``(n,)``, in nats."""
        return torch.from_numpy(self.density.score_samples(rows.numpy())) if len(rows) else rows.new_empty(0)
