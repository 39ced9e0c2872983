"""Monotone splines on ``[-bound, bound]``, the identity outside, with slope 1 where the two meet."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from flowcli.transforms.rational_quadratic import RationalQuadraticSpline
from flowcli.transforms.spline_bins import Bin, SplineTransformer, bins_first
from flowcli.transforms.transformer import Transformer


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
        found = Bin(bins_first(parameters, value), self.bound, value, inverse)
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
