"""The sum-of-squares polynomial transformer."""

from __future__ import annotations

import torch
from torch import Tensor

from flowcli.transforms.one_way import Curve, OneWayTransformer
from flowcli.transforms.quadrature import gauss_legendre

# No slope is smaller than this part of 1: where all polynomials are zero at once, a logarithm has to be taken.
SMALLEST_SLOPE = 1e-3


class SumOfSquaresTransformer(OneWayTransformer):
    """``f(v) = t + integral from 0 to v of mean_k p_k(u / bound)^2 du``, a straight line beyond the bounds.

    Jaini, Selby & Yu 2019. Two squares are enough for every polynomial that is positive on R.
    Parameters are the coefficients of each ``p_k``, from the constant on, and ``t``.
    """

    def __init__(self, *, polynomials: int, degree: int, bound: float, direction: str) -> None:
        super().__init__(direction)
        self.shape = (polynomials, degree + 1)
        self.bound = bound
        self.parameter_count = polynomials * (degree + 1) + 1

    def _coefficients(self, raw: Tensor) -> Tensor:
        """``(..., k, degree + 1)``; all parameters zero gives constants whose squares have mean 1."""
        # Constants that differ, for polynomials that would otherwise stay equal.
        constants = torch.linspace(1.5, 0.5, self.shape[0], dtype=raw.dtype, device=raw.device)
        constants = constants / constants.square().mean().sqrt()
        first = torch.zeros(self.shape[1], dtype=raw.dtype, device=raw.device)
        first[0] = 1
        return torch.unflatten(raw, -1, self.shape) + constants.unsqueeze(-1) * first

    def curve(self, parameters: Tensor) -> Curve:
        degrees = torch.arange(self.shape[1], device=parameters.device)
        # Squares have degree 2 m: m + 1 nodes are exact. One more place, the end, gives the slope.
        nodes, weights = gauss_legendre(self.shape[1], parameters)
        powers = torch.cat([nodes, torch.ones_like(nodes[:1])]) ** degrees.unsqueeze(-1)
        coefficients, shift = self._coefficients(parameters[..., :-1]), parameters[..., -1]

        def evaluate(value: Tensor) -> tuple[Tensor, Tensor]:
            inside = value.clamp(-self.bound, self.bound)
            heights = (coefficients * (inside / self.bound)[..., None, None] ** degrees) @ powers
            slopes = (SMALLEST_SLOPE + heights.square().mean(-2)) / (1 + SMALLEST_SLOPE)
            slope = slopes[..., -1]
            area = inside * (slopes[..., :-1] @ weights)
            return shift + area + (value - inside) * slope, torch.log(slope)

        return evaluate
