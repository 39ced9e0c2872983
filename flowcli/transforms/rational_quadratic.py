"""The rational-quadratic spline, and its gradients as one node of autograd's graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flowcli.transforms.node import is_mapped, is_transformed
from flowcli.transforms.spline_bins import SlopedBin, SplineTransformer


class RationalQuadraticSpline(SplineTransformer):
    """Quotient of two quadratics in each bin (Durkan, Bekasov, Murray & Papamakarios 2019, equations 4 to 8)."""

    def _evaluate(self, value: Tensor, parameters: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled() and parameters.shape[:-1] == value.shape:
            if not is_transformed():
                return _Spline.apply(value, parameters, self, inverse)  # type: ignore[no-any-return, no-untyped-call]
            if is_mapped():
                return _MappedSpline.apply(value, parameters, self, inverse)  # type: ignore[no-any-return, no-untyped-call]
        return super()._evaluate(value, parameters, inverse)

    def _log_slope(self, fraction: Tensor, chord: Tensor, left: Tensor, right: Tensor) -> Tensor:
        rest = 1 - fraction
        between = fraction * rest
        denominator = chord + (left + right - 2 * chord) * between
        numerator = right * fraction * fraction + 2 * chord * between + left * rest * rest
        return 2 * torch.log(chord / denominator) + torch.log(numerator)

    def _forward_in_bin(self, fraction: Tensor, *bin_parameters: Tensor) -> tuple[Tensor, Tensor]:
        width, height, left, right = bin_parameters
        chord = height / width
        between = fraction * (1 - fraction)
        rise = height * (chord * fraction * fraction + left * between) / (chord + (left + right - 2 * chord) * between)
        return rise, self._log_slope(fraction, chord, left, right)

    def _inverse_in_bin(self, rise: Tensor, *bin_parameters: Tensor) -> tuple[Tensor, Tensor]:
        width, height, left, right = bin_parameters
        chord = height / width
        bend = rise * (left + right - 2 * chord)
        a = height * (chord - left) + bend
        b = height * left - bend
        c = -chord * rise
        # Rounding can push the discriminant of a valid bin just below zero.
        root = torch.sqrt((b * b - 4 * a * c).clamp_min(torch.finfo(rise.dtype).tiny))
        fraction = (2 * c / (-b - root)).clamp(0, 1)
        return fraction, self._log_slope(fraction, chord, left, right)


class _Spline(torch.autograd.Function):
    """The spline as one node, for parameters that each value has of its own.

    Its gradients take a quarter of the operations that those of the plain ones take, one by one.
    """

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, parameters: Tensor, spline: RationalQuadraticSpline, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        found = spline._bin(value, parameters, inverse)
        result, log_slope, fraction = spline._located(value, found, inverse)
        ctx.save_for_backward(value, parameters)
        ctx.spline, ctx.inverse, ctx.found, ctx.fraction = spline, inverse, found, fraction
        return result, log_slope

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_log_slope: Tensor) -> tuple[Tensor | None, ...]:
        value, parameters = ctx.saved_tensors
        if torch.is_grad_enabled():
            # The gradient will have a gradient: from the inputs anew, for autograd to see.
            pair = SplineTransformer._evaluate(ctx.spline, value, parameters, ctx.inverse)
            grads = torch.autograd.grad(pair, (value, parameters), (grad, grad_log_slope), create_graph=True)
            return *grads, None, None
        inside = value.abs() < ctx.spline.bound
        of_value, of_log_slope = (torch.where(inside, each, 0.0) for each in (grad, grad_log_slope))
        by_value, by_parameters = _gradients(ctx.found, ctx.fraction, of_value, of_log_slope, ctx.inverse)
        return torch.where(inside, by_value, grad), by_parameters, None, None


class _MappedSpline(torch.autograd.Function):
    """The node for :func:`torch.vmap`: one for all that is mapped over."""

    @staticmethod
    def forward(value: Tensor, parameters: Tensor, spline: RationalQuadraticSpline, inverse: bool) -> Any:
        raise NotImplementedError("only where it is mapped")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        raise NotImplementedError("only where it is mapped")

    @staticmethod
    def vmap(
        info: Any, dims: Any, value: Tensor, parameters: Tensor, spline: RationalQuadraticSpline, inverse: bool
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        value, parameters = (
            tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip((value, parameters), dims, strict=False)
        )
        return spline._evaluate(value, parameters, inverse), (0, 0)


def _gradients(
    found: SlopedBin, fraction: Tensor, grad: Tensor, grad_log_slope: Tensor, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Of the value and of its parameters, where a loss has these gradients of the spline's two results.

    Names are those of the paper's equations 4 and 5: the curve rises by ``height * above / below``, and its slope is
    ``chord^2 * rising / below^2``, with the fraction of the bin's width, the chord, and the slopes at both ends.
    """
    width, height, left, right = found.curve
    chord, rest = height / width, 1 - fraction
    between, right_part, left_part = fraction * rest, fraction * fraction, rest * rest
    bend = left + right - 2 * chord
    per_below = 1 / torch.addcmul(chord, bend, between)
    share = torch.addcmul(chord * right_part, left, between) * per_below
    rising = torch.addcmul(right * right_part, left, left_part).add_(chord * between, alpha=2)
    slope = (chord * per_below).square_() * rising
    per_rising = 1 / rising
    turn = rest - fraction
    log_slope_by_fraction = (right * fraction - left * rest).addcmul_(chord, turn).mul_(per_rising)
    log_slope_by_fraction.sub_(bend * turn * per_below).mul_(2)
    # Of the curve and its log-slope, at the place that they have: gradients of the loss.
    if inverse:
        by_value = (grad - grad_log_slope * log_slope_by_fraction / width) / slope
        by_curve, by_log_slope = -by_value, -grad_log_slope
    else:
        by_curve, by_log_slope = grad, grad_log_slope
        by_value = grad * slope + grad_log_slope * log_slope_by_fraction / width
    by_fraction = by_curve * width * slope + by_log_slope * log_slope_by_fraction
    by_above = by_curve * height * per_below
    by_rising, by_below = by_log_slope * per_rising, -(by_above * share).add_(by_log_slope * per_below, alpha=2)
    by_bend = by_below * between
    by_slopes = torch.stack((by_bend, by_bend))
    by_slopes[0].addcmul_(by_above, between).addcmul_(by_rising, left_part)
    by_slopes[1].addcmul_(by_rising, right_part)
    by_chord = by_below - 2 * by_bend + by_above * right_part + 2 * (by_log_slope / chord + by_rising * between)
    by_width = -(by_chord * chord + by_fraction * fraction) / width
    by_height = by_curve * share + by_chord / width
    by_right = torch.stack((by_width, by_height))
    by_left = torch.stack((-by_fraction / width, by_curve)) - by_right
    by_parameters = (found.gradients_of_sizes(by_left, by_right), found.gradients_of_slopes(by_slopes))
    return by_value, torch.cat(by_parameters).movedim(0, -1)
