"""Weights of fixed densities, against a general optimiser and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from torch import Tensor

from flowcli.training.stacking import MOST_LOST, PRIOR_ROWS, SMALLEST_WEIGHT, stacked_weights

IMPOSSIBLE = -torch.inf


def random_log_probs(seed: int, n: int, m: int) -> Tensor:
    """Of rows by densities that suit some rows better than others."""
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.normal(-2, 1, (n, 1)) + random.normal(0, random.uniform(0.3, 2, m), (n, m)))


def mean(log_probs: Tensor, weights: np.ndarray | Tensor) -> float:
    return float(logsumexp(log_probs.numpy(), b=np.asarray(weights), axis=-1).mean())


def best_by_scipy(log_probs: Tensor) -> float:
    """The largest mean log-likelihood that there is."""
    logs = log_probs.numpy()

    def loss(raw: np.ndarray) -> tuple[float, np.ndarray]:
        weights = softmax(raw)
        total = logsumexp(logs, b=weights, axis=-1)
        share = (weights * np.exp(logs - total[:, None])).mean(0)
        return -total.mean(), weights - share

    found = minimize(loss, np.zeros(logs.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-9})
    return -float(found.fun)


@pytest.mark.parametrize("m", [1, 2, 3, 6, 12])
@pytest.mark.parametrize("seed", range(3))
def test_they_are_the_likeliest(seed: int, m: int) -> None:
    log_probs = random_log_probs(seed, 300, m)
    weights = stacked_weights(log_probs)
    assert weights.shape == (m,)
    assert bool((weights >= 0).all())
    assert float(weights.sum()) == pytest.approx(1, abs=1e-12)
    best = best_by_scipy(log_probs)
    assert best - 2e-4 < mean(log_probs, weights) < best + 1e-6


def test_densities_that_share_no_row() -> None:
    log_probs = torch.full((100, 2), IMPOSSIBLE)
    log_probs[:30, 0], log_probs[30:, 1] = -1.0, -5.0
    assert stacked_weights(log_probs).tolist() == pytest.approx([0.3, 0.7], abs=1e-12)


def test_rows_that_nothing_finds_possible_say_nothing() -> None:
    log_probs = random_log_probs(0, 200, 3)
    more = torch.cat([log_probs[:100], torch.full((50, 3), IMPOSSIBLE, dtype=log_probs.dtype), log_probs[100:]])
    assert torch.equal(stacked_weights(more), stacked_weights(log_probs))
    assert stacked_weights(more[100:150]).tolist() == pytest.approx([1 / 3] * 3)
    assert stacked_weights(log_probs[:0]).tolist() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("bad", [IMPOSSIBLE, torch.nan])
def test_what_finds_nothing_possible_has_no_weight(bad: float) -> None:
    log_probs = random_log_probs(0, 200, 3)
    with_bad = torch.cat([log_probs[:, :1], torch.full((200, 1), bad, dtype=log_probs.dtype), log_probs[:, 1:]], dim=-1)
    weights = stacked_weights(with_bad)
    assert float(weights[1]) == 0
    torch.testing.assert_close(weights[[0, 2, 3]], stacked_weights(log_probs), atol=1e-4, rtol=0)
    # Some rows only.
    log_probs[:50, 0] = bad
    weights = stacked_weights(log_probs)
    assert bool(torch.isfinite(weights).all())
    assert float(weights.sum()) == pytest.approx(1)


def test_what_is_never_better_is_left_out() -> None:
    log_probs = random_log_probs(1, 400, 3)
    worse = log_probs.max(-1, keepdim=True).values - 5
    weights = stacked_weights(torch.cat([log_probs, worse], dim=-1))
    assert float(weights[3]) == 0
    assert all(weight == 0 or weight >= SMALLEST_WEIGHT for weight in weights.tolist())


def test_the_same_density_many_times_counts_as_often() -> None:
    log_probs = random_log_probs(2, 200, 2)
    weights = stacked_weights(log_probs[:, [0, 0, 0, 1]])
    assert mean(log_probs, [float(weights[:3].sum()), float(weights[3])]) == pytest.approx(
        mean(log_probs, stacked_weights(log_probs)), abs=2e-4
    )


@pytest.mark.parametrize("without_it", [IMPOSSIBLE, -40_000.0])
def test_what_a_row_cannot_do_without_keeps_its_weight(without_it: float) -> None:
    # One row in 4,000 is the second one's.
    log_probs = torch.zeros(4000, 2, dtype=torch.float64)
    log_probs[:, 1] = -3
    log_probs[7] = torch.tensor([without_it, -3.0])
    weights = stacked_weights(log_probs)
    assert 0 < float(weights[1]) < SMALLEST_WEIGHT
    assert mean(log_probs, weights) > best_by_scipy(log_probs.clamp_min(-1e6)) - MOST_LOST


@pytest.mark.parametrize("seed", range(3))
def test_expected_weights_count_as_rows(seed: int) -> None:
    log_probs = random_log_probs(seed, 40, 3)
    expected = np.array([0.5, 0.3, 0.2])

    def loss(logits: np.ndarray) -> float:
        weights = softmax(logits)
        return -40 * mean(log_probs, weights) - PRIOR_ROWS * float(expected @ np.log(weights))

    best = softmax(minimize(loss, np.zeros(3), method="BFGS").x)
    assert stacked_weights(log_probs, torch.from_numpy(expected)).tolist() == pytest.approx(best, abs=1e-3)
    # No row says anything.
    assert stacked_weights(torch.zeros(0, 3), torch.from_numpy(expected)).tolist() == expected.tolist()
