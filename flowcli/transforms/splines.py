"""Monotone splines on ``[-bound, bound]``, the identity outside, with slope 1 where the two meet."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from flowcli.transforms.transformer import Transformer, soft_clip

# The largest ratio between two bins' widths, two bins' heights, or a slope and 1. It bounds how far a
# float32 round trip can lose digits (plain softmax lets bins shrink to nothing).
LARGEST_RATIO = 1000.0


def _knots(raw: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Bin sizes ``(..., K)`` that sum to ``2 * bound``, and knots ``(..., K + 1)`` from ``-bound`` to ``bound``."""
    sizes = torch.softmax(soft_clip(raw, math.log(LARGEST_RATIO) / 2), dim=-1) * (2 * bound)
    knots = pad(torch.cumsum(sizes, dim=-1)[..., :-1] - bound, (1, 0), value=-bound)
    knots = pad(knots, (0, 1), value=bound)
    return knots[..., 1:] - knots[..., :-1], knots


def _slopes(raw: Tensor) -> Tensor:
    """Slopes at the knots ``(..., K + 1)``, 1 at both ends."""
    inner = torch.exp(soft_clip(raw, math.log(LARGEST_RATIO)))
    return pad(inner, (1, 1), value=1.0)


class SplineTransformer(Transformer):
    """What the splines share: knots from parameters, the search for the bin, and the identity outside."""

    extra_per_bin = 0

    def __init__(self, bins: int, bound: float) -> None:
        self.bins = bins
        self.bound = bound
        self.parameter_count = 3 * bins - 1 + self.extra_per_bin * bins

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return self._evaluate(z, parameters, inverse=False)

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return self._evaluate(x, parameters, inverse=True)

    def _evaluate(self, value: Tensor, parameters: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        bins = self.bins
        raw_widths, raw_heights, raw_slopes, extra = torch.split(
            parameters, [bins, bins, bins - 1, self.extra_per_bin * bins], dim=-1
        )
        widths, knots_x = _knots(raw_widths, self.bound)
        heights, knots_y = _knots(raw_heights, self.bound)
        slopes = _slopes(raw_slopes)
        inside = value.abs() < self.bound
        clamped = value.clamp(-self.bound, self.bound)
        searched = knots_y if inverse else knots_x
        index = (clamped.unsqueeze(-1) >= searched[..., 1:-1]).sum(-1, keepdim=True)
        per_bin = [knots_x[..., :-1], widths, knots_y[..., :-1], heights, slopes[..., :-1], slopes[..., 1:]]
        if self.extra_per_bin:
            per_bin.append(extra)
        x_left, width, y_left, height, *rest = (
            quantity.expand(*index.shape[:-1], -1).gather(-1, index).squeeze(-1) for quantity in per_bin
        )
        if inverse:
            fraction, log_slope = self._inverse_in_bin((clamped - y_left), width, height, *rest)
            result, log_slope = x_left + fraction * width, -log_slope
        else:
            rise, log_slope = self._forward_in_bin((clamped - x_left) / width, width, height, *rest)
            result = y_left + rise
        return torch.where(inside, result, value), torch.where(inside, log_slope, torch.zeros_like(log_slope))

    def _forward_in_bin(self, fraction: Tensor, *bin_parameters: Tensor) -> tuple[Tensor, Tensor]:
        """At ``fraction`` of the bin's width, the rise above the bin's floor and the log-slope."""
        raise NotImplementedError

    def _inverse_in_bin(self, rise: Tensor, *bin_parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Where in the bin (a fraction of its width) the curve has risen by ``rise``, and the log-slope there."""
        raise NotImplementedError


class RationalQuadraticSpline(SplineTransformer):
    """Quotient of two quadratics in each bin (Durkan, Bekasov, Murray & Papamakarios 2019, equations 4 to 8)."""

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


class LinearRationalSpline(SplineTransformer):
    """Two linear-rational pieces in each bin, joined at a learned place (Dolatabadi, Erfani & Leckie 2020).

    Heights are measured from the bin's floor: with the paper's absolute ones, float32 loses the
    difference of two nearly equal numbers.
    """

    extra_per_bin = 1

    def _pieces(self, bin_parameters: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        width, height, left, right, raw = bin_parameters
        split = 0.025 + 0.95 * torch.sigmoid(raw)
        weight_right = torch.sqrt(left / right)
        weight_middle = (split * left + (1 - split) * weight_right * right) * width / height
        rise_middle = split * weight_right * height / (1 - split + split * weight_right)
        return split, weight_right, weight_middle, rise_middle

    def _log_slope(self, fraction: Tensor, pieces: tuple[Tensor, ...], width: Tensor, height: Tensor) -> Tensor:
        split, weight_right, weight_middle, rise_middle = pieces
        lower = fraction <= split
        denominator = torch.where(
            lower,
            split - fraction + weight_middle * fraction,
            weight_middle * (1 - fraction) + weight_right * (fraction - split),
        )
        numerator = torch.where(
            lower,
            split * weight_middle * rise_middle,
            (1 - split) * weight_middle * weight_right * (height - rise_middle),
        )
        return torch.log(numerator / width) - 2 * torch.log(denominator)

    def _forward_in_bin(self, fraction: Tensor, *bin_parameters: Tensor) -> tuple[Tensor, Tensor]:
        width, height = bin_parameters[:2]
        pieces = self._pieces(bin_parameters)
        split, weight_right, weight_middle, rise_middle = pieces
        # Each piece sees only its own part of the bin, so that neither divides by zero in the other's.
        lower = torch.minimum(fraction, split)
        upper = torch.maximum(fraction, split)
        rise = weight_middle * rise_middle * lower / (split - lower + weight_middle * lower) + (
            weight_right
            * (height - rise_middle)
            * (upper - split)
            / (weight_middle * (1 - upper) + weight_right * (upper - split))
        )
        return rise, self._log_slope(fraction, pieces, width, height)

    def _inverse_in_bin(self, rise: Tensor, *bin_parameters: Tensor) -> tuple[Tensor, Tensor]:
        width, height = bin_parameters[:2]
        pieces = self._pieces(bin_parameters)
        split, weight_right, weight_middle, rise_middle = pieces
        lower = torch.minimum(rise, rise_middle)
        above = weight_middle * (torch.maximum(rise, rise_middle) - rise_middle)
        below = weight_right * (height - torch.maximum(rise, rise_middle))
        fraction = split * lower / (lower + weight_middle * (rise_middle - lower)) + (
            (1 - split) * above / (above + below)
        )
        fraction = fraction.clamp(0, 1)
        return fraction, self._log_slope(fraction, pieces, width, height)


class LinearSpline(Transformer):
    """Straight pieces (Müller, McWilliams, Rousselle, Gross & Novák 2019); the outer ones go on beyond the bounds."""

    def __init__(self, bins: int, bound: float) -> None:
        self.bins = bins
        self.bound = bound
        self.parameter_count = 2 * bins

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return self._evaluate(z, parameters, inverse=False)

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return self._evaluate(x, parameters, inverse=True)

    def _evaluate(self, value: Tensor, parameters: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        raw_widths, raw_heights = torch.split(parameters, self.bins, dim=-1)
        widths, knots_x = _knots(raw_widths, self.bound)
        heights, knots_y = _knots(raw_heights, self.bound)
        if inverse:
            widths, knots_x, heights, knots_y = heights, knots_y, widths, knots_x
        index = (value.unsqueeze(-1) >= knots_x[..., 1:-1]).sum(-1, keepdim=True)
        left, width, floor, height = (
            quantity.expand(*index.shape[:-1], -1).gather(-1, index).squeeze(-1)
            for quantity in (knots_x[..., :-1], widths, knots_y[..., :-1], heights)
        )
        slope = height / width
        return floor + (value - left) * slope, torch.log(slope)


SPLINES: dict[str, Callable[[int, float], Transformer]] = {
    "rational_quadratic": RationalQuadraticSpline,
    "linear_rational": LinearRationalSpline,
    "linear": LinearSpline,
}


def spline(kind: str, bins: int, bound: float) -> Transformer:
    """The spline of a kind."""
    return SPLINES[kind](bins, bound)
