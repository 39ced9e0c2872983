"""A flow: ``x = T(z)`` with ``z`` from the base."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowcli.flows.base import Base
from flowcli.transforms.bijection import Chain, only


class Flow(nn.Module):
    """The density of ``x = T(z)``: ``log p(x) = log p_base(T^-1(x)) + log|det dT^-1(x)/dx|``.

    Shapes: ``x`` and ``z`` are ``(..., d)``, ``context`` ``(..., c)`` or ``None``, log-densities ``(...)``
    in nats. ``present`` ``(..., d)``, where it is given, says which columns of ``x`` a row has; the density is
    over these, and the others stand as 0. A latent that a row has not is NaN.
    """

    def __init__(self, base: Base, chain: Chain) -> None:
        super().__init__()
        self.base = base
        self.chain = chain

    def log_prob(self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        """Log-density at ``x``."""
        z, log_det = self.chain.inverse_and_log_det(x, context, present)
        return self.base.log_prob(z, context, self._moved(present)) + log_det

    def sample(self, uniforms: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        """``x`` from independent uniform numbers in [0, 1), ``(..., base.noise_features)``."""
        return self.decode(self.base.sample(uniforms, context, self._moved(present)), context, present)

    def encode(self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        """The latent ``z`` of ``x``."""
        z = self.chain.inverse_and_log_det(x, context, present)[0]
        there = self._moved(present)
        return z if there is None else torch.where(there, z, torch.nan)

    def decode(self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        """The ``x`` of a latent ``z``."""
        there = self._moved(present)
        return self.chain.forward_and_log_det(only(z, there), context, there)[0]

    def initialize(self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> None:
        """Let what depends on the data take its start from training rows."""
        self.chain.initialize(x, context, present)
        if self.base.starts_from_rows:
            z = self.chain.inverse_and_log_det(x, context, present)[0]
            self.base.initialize(z, context, self._moved(present))

    def _moved(self, present: Tensor | None) -> Tensor | None:
        """Where the columns that are present in ``x`` stand in ``z``."""
        return None if present is None else self.chain.moved(present, inverse=True)
