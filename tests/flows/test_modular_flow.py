"""The discrete flow of labels: a permutation, exact probabilities, samples, and what it can learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor
from torch.nn.functional import one_hot
from transforms.cases import perturb

from flowcli.errors import ConfigError
from flowcli.flows.modular_flow import ModularFlow, ModularShift

SETTINGS = {"layers": 2, "hidden": [32], "activation": "relu", "temperature": 0.1}


def combinations(cardinalities: list[int]) -> Tensor:
    return torch.tensor(list(itertools.product(*map(range, cardinalities))))


def perturbed(cardinalities: list[int], context_features: int = 0) -> ModularFlow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = ModularFlow(cardinalities, context_features, **SETTINGS)
        flow.initialize(combinations(cardinalities))
        perturb(flow)
    return flow.double()


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]])
def test_a_layer_is_a_permutation_that_shifts(order: list[int]) -> None:
    sizes = [2, 3, 4]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layer = ModularShift(sizes, 0, order, [16], "relu", 0.1)
        perturb(layer, 2.0)
    codes = combinations(sizes)
    one_hots = [one_hot(codes[:, k], size).float() for k, size in enumerate(sizes)]
    with torch.no_grad():
        latent = layer.to_base(one_hots, None)
        back = layer.to_data(latent, None)
    found = torch.stack([part.argmax(-1) for part in latent], -1)
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, codes.tolist()))
    assert not torch.equal(found, codes)
    # The first in the order has nothing to depend on.
    assert torch.equal(found[:, order[0]], codes[:, order[0]])
    for part, original in zip(back, one_hots, strict=True):
        assert torch.equal(part, original)


@pytest.mark.parametrize("context_features", [0, 2])
def test_samples_have_the_probabilities(context_features: int) -> None:
    cardinalities = [2, 3, 2]
    flow = perturbed(cardinalities, context_features)
    codes = combinations(cardinalities)
    context = torch.full((1, 2), 0.7).double() if context_features else None
    with torch.no_grad():
        given = None if context is None else context.expand(len(codes), -1)
        expected = torch.exp(flow.log_prob(codes, given))
        uniforms = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0)).double()
        drawn = flow.sample(uniforms, None if context is None else context.expand(20_000, -1))
    counts = [(drawn == code).all(-1).sum().item() for code in codes]
    assert chisquare(counts, expected.numpy() / float(expected.sum()) * 20_000).pvalue > 1e-3


def test_an_unseen_label_has_probability_zero() -> None:
    log_prob = perturbed([2, 3]).log_prob(torch.tensor([[0, -1], [1, 2]]), None)
    assert log_prob.isneginf().tolist() == [True, False]


def test_it_learns_a_shift() -> None:
    # The second label is the first plus noise, modulo 5: the entropy is log 5 + H(noise).
    generator = torch.Generator().manual_seed(0)
    noise = torch.multinomial(torch.tensor([0.8, 0.1, 0.1]), 4000, replacement=True, generator=generator)
    first = torch.randint(5, (4000,), generator=generator)
    codes = torch.stack([first, (first * 2 + noise) % 5], -1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = ModularFlow([5, 5], 0, **SETTINGS)
        flow.initialize(codes)
        optimizer = torch.optim.Adam(flow.parameters(), lr=0.01)
        start = float(-flow.log_prob(codes, None).detach().mean())
        for _ in range(300):
            optimizer.zero_grad()
            (-flow.log_prob(codes, None).mean()).backward()
            optimizer.step()
    entropy = np.log(5) - (0.8 * np.log(0.8) + 0.2 * np.log(0.1))
    assert start > entropy + 0.8
    assert float(-flow.log_prob(codes, None).detach().mean()) == pytest.approx(entropy, abs=0.05)


def test_too_many_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 100 labels, and one has 101"):
        ModularFlow([3, 101], 0, **SETTINGS)
