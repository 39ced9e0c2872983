"""Kernel density estimates with the bandwidth that predicts best."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

# More rows than this say little more of a bandwidth, and cost their square.
MOST_ROWS = 5000
MOST_LEFT_OUT = 500
CHUNK = 512
# In units of Silverman's rule.
BANDWIDTHS = np.geomspace(0.05, 2.0, 15)


class KernelDensity:
    """A Gaussian kernel around each row, with the covariance of all rows times the square of a bandwidth.

    The bandwidth is the likeliest for rows that are left out (Duin 1976), around Silverman's rule. Of more than
    ``MOST_ROWS`` rows, so many are drawn at random.
    """

    def __init__(self, rows: Tensor, noise: np.random.Generator) -> None:
        """``rows`` (n, d) in float64, none twice if they are from a density."""
        # In random order, as the first of them choose the bandwidth.
        rows = rows[torch.from_numpy(noise.permutation(len(rows))[:MOST_ROWS])]
        self.mean = rows.mean(0)
        covariance = (rows - self.mean).mT @ (rows - self.mean) / len(rows)
        # Columns that determine each other have a covariance without an inverse.
        ridge = 1e-9 * covariance.diagonal().mean().clamp_min(1e-300)
        self.factor = torch.linalg.cholesky(covariance + ridge * torch.eye(rows.shape[1], dtype=rows.dtype))
        self.log_det = float(self.factor.diagonal().log().sum())
        self.rows = self._white(rows)
        n, d = rows.shape
        silverman = (4 / ((d + 2) * n)) ** (1 / (d + 4))
        squares = torch.cdist(self.rows[:MOST_LEFT_OUT], self.rows).square()
        squares.fill_diagonal_(torch.inf)
        scores = [float(_log_mean(squares, factor * silverman, n - 1, d).mean()) for factor in BANDWIDTHS]
        self.bandwidth = float(BANDWIDTHS[int(np.argmax(scores))] * silverman)

    def _white(self, rows: Tensor) -> Tensor:
        white: Tensor = torch.linalg.solve_triangular(self.factor, (rows - self.mean).mT, upper=False).mT
        return white

    def log_prob(self, rows: Tensor) -> Tensor:
        """Log-density of each row, ``(m,)``, in nats."""
        n, d = self.rows.shape
        white, found = self._white(rows), rows.new_empty(len(rows))
        for start in range(0, len(rows), CHUNK):
            squares = torch.cdist(white[start : start + CHUNK], self.rows).square()
            found[start : start + CHUNK] = _log_mean(squares, self.bandwidth, n, d)
        return found - self.log_det


def _log_mean(squares: Tensor, bandwidth: float, n: int, d: int) -> Tensor:
    """Log of the mean of ``n`` kernels at these squared distances ``(m, n)``."""
    constant = d * (math.log(bandwidth) + 0.5 * math.log(2 * math.pi)) + math.log(n)
    return torch.logsumexp(-0.5 * squares / bandwidth**2, dim=1) - constant
