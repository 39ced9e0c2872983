"""The sinh-arcsinh transformer: skewness and tail weight."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from flowcli.transforms.transformer import Transformer, soft_clip

# The tail weight stays within exp of plus and minus this: beyond, x grows as the seventh power of z.
LOG_TAIL_BOUND = 1.5
LOG_SCALE_BOUND = 3.0


def _log_cosh(value: Tensor) -> Tensor:
    return value.abs() + softplus(-2 * value.abs()) - math.log(2)


class SinhArcsinhTransformer(Transformer):
    """``x = t + exp(s) sinh((arcsinh(z) + epsilon) / delta)`` (Jones & Pewsey 2009, equation 1).

    ``epsilon`` skews; ``delta`` below 1 makes both tails heavier than the base's, above 1 lighter.
    Parameters are ``epsilon``, ``log delta``, ``t`` and ``s``, the two logarithms bounded smoothly.
    """

    parameter_count = 4

    def _unpacked(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        epsilon, log_delta, shift, log_scale = parameters.unbind(-1)
        return epsilon, soft_clip(log_delta, LOG_TAIL_BOUND), shift, soft_clip(log_scale, LOG_SCALE_BOUND)

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        epsilon, log_delta, shift, log_scale = self._unpacked(parameters)
        inner = (torch.asinh(z) + epsilon) * torch.exp(-log_delta)
        x = shift + torch.exp(log_scale) * torch.sinh(inner)
        return x, log_scale - log_delta + _log_cosh(inner) - _log_cosh(torch.asinh(z))

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        epsilon, log_delta, shift, log_scale = self._unpacked(parameters)
        inner = torch.asinh((x - shift) * torch.exp(-log_scale))
        outer = inner * torch.exp(log_delta) - epsilon
        return torch.sinh(outer), log_delta - log_scale + _log_cosh(outer) - _log_cosh(inner)
