"""Monotone splines on ``[-bound, bound]``, the identity outside, with slope 1 where the two meet."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from flowcli.transforms.transformer import Transformer, soft_clip

# The largest ratio between two bins' widths, two bins' heights, or a slope and 1. It bounds how far a
# float32 round trip can lose digits (plain softmax lets bins shrink to nothing).
LARGEST_RATIO = 1000.0


def _bins_first(parameters: Tensor, value: Tensor) -> Tensor:
    """Parameters ``(..., p)`` as ``(p, ...)``, to go with a value.

    A row has few bins and a batch has many rows: with the bins in front, each operation runs over the rows.
    """
    first = parameters.movedim(-1, 0).contiguous()
    return first.reshape(len(first), *[1] * (value.dim() + 1 - first.dim()), *first.shape[1:])


def _gathered(quantities: Tensor, index: Tensor) -> Tensor:
    """Of quantities ``(m, K, ...)``, those at an index ``(...)``: ``(m, ...)``."""
    wanted = index.expand(len(quantities), 1, *index.shape)
    return quantities.expand(-1, -1, *index.shape).gather(1, wanted).squeeze(1)


class _Bin:
    """The bins that values lie in: ``x_left``, ``y_left``, ``width``, ``height``, and how far ``into`` it a value is.

    ``raw`` ``(2 K, ...)``: parameters of the widths and the heights, which sum to ``2 * bound`` each. What is wanted of
    one bin is worked out after it is found; of all bins only the sums of their sizes, in a unit of their own.
    """

    def __init__(self, raw: Tensor, bound: float, value: Tensor, inverse: bool) -> None:
        # Clipped, they are too small to overflow.
        sizes = torch.exp(soft_clip(raw, math.log(LARGEST_RATIO) / 2))
        sums = torch.cumsum(torch.unflatten(sizes, 0, (2, len(raw) // 2)), dim=1)
        unit = 2 * bound / sums[:, -1]
        searched = int(inverse)
        self.index = ((value + bound) / unit[searched] >= sums[searched, :-1]).sum(0)
        sums = torch.cat([torch.zeros_like(sums[:, :1]), sums], dim=1)
        # From here on in places of knots, which both directions and both neighbours of a knot round alike.
        left, right = (_gathered(sums, self.index + k) * unit - bound for k in (0, 1))
        self.x_left, self.y_left = left.unbind()
        self.width, self.height = (right - left).unbind()
        self.into = value - left[searched]


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
        raw_sizes, raw_slopes, extra = torch.split(
            _bins_first(parameters, value), [2 * bins, bins - 1, self.extra_per_bin * bins]
        )
        inside = value.abs() < self.bound
        found = _Bin(raw_sizes, self.bound, value.clamp(-self.bound, self.bound), inverse)
        end = torch.zeros_like(raw_sizes[:1])
        raw_slopes = torch.cat([end, raw_slopes, end]).unsqueeze(0)
        both = torch.stack([_gathered(raw_slopes, found.index + k).squeeze(0) for k in (0, 1)])
        of_bin = [found.width, found.height, *torch.exp(soft_clip(both, math.log(LARGEST_RATIO))).unbind()]
        if self.extra_per_bin:
            of_bin.append(_gathered(extra.unsqueeze(0), found.index).squeeze(0))
        if inverse:
            fraction, log_slope = self._inverse_in_bin(found.into, *of_bin)
            result, log_slope = found.x_left + fraction * found.width, -log_slope
        else:
            rise, log_slope = self._forward_in_bin(found.into / found.width, *of_bin)
            result = found.y_left + rise
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
        found = _Bin(_bins_first(parameters, value), self.bound, value, inverse)
        log_slope = torch.log(found.height / found.width)
        if inverse:
            return found.x_left + found.into * found.width / found.height, -log_slope
        return found.y_left + found.into * found.height / found.width, log_slope


SPLINES: dict[str, Callable[[int, float], Transformer]] = {
    "rational_quadratic": RationalQuadraticSpline,
    "linear_rational": LinearRationalSpline,
    "linear": LinearSpline,
}


def spline(kind: str, bins: int, bound: float) -> Transformer:
    """The spline of a kind."""
    return SPLINES[kind](bins, bound)
