"""Pyro's own transforms in flowcli's shape: no cache, parameters and buffers kept, context as an argument."""

from __future__ import annotations

import warnings
from copy import copy
from typing import Any

from pyro.distributions.conditional import ConditionalTransformModule
from pyro.distributions.torch_transform import TransformModule
from torch import Tensor

from flowcli.transforms.bijection import Bijection, ValueAndLogDet


class PyroBijection(Bijection):
    """Wraps a Pyro ``TransformModule`` or ``ConditionalTransformModule`` of ``event_dim`` 1.

    Pyro caches the last pair ``(x, y)`` by the tensor's identity and so returns stale scores after the
    weights change; calling the underscored methods goes around that cache.
    """

    def __init__(self, transform: TransformModule | ConditionalTransformModule) -> None:
        super().__init__()
        self.transform = transform

    def _bound(self, context: Tensor | None) -> Any:
        if isinstance(self.transform, ConditionalTransformModule):
            return self.transform.condition(context)  # type: ignore[no-untyped-call]
        # Some keep what they worked out last for log_abs_det_jacobian: a copy, with the same weights, keeps it from
        # other threads that score.
        return copy(self.transform)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        transform = self._bound(context)
        x = transform._call(z)
        return x, transform.log_abs_det_jacobian(z, x)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        transform = self._bound(context)
        z = transform._inverse(x)
        return z, -transform.log_abs_det_jacobian(z, x)


def householder(features: int, context_features: int, *, reflections: int) -> Bijection:
    """Pyro's Householder reflections; ``context_features`` is not used (the entry takes no context).

    With one feature there is nothing to mix: each reflection only turns the sign.
    """
    from pyro.distributions.transforms import Householder

    with warnings.catch_warnings():
        # Pyro warns of more reflections than columns; they are redundant, not wrong.
        warnings.simplefilter("ignore", UserWarning)
        return PyroBijection(Householder(features, count_transforms=reflections))  # type: ignore[no-untyped-call]
