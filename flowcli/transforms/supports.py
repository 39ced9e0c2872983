"""From where a column's numbers can lie to the real line: fixed maps, with their derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from flowcli.transforms.support import DOMAINS, PLACEHOLDER, Support

# Samples beyond it would overflow, and mean nothing.
LARGEST_LOGARITHM = 80.0


def _real(u: Tensor) -> tuple[Tensor, Tensor]:
    return u, torch.zeros_like(u)


def _log(u: Tensor) -> tuple[Tensor, Tensor]:
    logarithm = torch.log(u)
    return logarithm, -logarithm


def _softplus(u: Tensor) -> tuple[Tensor, Tensor]:
    """``log(exp(u) - 1)``: the logarithm near zero, ``u`` itself far from it."""
    rest = torch.log(-torch.expm1(-u))
    return u + rest, -rest


def _logit(u: Tensor) -> tuple[Tensor, Tensor]:
    log_u, log_rest = torch.log(u), torch.log1p(-u)
    return log_u - log_rest, -log_u - log_rest


def _arcsinh(u: Tensor) -> tuple[Tensor, Tensor]:
    return torch.asinh(u), -torch.log(torch.hypot(u, torch.ones_like(u)))


def _exponential(y: Tensor) -> Tensor:
    return torch.exp(y.clamp_max(LARGEST_LOGARITHM))


def _hyperbolic_sine(y: Tensor) -> Tensor:
    return torch.sinh(y.clamp(-LARGEST_LOGARITHM, LARGEST_LOGARITHM))


# Name: the map with its log-derivative, and the way back.
MAPS: dict[str, tuple[Callable[[Tensor], tuple[Tensor, Tensor]], Callable[[Tensor], Tensor]]] = {
    "none": (_real, lambda y: y),
    "log": (_log, _exponential),
    "softplus": (_softplus, nn.functional.softplus),
    "logit": (_logit, torch.sigmoid),
    "arcsinh": (_arcsinh, _hyperbolic_sine),
}


class Supports(nn.Module):
    """The maps of all columns, between ``u`` and ``y``, both ``(..., d)``; nothing in them is trained.

    Their constants are kept in float64, whatever the rows are in.
    """

    center: Tensor
    spread: Tensor
    step: Tensor
    log_unit: Tensor
    above_zero: Tensor
    below_one: Tensor

    def __init__(self, supports: Sequence[Support]) -> None:
        super().__init__()
        self.maps = [name for name in MAPS if name != "none" and any(support.map == name for support in supports)]
        for name in self.maps:
            columns = torch.tensor([support.map == name for support in supports])
            self.register_buffer(f"by_{name}", columns, persistent=False)
        for name, values in (
            ("center", [support.center for support in supports]),
            ("spread", [support.spread for support in supports]),
            ("step", [support.step for support in supports]),
            ("log_unit", [math.log(abs(support.unit)) + math.log(support.spread) for support in supports]),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64), persistent=False)
        for place, name in enumerate(("above_zero", "below_one")):
            bounded = [DOMAINS[support.map][place] for support in supports]
            self.register_buffer(name, torch.tensor(bounded, dtype=torch.bool), persistent=False)
        self.mapped = bool(self.maps) or any(s.center or s.spread != 1 for s in supports)
        self.bounded = any(DOMAINS[name][0] for name in self.maps)
        self.gridded = any(support.step for support in supports)

    def to_real(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """``y`` and, of each column, the log-derivative of ``y`` by the data's own number, both ``(..., d)``."""
        log_unit = self.log_unit.to(u.dtype)
        if not self.mapped:
            return u, -log_unit.expand(u.shape)
        u = self._within(u)
        y, log_slope = u, torch.zeros_like(u)
        for name in self.maps:
            # All columns go through, which is faster than picking some; the others by a number in the domain.
            columns = self.get_buffer(f"by_{name}")
            mapped, its_log_slope = MAPS[name][0](torch.where(columns, u, PLACEHOLDER))
            y, log_slope = torch.where(columns, mapped, y), torch.where(columns, its_log_slope, log_slope)
        return (y - self.center.to(u.dtype)) / self.spread.to(u.dtype), log_slope - log_unit

    def from_real(self, y: Tensor) -> Tensor:
        """``u``."""
        if not self.mapped:
            return y
        y = y * self.spread.to(y.dtype) + self.center.to(y.dtype)
        u = y
        for name in self.maps:
            u = torch.where(self.get_buffer(f"by_{name}"), MAPS[name][1](y), u)
        return u

    def spread_over_steps(self, u: Tensor, uniforms: Tensor) -> Tensor:
        """``u`` of columns on a grid moved by up to half a step either way, by uniform numbers in [0, 1)."""
        if not self.gridded:
            return u
        return self._within(u + self.step.to(u.dtype) * (uniforms - 0.5))

    def inside(self, u: Tensor) -> Tensor:
        """Which numbers are within the maps' domains, ``(..., d)``."""
        return ((u > 0) | ~self.above_zero) & ((u < 1) | ~self.below_one)

    def _within(self, u: Tensor) -> Tensor:
        """Rounding, to float32 above all, must not push what lies next to a bound onto it or beyond."""
        if not self.bounded:
            return u
        u = torch.where(self.above_zero, u.clamp_min(torch.finfo(u.dtype).tiny), u)
        return torch.where(self.below_one, u.clamp_max(1 - torch.finfo(u.dtype).eps), u)
