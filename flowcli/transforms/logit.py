"""From the unit cube to the real numbers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import softplus

from flowcli.transforms.bijection import Bijection, ValueAndLogDet, sum_features


class Logit(Bijection):
    """``x = log(z / (1 - z))`` for ``z`` in ``(0, 1)^d``: the quantile function of the logistic distribution.

    The density of ``x`` is right however far out, also where ``z`` is rounded to 0 or 1.
    """

    domain = constraints.independent(constraints.unit_interval, 1)  # type: ignore[no-untyped-call]

    compiles = True

    def __init__(self, features: int, context_features: int) -> None:
        super().__init__()

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        log_z, log_rest = torch.log(z), torch.log1p(-z)
        return log_z - log_rest, -sum_features(log_z + log_rest)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        return torch.sigmoid(x), -sum_features(softplus(x) + softplus(-x))
