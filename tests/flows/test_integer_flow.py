"""The integer discrete flow: whole numbers in, whole numbers out, and distributions it can learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from transforms.cases import perturb

from flowcli.flows.integer_flow import IntegerFlow

SETTINGS = {"layers": 4, "components": 5, "hidden": [32], "activation": "relu"}


def trained(x: Tensor, context: Tensor | None = None, steps: int = 300) -> IntegerFlow:
    scales = [float(column.std(correction=0)) for column in x.unbind(-1)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = IntegerFlow(scales, 0 if context is None else context.shape[-1], **SETTINGS)
    optimizer = torch.optim.Adam(flow.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        (-flow.log_prob(x, context).mean()).backward()
        optimizer.step()
    return flow.double()


def test_one_logistic_is_scipys() -> None:
    flow = IntegerFlow([2.0], 0, **{**SETTINGS, "components": 1}).double()
    log_scale = float(flow.base.free.detach()[0, 0, 2])
    scale = 2.0 * np.exp(log_scale / (1 + abs(log_scale) / 7))
    x = np.arange(-13.0, 14.0)
    logistic = stats.logistic(0.0, scale)
    expected = np.log(logistic.cdf(x + 0.5) - logistic.cdf(x - 0.5))
    np.testing.assert_allclose(flow.log_prob(torch.from_numpy(x)[:, None], None).detach(), expected, rtol=1e-6)


def test_far_numbers_keep_their_probability() -> None:
    flow = IntegerFlow([1.0], 0, **SETTINGS)
    log_prob = flow.log_prob(torch.tensor([[1e4], [-1e5]]), None)
    assert log_prob.isfinite().all()
    assert (log_prob < -1000).all()


def test_layers_take_whole_numbers_to_whole_numbers_and_back() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = IntegerFlow([2.0, 9.0, 1.0], 2, **SETTINGS)
        perturb(flow, 2.0)
    flow.double()
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(200, 3, generator=generator) * 20).round().double()
    context = torch.randn(200, 2, generator=generator).double()
    with torch.no_grad():
        moved = x
        for layer in reversed(range(4)):
            moved = flow._move(moved, layer, context, -1)
        assert torch.equal(moved, moved.round())
        assert (moved != x).any(0).all()
        for layer in range(4):
            moved = flow._move(moved, layer, context, 1)
    assert torch.equal(moved, x)


def test_samples_have_the_probabilities() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = IntegerFlow([2.0, 1.0], 0, **SETTINGS)
        perturb(flow, 0.5)
    flow.double()
    with torch.no_grad():
        x = flow.sample(torch.rand(20_000, 4, generator=torch.Generator().manual_seed(0)).double(), None)
        values, counts = torch.unique(x, dim=0, return_counts=True)
        expected = torch.exp(flow.log_prob(values, None)) * 20_000
    often = expected > 5
    observed = np.append(counts[often].numpy(), counts[~often].sum().item())
    predicted = np.append(expected[often].numpy(), 20_000 - float(expected[often].sum()))
    assert stats.chisquare(observed, predicted).pvalue > 1e-3


def test_it_learns_a_poisson_that_depends_on_the_context() -> None:
    rng = np.random.default_rng(0)
    context = rng.integers(2, size=4000)
    rate = np.where(context == 1, 9.0, 1.5)
    x = rng.poisson(rate)
    given = torch.from_numpy(context[:, None]).float()
    flow = trained(torch.from_numpy(x[:, None]).float(), given)
    with torch.no_grad():
        found = flow.log_prob(torch.from_numpy(x[:, None]).double(), given.double()).numpy()
    truth = stats.poisson(rate).logpmf(x)
    assert float(truth.mean() - found.mean()) == pytest.approx(0, abs=0.03)


def test_it_learns_that_one_number_follows_another() -> None:
    rng = np.random.default_rng(0)
    first = rng.poisson(6.0, size=4000)
    second = 2 * first + rng.integers(-1, 2, size=4000)
    x = torch.from_numpy(np.stack([first - 6, second - 12], -1)).float()
    flow = trained(x, steps=600)
    with torch.no_grad():
        found = float(flow.log_prob(x.double(), None).mean())
    truth = float(stats.poisson(6.0).logpmf(first).mean()) - np.log(3)
    # A shift follows the first number; apart, the second's spread of five would cost 1.4 nats.
    assert truth - found < 0.35
