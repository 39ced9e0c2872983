"""Numerical inverses of increasing functions of one number."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ValueAndSlope = Callable[[Tensor], tuple[Tensor, Tensor]]
# A bracket that has been doubled so often is beyond every number that a table holds.
DOUBLINGS = 60
# Enough for halving such a bracket down to the last digits; a few steps of Newton are what it usually takes.
STEPS = 200


def solve_increasing(function: ValueAndSlope, target: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The ``root`` with ``function(root) = target``, elementwise, to the last digits.

    Newton's method within a shrinking bracket, then one more of its steps, which also carries the gradient
    of the root by the implicit function theorem. A target that is not a number gives none.

    Args:
        function: increasing; returns its value and its slope.
        low: where the function is at most ``target``.
        high: where it is at least ``target``.
    """
    root = low
    # The meta device has shapes, and no values to search among.
    if not target.is_meta:
        with torch.no_grad():
            root = _approached(function, target, low, high)
    value, slope = function(root)
    return root - (value - target) / slope.detach()


def solve_increasing_onto(function: ValueAndSlope, target: Tensor, guess: Tensor) -> Tensor:
    """:func:`solve_increasing` for a function onto R, where only a guess at the root is known."""
    low = high = guess.detach()
    if not target.is_meta:
        with torch.no_grad():
            low, high = _bracket(function, target, guess)
    return solve_increasing(function, target, low, high)


def _bracket(function: ValueAndSlope, target: Tensor, guess: Tensor) -> tuple[Tensor, Tensor]:
    """Two places around the guess between which the function passes the target."""
    farthest = torch.finfo(target.dtype).max / 4
    width = 1 + guess.abs()
    low, high = guess - width, guess + width
    for _ in range(DOUBLINGS):
        above, below = function(low)[0] > target, function(high)[0] < target
        if not (above | below).any():
            break
        # The end that the target lies beyond becomes the other end.
        width = 2 * width
        low, high = (
            torch.where(above, low - width, torch.where(below, high, low)).clamp_min(-farthest),
            torch.where(below, high + width, torch.where(above, low, high)).clamp_max(farthest),
        )
    return low, high


def _approached(function: ValueAndSlope, target: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The root but for a distance of which a step of Newton leaves nothing."""
    tolerance = torch.finfo(target.dtype).eps ** 0.75
    root = (low + high) / 2
    moved = high - low
    settled = torch.zeros_like(root, dtype=torch.bool)
    for _ in range(STEPS):
        value, slope = function(root)
        below = value < target
        low, high = torch.where(below, root, low), torch.where(below, high, root)
        step = (target - value) / slope
        newton = root + step
        # Newton's step counts where it stays in the bracket and is at most half of the move before, so that
        # the moves shrink like bisection's whatever the function does.
        trusted = (newton >= low) & (newton <= high) & (step.abs() <= moved / 2)
        following = torch.where(trusted, newton, (low + high) / 2)
        moved = (following - root).abs()
        root = torch.where(settled, root, following)
        settled = settled | ~(moved > tolerance * (1 + root.abs()))
        if settled.all():
            break
    return root
