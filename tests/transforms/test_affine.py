"""The affine transformer's bounded scale keeps far rows from throwing a stack."""

from __future__ import annotations

import math

import pytest
import torch

from flowcli.flows.base import Normal
from flowcli.flows.flow import Flow
from flowcli.transforms import registry
from flowcli.transforms.affine import AffineTransformer
from flowcli.transforms.bijection import Chain

from .cases import perturb

LAYERS, FEATURES, BOUND = 8, 6, 3.0


def test_formula() -> None:
    z = torch.linspace(-3, 3, 13, dtype=torch.float64)
    shift, raw = torch.full_like(z, 0.7), torch.linspace(-50, 50, 13, dtype=torch.float64)
    x, log_slope = AffineTransformer(BOUND).forward(z, torch.stack([shift, raw], dim=-1))
    torch.testing.assert_close(x, z * torch.exp(log_slope) + 0.7)
    assert log_slope.abs().max() < BOUND
    # The wanted scale is reached closely where it is small: d log_slope / d raw is 1 at zero.
    assert (log_slope.diff() > 0).all()
    tiny = torch.tensor([[0.0, 1e-6]], dtype=torch.float64)
    assert AffineTransformer(BOUND).forward(torch.ones(1), tiny)[1].item() == pytest.approx(1e-6, rel=1e-5)


@pytest.fixture(scope="module")
def maf() -> Flow:
    entry = registry.entries()["affine_autoregressive"]
    parameters = {p.name: p.default for p in entry.parameters} | {"log_scale_bound": BOUND}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = []
        for layer in range(LAYERS):
            order = "reverse" if layer % 2 else "natural"
            layers.append(registry.build(entry.name, FEATURES, 0, parameters | {"order": order}))
        chain = Chain(layers)
        perturb(chain)
    return Flow(Normal(1), chain)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("columns", [[0], [2], [5], [0, 1, 2, 3, 4, 5]], ids=str)
@torch.no_grad()
def test_an_outlier_scores_no_worse_than_the_bound_allows(maf: Flow, size: float, columns: list[int]) -> None:
    row = torch.zeros(2, FEATURES)
    row[0, columns], row[1, columns] = size, -size
    log_prob = maf.log_prob(row)
    assert log_prob.isfinite().all()
    z, log_det = maf.chain.inverse_and_log_det(row)
    assert log_det.abs().max() <= LAYERS * FEATURES * BOUND
    # |z_k| <= (|x_k| + |t_1| + ... + |t_8|) exp(8 bound); the shifts come from squashed inputs and stay small.
    largest = (size + LAYERS * 100) * math.exp(LAYERS * BOUND)
    lowest = -0.5 * FEATURES * (largest**2 + math.log(2 * math.pi)) - LAYERS * FEATURES * BOUND
    assert z.abs().max() <= largest
    assert (log_prob >= lowest).all()


@torch.no_grad()
def test_far_rows_get_the_parameters_of_the_edge(maf: Flow) -> None:
    # Once inputs are squashed, ten times further out is ten times further in latent space and no more.
    direction = torch.ones(1, FEATURES, dtype=torch.float64)
    one, ten = (maf.double().encode(direction * size) for size in (1e8, 1e9))
    maf.float()
    torch.testing.assert_close(ten / one, torch.full_like(one, 10.0), rtol=1e-4, atol=0)
