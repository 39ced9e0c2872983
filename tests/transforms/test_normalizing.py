"""Batch normalisation: when its statistics move, and that the map is an exact one whenever it is applied."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from flowcli.transforms.normalizing import BatchNorm

LOCATION, SCALE = torch.tensor([5.0, -2.0, 100.0]).double(), torch.tensor([0.1, 1.0, 30.0]).double()


def rows(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * SCALE + LOCATION


def layer(momentum: float = 0.1) -> BatchNorm:
    """One with a scale and a shift of its own, in training mode."""
    built = BatchNorm(3, 0, momentum=momentum).double()
    with torch.no_grad():
        built.log_scale.copy_(torch.tensor([0.3, -0.5, 0.0]))
        built.shift.copy_(torch.tensor([1.0, 0.0, -2.0]))
    return built


def statistics(built: BatchNorm) -> list[Tensor]:
    return [buffer.clone() for buffer in built.buffers()]


def unmoved(built: BatchNorm, before: list[Tensor]) -> bool:
    return all(torch.equal(one, two) for one, two in zip(before, built.buffers(), strict=True))


@pytest.mark.parametrize("size", [1, 2, 50])
def test_the_statistics_go_to_the_datas(size: int) -> None:
    built = layer(momentum=0.02)
    for step in range(1500):
        built.inverse_and_log_det(rows(size, seed=step))
    # The mean of the last fifty batches or so, and so never quite the data's.
    torch.testing.assert_close((built.mean - LOCATION) / SCALE, torch.zeros(3).double(), atol=0.4, rtol=0)
    torch.testing.assert_close(built.variance.sqrt() / SCALE, torch.ones(3).double(), atol=0.3, rtol=0)


def test_one_step_is_the_mixture_of_what_was_and_the_batch() -> None:
    # A quarter of the weight is the second batch's: the moments of all rows together.
    first, second = rows(300), 3 * rows(100, seed=1)
    built = layer(momentum=0.25)
    built.initialize(first)
    built.inverse_and_log_det(second)
    together = torch.cat([first, second])
    torch.testing.assert_close(built.mean, together.mean(0))
    torch.testing.assert_close(built.variance, together.var(0, correction=0) + 1e-5)


def test_it_starts_with_the_training_rows_statistics() -> None:
    built = BatchNorm(3, 0, momentum=0.1).double()
    built.initialize(rows(500))
    z, log_det = built.eval().inverse_and_log_det(rows(500))
    torch.testing.assert_close(z.mean(0), torch.zeros(3).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(3).double(), atol=1e-3, rtol=0)
    assert log_det[0].item() == pytest.approx(-math.log(3.0), abs=0.2)


def test_evaluation_and_sampling_leave_them_alone() -> None:
    built = layer()
    built.initialize(rows(100))
    before = statistics(built)
    built.forward_and_log_det(rows(100, seed=1))
    assert unmoved(built, before)
    built.eval()
    built.inverse_and_log_det(rows(100, seed=1))
    built.forward_and_log_det(rows(100, seed=1))
    assert unmoved(built, before)
    built.train()
    built.inverse_and_log_det(rows(100, seed=1))
    assert not unmoved(built, before)


def test_a_batch_of_one_row() -> None:
    built = layer()
    z, log_det = built.inverse_and_log_det(rows(1))
    assert z.isfinite().all()
    assert log_det.isfinite().all()
    torch.testing.assert_close(built.forward_and_log_det(z)[0], rows(1))


def test_a_constant_column_is_divided_by_something() -> None:
    built = layer(momentum=1.0)
    z, log_det = built.inverse_and_log_det(torch.ones(10, 3).double())
    assert z.isfinite().all()
    assert log_det.isfinite().all()


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan, 1e300])
def test_a_batch_that_is_not_finite_leaves_them_alone(bad: float) -> None:
    built = layer()
    built.initialize(rows(100))
    before = statistics(built)
    batch = rows(10, seed=1)
    batch[3, 1] = bad
    value, _ = built.inverse_and_log_det(batch)
    assert unmoved(built, before)
    assert value[:3].isfinite().all()


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_log_determinants_in_either_mode(mode: str) -> None:
    # In training mode each call of the density's direction is another map: the Jacobian is that of this call.
    built = layer(momentum=0.5).train(mode == "train")
    x = rows(4).requires_grad_()
    z, log_det = built.inverse_and_log_det(x)
    slopes = torch.stack([torch.autograd.grad(z[:, k].sum(), x, retain_graph=True)[0] for k in range(3)], -1)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(slopes).logabsdet, atol=1e-12, rtol=1e-12)
    # And other rows do not enter a row's value by way of the statistics.
    other = torch.autograd.grad(z[0].sum(), x, retain_graph=True)[0]
    assert not other[1:].any()


def test_the_directions_undo_each_other_after_an_update() -> None:
    built = layer()
    x = rows(20)
    z, log_det = built.inverse_and_log_det(x)
    back, log_det_back = built.forward_and_log_det(z)
    torch.testing.assert_close(back, x, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(log_det, -log_det_back, atol=1e-12, rtol=1e-12)


def test_the_statistics_travel_with_the_weights() -> None:
    built, other = layer(), layer()
    built.initialize(rows(100))
    other.load_state_dict(built.state_dict())
    assert unmoved(built, statistics(other))
    assert {"mean", "variance"} <= set(built.state_dict())


def test_a_variance_that_is_none_is_damage() -> None:
    layer = BatchNorm(2, 0, momentum=0.1)
    assert not layer.damage()
    layer.variance[1] = -1.0
    assert "variance" in layer.damage()
