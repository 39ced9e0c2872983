"""Whether a faster way to compute a loss gives the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# How far a loss and its gradient may be from the plain ones, as a part of them.
TOLERANCE = 1e-3


def difference(plain: Callable[[], Tensor], other: Callable[[], Tensor], parameters: Sequence[Tensor]) -> float:
    """How far another loss and its gradient by the parameters are from the plain ones, relative to these.

    Zero where the plain ones are not finite: a bad first batch tells nothing. Infinite where the losses depend on
    different parameters.
    """
    found = []
    for loss in (plain, other):
        value = loss()
        of_each = torch.autograd.grad(value, parameters, allow_unused=True)
        # A graph's are overwritten when it is next used.
        found.append((value.detach().clone(), [g.reshape(-1).clone() for g in of_each if g is not None]))
    (value, gradients), (other_value, others) = found
    if len(gradients) != len(others):
        return math.inf
    gradient, other_gradient = (torch.cat(parts or [value.reshape(1)]) for parts in (gradients, others))
    if not (torch.isfinite(value) and torch.isfinite(gradient).all()):
        return 0.0
    return max(
        float((value - other_value).abs() / (1 + value.abs())),
        float((gradient - other_gradient).norm() / (1e-6 + gradient.norm())),
    )
