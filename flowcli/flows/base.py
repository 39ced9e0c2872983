"""Base distributions: where the latent ``z`` comes from."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class StandardNormal(nn.Module):
    """Independent standard normals."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density in nats, ``(...)``, of ``z`` ``(..., d)``."""
        return -0.5 * (z * z).sum(-1) - 0.5 * math.log(2 * math.pi) * z.shape[-1]

    def sample(self, rows: int, features: int, generator: torch.Generator) -> Tensor:
        """Draw ``(rows, features)`` on the CPU, in float64, so that a seed means the same on every device."""
        return torch.randn(rows, features, generator=generator, dtype=torch.float64)
