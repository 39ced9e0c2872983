"""What the monotone splines share: knots from parameters, the search for the bin, and the identity outside."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flowcli.transforms.transformer import Transformer, soft_clip

# The largest ratio between two bins' widths, two bins' heights, or a slope and 1. It bounds how far a
# float32 round trip can lose digits (plain softmax lets bins shrink to nothing).
LARGEST_RATIO = 1000.0
# Raw sizes, of which two make a ratio, and raw slopes are clipped to these.
SIZES_CLIPPED, SLOPES_CLIPPED = math.log(LARGEST_RATIO) / 2, math.log(LARGEST_RATIO)


def bins_first(parameters: Tensor, value: Tensor) -> Tensor:
    """Parameters ``(..., p)`` as ``(p, ...)``, to go with a value.

    A row has few bins and a batch has many rows: with the bins in front, each operation runs over the rows.
    """
    first = parameters.movedim(-1, 0).contiguous()
    return first.reshape(len(first), *[1] * (value.dim() + 1 - first.dim()), *first.shape[1:])


def gathered(quantities: Tensor, index: Tensor) -> Tensor:
    """Of quantities ``(m, K, ...)``, those at an index ``(...)``: ``(m, ...)``."""
    wanted = index.expand(len(quantities), 1, *index.shape)
    return quantities.expand(-1, -1, *index.shape).gather(1, wanted).squeeze(1)


class Bin:
    """The bins that values lie in: ``x_left``, ``y_left``, ``width``, ``height``, and how far ``into`` it a value is.

    ``raw`` ``(2 K, ...)``: parameters of the widths and the heights, which sum to ``2 * bound`` each. What is wanted of
    one bin is worked out after it is found; of all bins only the sums of their sizes, in a unit of their own.
    """

    def __init__(self, raw: Tensor, bound: float, value: Tensor, inverse: bool) -> None:
        self.bound, self.raw_sizes = bound, raw
        # Clipped, they are too small to overflow.
        self.sizes = torch.exp(soft_clip(raw, SIZES_CLIPPED)).reshape(2, len(raw) // 2, *raw.shape[1:])
        sums = torch.cumsum(self.sizes, dim=1)
        self.unit = unit = 2 * bound / sums[:, -1]
        searched = int(inverse)
        # Of the inner knots, those that the value is not below.
        self.passed = (value + bound) / unit[searched] >= sums[searched, :-1]
        self.index = index = self.passed.sum(0)
        sums = torch.cat([torch.zeros_like(sums[:, :1]), sums], dim=1)
        # From here on in places of knots, which both directions and both neighbours of a knot round alike.
        left, right = (gathered(sums, index + k) * unit - bound for k in (0, 1))
        self.x_left, self.y_left = left.unbind()
        self.width, self.height = (right - left).unbind()
        self.into = value - left[searched]

    def gradients_of_sizes(self, by_left: Tensor, by_right: Tensor) -> Tensor:
        """Of ``raw`` ``(2 K, ...)``, from those of both places, ``(2, ...)``, of the left and the right knot."""
        left = torch.stack((self.x_left, self.y_left)) + self.bound
        right = left + torch.stack((self.width, self.height))
        # A knot lies at the sum of the sizes before it, in units of the sum of all.
        by_all = (by_left * left + by_right * right).mul_(self.unit / (-2 * self.bound)).unsqueeze(1)
        by_left, by_right = ((each * self.unit).unsqueeze(1) for each in (by_left, by_right))
        passed = self.passed.to(by_left.dtype)
        grads = by_all.repeat(1, self.sizes.shape[1], *[1] * self.index.dim())
        grads[:, :-1].addcmul_(by_left, passed)
        grads[:, 1:].addcmul_(by_right, passed)
        grads[:, :1] += by_right
        clipped = self.raw_sizes.abs().mul_(1 / SIZES_CLIPPED).add_(1).square_()
        return grads.mul_(self.sizes).reshape(self.raw_sizes.shape).div_(clipped)


class SlopedBin(Bin):
    """A bin with what is known of the curve in it.

    ``slopes`` ``(K - 1, ...)`` are parameters of the slopes at the inner knots; of ``extra``, ``(K, ...)`` or empty,
    each bin has its own.
    """

    def __init__(
        self, sizes: Tensor, slopes: Tensor, extra: Tensor, bound: float, value: Tensor, inverse: bool
    ) -> None:
        super().__init__(sizes, bound, value, inverse)
        end = torch.zeros_like(sizes[:1])
        slopes = torch.cat([end, slopes, end]).unsqueeze(0)
        self.raw_slopes = torch.stack([gathered(slopes, self.index + k).squeeze(0) for k in (0, 1)])
        self.slopes = torch.exp(soft_clip(self.raw_slopes, SLOPES_CLIPPED))
        # What the splines want to know of it.
        self.curve = (self.width, self.height, *self.slopes.unbind())
        if len(extra):
            self.curve += (gathered(extra.unsqueeze(0), self.index).squeeze(0),)

    def gradients_of_slopes(self, by_slopes: Tensor) -> Tensor:
        """Of ``slopes`` ``(K - 1, ...)``, from those of the slopes at both ends of the bin, ``(2, ...)``."""
        index = self.index.unsqueeze(0)
        grads = by_slopes.new_zeros(self.sizes.shape[1] + 1, *self.index.shape)
        clipped = self.raw_slopes.abs().mul_(1 / SLOPES_CLIPPED).add_(1).square_()
        for k, by_slope in enumerate((by_slopes * self.slopes).div_(clipped)):
            grads.scatter_(0, index + k, by_slope.unsqueeze(0))
        return grads[1:-1]


class SplineTransformer(Transformer):
    """A monotone curve on ``[-bound, bound]``, the identity outside, with slope 1 where the two meet."""

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
        result, log_slope, _ = self._located(value, self._bin(value, parameters, inverse), inverse)
        return result, log_slope

    def _bin(self, value: Tensor, parameters: Tensor, inverse: bool) -> SlopedBin:
        """Where the value is; outside the bounds, where the nearest one is."""
        sizes, slopes, extra = torch.split(
            bins_first(parameters, value), [2 * self.bins, self.bins - 1, self.extra_per_bin * self.bins]
        )
        return SlopedBin(sizes, slopes, extra, self.bound, value.clamp(-self.bound, self.bound), inverse)

    def _located(self, value: Tensor, found: SlopedBin, inverse: bool) -> tuple[Tensor, Tensor, Tensor]:
        """The image, the log-slope, and the fraction of the bin's width."""
        if inverse:
            fraction, log_slope = self._inverse_in_bin(found.into, *found.curve)
            result, log_slope = found.x_left + fraction * found.width, -log_slope
        else:
            fraction = found.into / found.width
            rise, log_slope = self._forward_in_bin(fraction, *found.curve)
            result = found.y_left + rise
        inside = value.abs() < self.bound
        result, log_slope = torch.where(inside, result, value), torch.where(inside, log_slope, 0.0)
        return result, log_slope, fraction

    def _forward_in_bin(self, fraction: Tensor, *bin_parameters: Tensor) -> tuple[Tensor, Tensor]:
        """At ``fraction`` of the bin's width, the rise above the bin's floor and the log-slope."""
        raise NotImplementedError

    def _inverse_in_bin(self, rise: Tensor, *bin_parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Where in the bin (a fraction of its width) the curve has risen by ``rise``, and the log-slope there."""
        raise NotImplementedError
