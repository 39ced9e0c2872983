"""The shape of every transform: value and log-determinant in one pass, in either direction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from pyro.distributions.torch_transform import TransformModule
from torch import Tensor
from torch.distributions import constraints

ValueAndLogDet = tuple[Tensor, Tensor]


class Bijection(TransformModule):
    """An invertible map between two copies of R^d, from the base's side ``z`` to the data's side ``x``.

    Subclasses write :meth:`forward_and_log_det` and :meth:`inverse_and_log_det`; from these two follow
    the methods of a Pyro transform, so that an unconditional bijection works as it is in
    ``pyro.distributions.TransformedDistribution``. There is no cache: a score never outlives the weights
    that it was computed with.

    Shapes: ``z`` and ``x`` are ``(..., d)``, ``context`` is ``(..., c)`` or ``None``, log-determinants
    are ``(...)``, in nats.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True
    # Whether zero parameters are a sensible place to be pulled to by weight decay (the identity, say).
    decays_to_zero = True

    def __init__(self) -> None:
        super().__init__(cache_size=0)  # type: ignore[no-untyped-call]

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        """Return ``x`` and ``log|det dx/dz|`` at ``z``."""
        raise NotImplementedError

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        """Return ``z`` and ``log|det dz/dx|`` at ``x``."""
        raise NotImplementedError

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set parameters from training rows ``x`` (n, d), for transforms whose start depends on the data.

        ``x`` is what this transform sees on the data's side. The default leaves the parameters alone.
        """

    def damage(self) -> str:
        """What is wrong with the buffers, as loaded from a file; nothing by default."""
        return ""

    def _call(self, z: Tensor) -> Tensor:
        return self.forward_and_log_det(z)[0]

    def _inverse(self, x: Tensor) -> Tensor:
        return self.inverse_and_log_det(x)[0]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Pyro's name for the log-determinant at an input ``x`` whose image is ``y``."""
        return self.forward_and_log_det(x)[1]


class Chain(Bijection):
    """Bijections one after the other: ``x = T_K(... T_1(z))``, the first nearest to the base."""

    def __init__(self, parts: Iterable[Bijection]) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList(parts)

    def bijections(self) -> list[Bijection]:
        """The parts, from base to data."""
        return [cast(Bijection, part) for part in self.parts]

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        total = z.new_zeros(z.shape[:-1])
        for part in self.bijections():
            z, log_det = part.forward_and_log_det(z, context)
            total = total + log_det
        return z, total

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        total = x.new_zeros(x.shape[:-1])
        for part in reversed(self.bijections()):
            x, log_det = part.inverse_and_log_det(x, context)
            total = total + log_det
        return x, total

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        for part in reversed(self.bijections()):
            part.initialize(x, context)
            x = part.inverse_and_log_det(x, context)[0]


def sum_features(log_det: Tensor) -> Tensor:
    """Sum elementwise log-derivatives ``(..., d)`` to a log-determinant ``(...)``."""
    return log_det.sum(-1)
