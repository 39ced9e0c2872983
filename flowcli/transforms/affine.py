"""The affine transformer: shift and scale."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flowcli.transforms.node import is_transformed
from flowcli.transforms.transformer import Transformer, soft_clip


class AffineTransformer(Transformer):
    """``x = z * exp(s) + t`` with ``s`` in ``(-log_scale_bound, log_scale_bound)``, bounded smoothly.

    The bound keeps one far row from throwing a whole stack: without it the scale grows exponentially
    where the network extrapolates.
    """

    parameter_count = 2

    def __init__(self, log_scale_bound: float) -> None:
        self.log_scale_bound = log_scale_bound

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return self._apply(z, parameters, inverse=False)

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return self._apply(x, parameters, inverse=True)

    def _apply(self, value: Tensor, parameters: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        if not torch.is_grad_enabled():
            result, log_slope, *_ = _in_place(value, parameters, self.log_scale_bound, inverse)
            return result, log_slope.expand_as(value)
        if parameters.shape[:-1] == value.shape and not is_transformed():
            pair: tuple[Tensor, Tensor] = _Affine.apply(  # type: ignore[no-untyped-call]
                value, parameters, self.log_scale_bound, inverse
            )
            return pair
        return _plain(value, parameters, self.log_scale_bound, inverse)


def _plain(value: Tensor, parameters: Tensor, bound: float, inverse: bool) -> tuple[Tensor, Tensor]:
    shift, raw = parameters.unbind(-1)
    log_scale = soft_clip(raw, bound)
    if inverse:
        return (value - shift) * torch.exp(-log_scale), -log_scale.expand_as(value)
    return value * torch.exp(log_scale) + shift, log_scale.expand_as(value)


def _in_place(value: Tensor, parameters: Tensor, bound: float, inverse: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The result, the log-slope, the slope, and the square root of what the clipping leaves of a change."""
    shift, raw = parameters.unbind(-1)
    damping = raw.abs().mul_(1 / bound).add_(1).reciprocal_()
    log_slope = raw * damping
    if inverse:
        log_slope.neg_()
    slope = torch.exp(log_slope)
    result = (value - shift).mul_(slope) if inverse else torch.addcmul(shift, value, slope)
    return result, log_slope, slope, damping


class _Affine(torch.autograd.Function):
    """The affine transformer as one node of autograd's graph, for parameters that each value has of its own."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, parameters: Tensor, bound: float, inverse: bool) -> tuple[Tensor, Tensor]:
        result, log_slope, slope, damping = _in_place(value, parameters, bound, inverse)
        ctx.save_for_backward(value, parameters, result, slope, damping)
        ctx.bound, ctx.inverse = bound, inverse
        return result, log_slope

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_log_slope: Tensor) -> tuple[Tensor | None, ...]:
        value, parameters, result, slope, damping = ctx.saved_tensors
        if torch.is_grad_enabled():
            # The gradient will have a gradient: from the inputs anew, for autograd to see.
            shift, raw = parameters.unbind(-1)
            damping = 1 / (1 + raw.abs() / ctx.bound)
            slope = torch.exp(-raw * damping if ctx.inverse else raw * damping)
            result = (value - shift) * slope
        of_value = grad * slope
        # The slope multiplies ``value - shift`` one way, whose product with it is the result, and ``value`` the other.
        multiplied = grad * result if ctx.inverse else of_value * value
        of_raw = (grad_log_slope + multiplied) * damping * damping
        pair = (-of_value, -of_raw) if ctx.inverse else (grad, of_raw)
        return of_value, torch.stack(pair, dim=-1), None, None


class AdditiveTransformer(Transformer):
    """``x = z + t``: volume is preserved (Dinh, Krueger & Bengio 2015)."""

    parameter_count = 1

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return z + parameters.squeeze(-1), torch.zeros_like(z)

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return x - parameters.squeeze(-1), torch.zeros_like(x)
