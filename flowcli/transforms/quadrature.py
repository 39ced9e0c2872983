"""Integrals by fixed nodes."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor


@cache
def _rule(nodes: int) -> tuple[list[float], list[float]]:
    places, weights = np.polynomial.legendre.leggauss(nodes)
    return ((places + 1) / 2).tolist(), (weights / 2).tolist()


def gauss_legendre(nodes: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes in (0, 1) and weights that sum to 1, exact for polynomials of degree ``2 * nodes - 1``."""
    # Tensors of their own each time: one made while gradients are off could not be used where they are on.
    places, weights = (torch.tensor(part, dtype=like.dtype, device=like.device) for part in _rule(nodes))
    return places, weights
