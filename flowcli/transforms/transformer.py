"""Transformers: monotone maps of one number, given their parameters.

A transformer is the ``tau`` of ``x_k = tau(z_k; theta_k)``. Where ``theta`` comes from is another matter:
free parameters (:mod:`.elementwise`), a network of the other half (:mod:`.coupling`) or of the columns
before (:mod:`.autoregressive`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Transformer(ABC):
    """An increasing map of R onto R, with parameters ``(..., parameter_count)``.

    All parameters zero is the identity, so that a layer whose network ends in zeros starts there.
    """

    parameter_count: int
    # Whether both directions are a fixed sequence of operations.
    compiles = True

    @abstractmethod
    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``x`` and ``log dx/dz``, both of the shape of ``z``; ``parameters`` is ``(*z.shape, p)``."""

    @abstractmethod
    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``z`` and ``log dz/dx``, both of the shape of ``x``."""


def soft_clip(value: Tensor, bound: float) -> Tensor:
    """Squash smoothly into ``(-bound, bound)``, with slope 1 at zero."""
    return value / (1 + value.abs() / bound)
