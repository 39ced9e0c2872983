"""The label model: closed-form frequencies, sampling by inversion, and what it can learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from flowcli.flows.softmax import AutoregressiveSoftmax

NETWORK = {"hidden": [64], "activation": "relu"}


def test_a_lone_label_has_its_training_frequencies() -> None:
    codes = torch.tensor([[0]] * 5 + [[1]] * 3 + [[2]] * 12)
    model = AutoregressiveSoftmax([3], 0, **NETWORK)
    model.initialize(codes)
    model.double()
    log_prob = model.log_prob(torch.tensor([[0], [1], [2]]), None)
    assert log_prob.tolist() == pytest.approx([math.log(5 / 20), math.log(3 / 20), math.log(12 / 20)], abs=1e-6)
    # Nothing beats the frequencies, so that there is nothing to train.
    assert not list(model.parameters())


def test_every_label_starts_at_its_frequencies() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.stack([torch.randint(size, (200,), generator=generator) for size in (3, 2)], -1)
    model = AutoregressiveSoftmax([3, 2], 2, **NETWORK)
    model.initialize(codes)
    context = torch.randn(200, 2, generator=generator)
    expected = sum(
        np.log(np.bincount(codes[:, column], minlength=size) / 200)[codes[:, column]]
        for column, size in enumerate((3, 2))
    )
    np.testing.assert_allclose(model.log_prob(codes, context).detach().numpy(), expected, atol=1e-5)


def test_one_hot() -> None:
    model = AutoregressiveSoftmax([2, 3], 0, **NETWORK)
    found = model.one_hot(torch.tensor([[1, 0], [0, 2], [-1, 1]]))
    assert found.tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1], [0, 0, 0, 1, 0]]


@pytest.mark.parametrize("context_features", [0, 2])
def test_an_unseen_label_has_probability_zero(context_features: int) -> None:
    model = AutoregressiveSoftmax([2, 3], context_features, **NETWORK)
    model.initialize(torch.tensor([[0, 0], [1, 1], [1, 2]]))
    codes = torch.tensor([[-1, 0], [0, -1], [-1, -1], [1, 2]])
    context = torch.zeros(4, 2) if context_features else None
    log_prob = model.log_prob(codes, context)
    assert torch.isneginf(log_prob).tolist() == [True, True, True, False]
    assert not log_prob.isnan().any()


def test_unseen_labels_do_not_spoil_gradients() -> None:
    model = AutoregressiveSoftmax([2, 3], 0, **NETWORK)
    model.initialize(torch.tensor([[0, 0], [1, 1], [1, 2]]))
    log_prob = model.log_prob(torch.tensor([[-1, 0], [0, -1], [1, 2]]), None)
    log_prob[log_prob.isfinite()].sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def trained() -> tuple[AutoregressiveSoftmax, np.ndarray]:
    """A model of two labels, the second of which follows the first, and the joint frequencies (2, 3)."""
    joint = np.array([[30, 5, 5], [2, 8, 50]])
    codes = torch.tensor([[i, j] for i in range(2) for j in range(3) for _ in range(joint[i, j])])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoregressiveSoftmax([2, 3], 0, **NETWORK)
    model.initialize(codes)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        loss = -model.log_prob(codes, None).mean()
        loss.backward()
        optimizer.step()
    return model.double(), joint / joint.sum()


def test_a_label_can_depend_on_the_one_before() -> None:
    model, joint = trained()
    codes = torch.tensor([[i, j] for i in range(2) for j in range(3)])
    found = torch.exp(model.log_prob(codes, None)).detach().numpy().reshape(2, 3)
    np.testing.assert_allclose(found, joint, atol=5e-3)
    np.testing.assert_allclose(found.sum(1), joint.sum(1), atol=1e-6)


def test_sampling_reproduces_the_probabilities() -> None:
    model, _ = trained()
    codes = torch.tensor([[i, j] for i in range(2) for j in range(3)])
    with torch.inference_mode():
        expected = torch.exp(model.log_prob(codes, None)).numpy()
        uniforms = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        drawn = model.sample(uniforms, None)
    counts = np.bincount((drawn[:, 0] * 3 + drawn[:, 1]).numpy(), minlength=6)
    assert chisquare(counts, expected / expected.sum() * 20_000).pvalue > 0.01


def test_sampling_is_by_inversion() -> None:
    model = AutoregressiveSoftmax([3], 0, **NETWORK)
    model.initialize(torch.tensor([[0]] * 2 + [[1]] * 3 + [[2]] * 5))
    model.double()
    uniforms = torch.tensor([[0.0], [0.1999], [0.2001], [0.4999], [0.5001], [0.9999999], [1.0]], dtype=torch.float64)
    assert model.sample(uniforms, None).flatten().tolist() == [0, 0, 1, 1, 2, 2, 2]


def test_a_label_of_one_category_is_certain() -> None:
    model = AutoregressiveSoftmax([1, 2], 0, **NETWORK)
    model.initialize(torch.tensor([[0, 0], [0, 1]]))
    model.double()
    log_prob = model.log_prob(torch.tensor([[0, 0], [0, 1]]), None)
    assert log_prob.tolist() == pytest.approx([math.log(0.5)] * 2, abs=1e-6)


def test_no_labels_at_all() -> None:
    model = AutoregressiveSoftmax([], 2, **NETWORK)
    assert model.log_prob(torch.empty(4, 0, dtype=torch.long), torch.zeros(4, 2)).tolist() == [0] * 4
    assert model.sample(torch.empty(4, 0), torch.zeros(4, 2)).shape == (4, 0)
