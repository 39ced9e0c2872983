"""Numerical inverses of increasing functions of one number."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def solve_increasing(
    function: Callable[[Tensor], tuple[Tensor, Tensor]], target: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """The ``root`` with ``function(root) = target``, elementwise, to the last digits.

    Bisection, then one step of Newton, which also carries the gradient of the root by the implicit
    function theorem.

    Args:
        function: increasing; returns its value and its slope.
        low: where the function is at most ``target``.
        high: where it is at least ``target``.
    """
    with torch.no_grad():
        digits = 60 if target.dtype == torch.float64 else 32
        for _ in range(digits):
            middle = (low + high) / 2
            below = function(middle)[0] < target
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        root = (low + high) / 2
    value, slope = function(root)
    return root - (value - target) / slope.detach()
