"""Maps with a formula one way and a root to find the other way; ``direction`` says which way is which.

``density``: the formula goes from the data to the base, ``z = f(x)``, fast to score and train;
``sampling``: from the base to the data, ``x = f(z)``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from flowcli.transforms.bijection import Bijection, ValueAndLogDet
from flowcli.transforms.root_finding import solve_increasing_onto
from flowcli.transforms.transformer import Transformer

Curve = Callable[[Tensor], tuple[Tensor, Tensor]]


class OneWay(Bijection):
    """A bijection of all columns whose formula goes one way."""

    def __init__(self, direction: str) -> None:
        super().__init__()
        self.density = direction == "density"

    def formula(self, value: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        """The direction that is a formula, with its log-determinant."""
        raise NotImplementedError

    def solve(self, value: Tensor, context: Tensor | None = None) -> Tensor:
        """The value whose :meth:`formula` is the given one."""
        raise NotImplementedError

    def _solved(self, value: Tensor, context: Tensor | None) -> ValueAndLogDet:
        root = self.solve(value, context)
        return root, -self.formula(root, context)[1]

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        return self._solved(z, context) if self.density else self.formula(z, context)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        return self.formula(x, context) if self.density else self._solved(x, context)


class OneWayTransformer(Transformer):
    """A transformer whose formula goes one way."""

    compiles = False

    def __init__(self, direction: str) -> None:
        self.density = direction == "density"

    @abstractmethod
    def curve(self, parameters: Tensor) -> Curve:
        """The direction that is a formula: a function of a value, that gives the result and its log-slope.

        Increasing and onto R. What follows from the parameters alone is worked out here once, however often
        a search for a root asks for values.
        """

    def _solved(self, value: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        curve = self.curve(parameters)

        def value_and_slope(position: Tensor) -> tuple[Tensor, Tensor]:
            result, log_slope = curve(position)
            return result, torch.exp(log_slope)

        root = solve_increasing_onto(value_and_slope, value, guess=value)
        return root, -curve(root)[1]

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return self._solved(z, parameters) if self.density else self.curve(parameters)(z)

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return self.curve(parameters)(x) if self.density else self._solved(x, parameters)
