"""The unconstrained monotonic transformer: the integral of a positive network."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flowcli.transforms.one_way import Curve, OneWayTransformer
from flowcli.transforms.quadrature import gauss_legendre
from flowcli.transforms.transformer import soft_clip

# The slope stays within this factor of 1.
LARGEST_SLOPE = 1000.0
# How steep a unit is to start with, over a stretch of length ``bound``, and the factor by which it gets
# steeper or flatter. Steeper ones would need more nodes.
STEEPNESS = 5.0
LARGEST_CHANGE = 2.0
# Enough for 9 digits of the integral, however large the parameters are.
NODES = 40


class UnconstrainedMonotonicTransformer(OneWayTransformer):
    """``f(v) = t + integral from 0 to v of exp(g(u)) du``, a straight line beyond the bounds.

    Wehenkel & Louppe 2019. The network ``g(u) = c + sum_h o_h tanh(a_h u / bound - b_h)`` is made of
    parameters altogether: ``log a_h``, ``b_h``, ``o_h``, ``c`` and ``t``. The integral is taken at fixed nodes,
    and gradients go through all of them: each value costs ``NODES * units`` in time and, while training, in
    memory.
    """

    def __init__(self, *, units: int, bound: float, direction: str) -> None:
        super().__init__(direction)
        self.units = units
        self.bound = bound
        self.parameter_count = 3 * units + 2

    def curve(self, parameters: Tensor) -> Curve:
        raw_steepness, raw_offsets, raw_heights, shift = torch.split(
            parameters, [self.units, self.units, self.units + 1, 1], dim=-1
        )
        steepness = STEEPNESS * torch.exp(soft_clip(raw_steepness, math.log(LARGEST_CHANGE)))
        # Centres spread over the bounds, so that no two units are alike.
        centres = torch.linspace(-0.75, 0.75, self.units, dtype=parameters.dtype, device=parameters.device)
        offsets = (raw_offsets + centres * steepness).unsqueeze(-2)
        steepness = steepness.unsqueeze(-2)
        # Bounded all together: a bound on their sum would bend sharply, and the nodes need a smooth network.
        heights = raw_heights / (1 + raw_heights.abs().sum(-1, keepdim=True) / math.log(LARGEST_SLOPE))
        heights, constant = heights[..., :-1, None], heights[..., -1:]
        # One more place, the end, gives the slope.
        nodes, weights = gauss_legendre(NODES, parameters)
        nodes = torch.cat([nodes, torch.ones_like(nodes[:1])])

        def evaluate(value: Tensor) -> tuple[Tensor, Tensor]:
            inside = value.clamp(-self.bound, self.bound)
            places = (inside / self.bound)[..., None, None] * nodes.unsqueeze(-1)
            log_slopes = (torch.tanh(places * steepness - offsets) @ heights).squeeze(-1) + constant
            slopes = torch.exp(log_slopes)
            area = inside * (slopes[..., :-1] @ weights)
            return shift.squeeze(-1) + area + (value - inside) * slopes[..., -1], log_slopes[..., -1]

        return evaluate
