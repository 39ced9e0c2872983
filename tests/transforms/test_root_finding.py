"""Numerical inverses: the bracket that is looked for, and what has no root."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from flowcli.transforms.root_finding import solve_increasing, solve_increasing_onto


def bent(slope: float, height: float, centre: float):
    """A straight line with a step, and how often it was asked."""
    calls = []

    def function(value: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(value)
        step = torch.tanh(value - centre)
        return slope * value + height * step, slope + height * (1 - step * step)

    return function, calls


@given(
    slope=st.floats(1e-3, 1e3),
    height=st.floats(0, 1e3),
    centre=st.floats(-100, 100),
    targets=st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=5),
    guess=st.floats(-1e6, 1e6),
)
def test_any_guess_leads_to_the_root(slope, height, centre, targets, guess):
    function, calls = bent(slope, height, centre)
    target = torch.tensor(targets, dtype=torch.float64)
    root = solve_increasing_onto(function, target, torch.full_like(target, guess))
    value, slopes = function(root)
    # As near as the next number but a few, in the root or in the value.
    assert ((value - target).abs() <= 1e-14 * (target.abs() + height + slopes * (1 + root.abs()))).all()
    assert len(calls) < 250


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("target", [1e30, -1e30, 3e5, 0.0])
def test_far_targets_have_finite_roots(target, dtype):
    function, _ = bent(1e-3, 5.0, 0.0)
    wanted = torch.tensor([target], dtype=dtype)
    root = solve_increasing_onto(function, wanted, wanted)
    torch.testing.assert_close(function(root)[0], wanted, rtol=1e-5, atol=1e-5)


def test_one_far_target_leaves_the_others_as_they_are():
    function, _ = bent(0.5, 3.0, 1.0)
    near = torch.linspace(-3, 3, 7, dtype=torch.float64)
    alone = solve_increasing_onto(function, near, near)
    both = torch.cat([near, torch.tensor([1e9, math.nan], dtype=torch.float64)])
    assert torch.equal(solve_increasing_onto(function, both, both)[:7], alone)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_ends_the_search(value):
    function, calls = bent(1.0, 1.0, 0.0)
    target = torch.tensor([value, 1.0], dtype=torch.float64)
    root = solve_increasing_onto(function, target, target)
    assert not root[0].isfinite()
    assert function(root)[0][1].item() == pytest.approx(1, abs=1e-14)
    assert len(calls) < 300


def test_a_value_that_is_never_reached_ends_the_search():
    def never(value: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(value)
        return torch.tanh(value), 1 - torch.tanh(value) ** 2

    calls: list[Tensor] = []
    solve_increasing_onto(never, torch.tensor([2.0]), torch.tensor([0.0]))
    assert len(calls) < 400


def test_newton_is_quick_and_a_flat_place_is_left():
    calls = []

    def flat_then_steep(value: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(value)
        return value**9 + 1e-9 * value, 9 * value**8 + 1e-9

    target = torch.tensor([1e-3, 0.5, 100.0], dtype=torch.float64)
    root = solve_increasing(flat_then_steep, target, torch.full_like(target, -50), torch.full_like(target, 50))
    torch.testing.assert_close(flat_then_steep(root)[0], target, atol=1e-14, rtol=1e-13)
    assert len(calls) < 80


def test_the_root_carries_the_gradients_of_target_and_parameters():
    target = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    scale = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)

    def function(value: Tensor) -> tuple[Tensor, Tensor]:
        return scale * value**3 + value, 3 * scale * value**2 + 1

    root = solve_increasing_onto(function, target, torch.zeros(1, dtype=torch.float64))
    by_target, by_scale = torch.autograd.grad(root.sum(), [target, scale])
    torch.testing.assert_close(root, torch.ones_like(root))
    assert by_target.item() == pytest.approx(1 / 7)
    assert by_scale.item() == pytest.approx(-1 / 7)
