"""The affine transformer: shift and scale."""

from __future__ import annotations

import torch
from torch import Tensor

from flowcli.transforms.transformer import Transformer, soft_clip


class AffineTransformer(Transformer):
    """``x = z * exp(s) + t`` with ``s`` in ``(-log_scale_bound, log_scale_bound)``, bounded smoothly.

    The bound keeps one far row from throwing a whole stack: without it the scale grows exponentially
    where the network extrapolates.
    """

    parameter_count = 2

    def __init__(self, log_scale_bound: float) -> None:
        self.log_scale_bound = log_scale_bound

    def _shift_and_log_scale(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = parameters.unbind(-1)
        return shift, soft_clip(raw, self.log_scale_bound)

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._shift_and_log_scale(parameters)
        return z * torch.exp(log_scale) + shift, log_scale.expand_as(z)

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._shift_and_log_scale(parameters)
        return (x - shift) * torch.exp(-log_scale), -log_scale.expand_as(x)


class AdditiveTransformer(Transformer):
    """``x = z + t``: volume is preserved (Dinh, Krueger & Bengio 2015)."""

    parameter_count = 1

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return z + parameters.squeeze(-1), torch.zeros_like(z)

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return x - parameters.squeeze(-1), torch.zeros_like(x)
