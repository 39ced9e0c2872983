"""Each column by its own transformer, with free parameters or parameters from the context."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowcli.transforms import splines
from flowcli.transforms.affine import AffineTransformer
from flowcli.transforms.bijection import Bijection, Skipping, ValueAndLogDet, only, sum_features
from flowcli.transforms.deep_sigmoid import DeepSigmoidTransformer
from flowcli.transforms.networks import Conditioner
from flowcli.transforms.sinh_arcsinh import SinhArcsinhTransformer
from flowcli.transforms.sum_of_squares import SumOfSquaresTransformer
from flowcli.transforms.transformer import Transformer
from flowcli.transforms.unconstrained_monotonic import UnconstrainedMonotonicTransformer


class Elementwise(Skipping):
    """``x_k = tau(z_k; theta_k)``, or ``tau(z_k; theta_k(context))`` when there is a context."""

    def __init__(
        self, features: int, context_features: int, transformer: Transformer, hidden: list[int], activation: str
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.compiles = transformer.compiles
        self.shape = (features, transformer.parameter_count)
        self.free: nn.Parameter | None = None
        self.conditioner: Conditioner | None = None
        if context_features:
            self.conditioner = Conditioner(context_features, self.shape[0] * self.shape[1], hidden, activation)
        else:
            self.free = nn.Parameter(torch.zeros(self.shape))

    def _parameters_for(self, context: Tensor | None) -> Tensor:
        """``(d, p)`` without context, ``(..., d, p)`` with it."""
        if self.free is not None:
            return self.free
        if self.conditioner is None or context is None:
            raise ValueError("this transform was built for a context, and none was given")
        return torch.unflatten(self.conditioner(context), -1, self.shape)

    def forward_and_log_det(
        self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        x, log_slope = self.transformer.forward(z, self._parameters_for(context))
        return only(x, present), sum_features(log_slope, present)

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        z, log_slope = self.transformer.inverse(x, self._parameters_for(context))
        return only(z, present), sum_features(log_slope, present)


def affine(
    features: int, context_features: int, *, hidden: list[int], activation: str, log_scale_bound: float
) -> Bijection:
    """Location and scale of each column."""
    return Elementwise(features, context_features, AffineTransformer(log_scale_bound), hidden, activation)


def deep_sigmoid(
    features: int, context_features: int, *, units: int, direction: str, hidden: list[int], activation: str
) -> Bijection:
    """A sum of sigmoids of each column."""
    transformer = DeepSigmoidTransformer(units=units, direction=direction)
    return Elementwise(features, context_features, transformer, hidden, activation)


def sinh_arcsinh(features: int, context_features: int, *, hidden: list[int], activation: str) -> Bijection:
    """Location, scale, skewness and tail weight of each column."""
    return Elementwise(features, context_features, SinhArcsinhTransformer(), hidden, activation)


def spline(
    features: int, context_features: int, *, kind: str, bins: int, bound: float, hidden: list[int], activation: str
) -> Bijection:
    """A monotone spline of each column."""
    return Elementwise(features, context_features, splines.spline(kind, bins, bound), hidden, activation)


def sum_of_squares(
    features: int,
    context_features: int,
    *,
    polynomials: int,
    degree: int,
    bound: float,
    direction: str,
    hidden: list[int],
    activation: str,
) -> Bijection:
    """An increasing polynomial of each column."""
    transformer = SumOfSquaresTransformer(polynomials=polynomials, degree=degree, bound=bound, direction=direction)
    return Elementwise(features, context_features, transformer, hidden, activation)


def unconstrained_monotonic(
    features: int,
    context_features: int,
    *,
    units: int,
    bound: float,
    direction: str,
    hidden: list[int],
    activation: str,
) -> Bijection:
    """The integral of a positive network of each column."""
    transformer = UnconstrainedMonotonicTransformer(units=units, bound=bound, direction=direction)
    return Elementwise(features, context_features, transformer, hidden, activation)
