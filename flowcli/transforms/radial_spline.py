"""The distance from the origin, by root mean square, through a monotone spline; directions stay."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from flowcli.transforms import splines
from flowcli.transforms.bijection import Bijection, ValueAndLogDet
from flowcli.transforms.elementwise import Elementwise


class RadialSpline(Bijection):
    """``x = z f(r) / r``, ``r = |z| / sqrt(d)``, with ``f`` an increasing spline on [0, bound], the identity beyond.

    Lyu & Simoncelli 2009 (Nonlinear extraction of independent components of natural images using
    radial Gaussianization), section 3, with a spline in place of their histogram. After it an affine
    map gives any density whose contours are similar ellipsoids. In d columns the log-determinant is
    ``log f'(r) + (d - 1) log(f(r) / r)``. Shapes as in :class:`Bijection`.
    """

    compiles = True

    def __init__(
        self,
        features: int,
        context_features: int,
        *,
        kind: str,
        bins: int,
        bound: float,
        hidden: list[int],
        activation: str,
    ) -> None:
        super().__init__()
        self.bound = bound
        self.of_radius = Elementwise(1, context_features, splines.spline(kind, bins, bound), hidden, activation)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        return self._move(z, context, self.of_radius.forward_and_log_det)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        return self._move(x, context, self.of_radius.inverse_and_log_det)

    def _move(
        self, value: Tensor, context: Tensor | None, curve: Callable[[Tensor, Tensor | None], ValueAndLogDet]
    ) -> ValueAndLogDet:
        # A squared length of zero has no gradient.
        radius = torch.sqrt((value * value).mean(-1) + torch.finfo(value.dtype).tiny)
        # The spline lives on [-bound, bound], the radius on half of it.
        moved, log_slope = curve((2 * radius - self.bound).unsqueeze(-1), context)
        moved = (moved.squeeze(-1) + self.bound) / 2
        # Near the origin the quotient is the slope, and rounding would take its digits.
        near = radius < self.bound * torch.finfo(value.dtype).eps ** 0.5
        log_stretch = torch.where(near, log_slope, torch.log(torch.where(near, radius, moved) / radius))
        log_det = log_slope + (value.shape[-1] - 1) * log_stretch
        return value * torch.exp(log_stretch).unsqueeze(-1), log_det
