"""The first flows: planar, radial, Sylvester. Each is the identity plus something small in rank or reach."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from flowcli.errors import ConfigError
from flowcli.transforms.bijection import ValueAndLogDet
from flowcli.transforms.one_way import OneWay
from flowcli.transforms.root_finding import solve_increasing
from flowcli.transforms.transformer import soft_clip


class Planar(OneWay):
    """``f(v) = v + u tanh(w'v + b)`` with ``w'u > -1`` (Rezende & Mohamed 2015, equations 10 to 12 and A.1)."""

    def __init__(self, features: int, context_features: int, *, direction: str) -> None:
        super().__init__(direction)
        self.normal = nn.Parameter(torch.randn(features) / math.sqrt(features))
        self.push = nn.Parameter(torch.zeros(features))
        self.offset = nn.Parameter(torch.zeros(()))

    def _push_and_product(self) -> tuple[Tensor, Tensor]:
        """``u`` with ``w'u`` moved above -1, and ``w'u``; zero stays zero."""
        product = (self.normal * self.push).sum()
        allowed = softplus(product + math.log(math.e - 1)) - 1
        squared = (self.normal * self.normal).sum().clamp_min(1e-12)
        return self.push + (allowed - product) * self.normal / squared, allowed

    def formula(self, value: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        push, product = self._push_and_product()
        height = torch.tanh((value * self.normal).sum(-1) + self.offset)
        return value + height.unsqueeze(-1) * push, torch.log1p(product * (1 - height * height))

    def solve(self, value: Tensor, context: Tensor | None = None) -> Tensor:
        push, product = self._push_and_product()

        def along_normal(position: Tensor) -> tuple[Tensor, Tensor]:
            height = torch.tanh(position + self.offset)
            return position + product * height, 1 + product * (1 - height * height)

        target = (value * self.normal).sum(-1)
        reach = product.abs() + 1e-6
        position = solve_increasing(along_normal, target, target - reach, target + reach)
        return value - torch.tanh(position + self.offset).unsqueeze(-1) * push


class Radial(OneWay):
    """``f(v) = v + beta (v - c) / (alpha + |v - c|)`` with ``beta > -alpha`` (Rezende & Mohamed 2015, equation 14).

    Distances from the centre ``c`` solve a quadratic, so that both directions are formulas.
    """

    def __init__(self, features: int, context_features: int, *, direction: str) -> None:
        super().__init__(direction)
        self.centre = nn.Parameter(torch.randn(features))
        self.log_reach = nn.Parameter(torch.zeros(()))
        self.strength = nn.Parameter(torch.zeros(()))

    def _alpha_beta(self) -> tuple[Tensor, Tensor]:
        alpha = torch.exp(soft_clip(self.log_reach, 3.0))
        return alpha, alpha * torch.expm1(soft_clip(self.strength, 3.0))

    def formula(self, value: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        alpha, beta = self._alpha_beta()
        away = value - self.centre
        # A squared length of zero has no gradient; the centre itself is a point that no row hits.
        radius = torch.sqrt((away * away).sum(-1) + torch.finfo(value.dtype).tiny)
        stretch = beta / (alpha + radius)
        log_det = (value.shape[-1] - 1) * torch.log1p(stretch)
        log_det = log_det + torch.log1p(alpha * beta / (alpha + radius) ** 2)
        return value + stretch.unsqueeze(-1) * away, log_det

    def solve(self, value: Tensor, context: Tensor | None = None) -> Tensor:
        alpha, beta = self._alpha_beta()
        away = value - self.centre
        distance = torch.sqrt((away * away).sum(-1) + torch.finfo(value.dtype).tiny)
        b = alpha + beta - distance
        root = torch.sqrt(b * b + 4 * alpha * distance)
        # Of the two forms of the quadratic's solution, the one that does not subtract near-equal numbers.
        radius = torch.where(b > 0, 2 * alpha * distance / (b.abs() + root), (b.abs() + root) / 2)
        return self.centre + away * ((alpha + radius) / (alpha + radius + beta)).unsqueeze(-1)


class Sylvester(OneWay):
    """``f(v) = v + Q R tanh(S Q'v + b)`` with orthonormal ``Q`` (d, m), upper triangular ``R`` and ``S``.

    van den Berg, Hasenclever, Tomczak & Welling 2018, theorem 1. The determinant is that of
    ``I + diag(tanh') S R``, which is triangular; diagonals within (-1, 1) keep it positive.
    """

    def __init__(self, features: int, context_features: int, *, direction: str, units: int) -> None:
        super().__init__(direction)
        if units > features:
            raise ConfigError([f"sylvester.units: {units} units need as many columns, and there are {features}"])
        self.units = units
        self.generator = nn.Parameter(torch.randn(features, features) / math.sqrt(features))
        self.outer = nn.Parameter(torch.zeros(units, units))
        self.inner = nn.Parameter(torch.randn(units, units) / math.sqrt(units))
        self.offset = nn.Parameter(torch.zeros(units))

    def _matrices(self) -> tuple[Tensor, Tensor, Tensor]:
        """``Q`` (d, m), ``R`` and ``S`` (m, m)."""
        upper = torch.triu(self.generator, diagonal=1)
        basis = torch.matrix_exp(upper - upper.mT)[:, : self.units]
        outer, inner = (
            torch.triu(matrix, diagonal=1) + torch.diag(torch.tanh(torch.diagonal(matrix)))
            for matrix in (self.outer, self.inner)
        )
        return basis, outer, inner

    def formula(self, value: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        basis, outer, inner = self._matrices()
        height = torch.tanh(value @ basis @ inner.mT + self.offset)
        slopes = (1 - height * height) * torch.diagonal(outer) * torch.diagonal(inner)
        return value + height @ outer.mT @ basis.mT, torch.log1p(slopes).sum(-1)

    def solve(self, value: Tensor, context: Tensor | None = None) -> Tensor:
        basis, outer, inner = self._matrices()
        target = value @ basis
        # Upper triangular: the last unit depends on itself alone, each one before it on those after it too.
        positions: list[Tensor] = []
        heights: list[Tensor] = []
        for unit in reversed(range(self.units)):
            offset = self.offset[unit] + sum(
                (inner[unit, unit + 1 + j] * position for j, position in enumerate(positions)), value.new_zeros(())
            )
            rest = target[..., unit] - sum(
                (outer[unit, unit + 1 + j] * height for j, height in enumerate(heights)), value.new_zeros(())
            )
            r, s = outer[unit, unit], inner[unit, unit]

            def along_unit(
                position: Tensor, r: Tensor = r, s: Tensor = s, offset: Tensor = offset
            ) -> tuple[Tensor, Tensor]:
                height = torch.tanh(s * position + offset)
                return position + r * height, 1 + r * s * (1 - height * height)

            reach = r.abs() + 1e-6
            position = solve_increasing(along_unit, rest, rest - reach, rest + reach)
            positions.insert(0, position)
            heights.insert(0, torch.tanh(s * position + offset))
        return value - torch.stack(heights, dim=-1) @ outer.mT @ basis.mT
