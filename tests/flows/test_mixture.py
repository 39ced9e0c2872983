"""A mixture of densities: against its members, quadrature, closed forms and counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import chisquare, kstest, norm
from torch import Tensor
from transforms.cases import perturb

from flowcli.config.schema import FlowConfig
from flowcli.flows.build import build_density
from flowcli.flows.layout import Layout
from flowcli.flows.mixture import MixtureDensity
from flowcli.flows.rows import Rows
from flowcli.transforms.support import Support

from .cases import layout, rows
from .test_normalisation import grid

SPLINES = {"transforms": [{"spline_autoregressive": {"hidden": [8]}}, "triangular_affine"]}
COUPLING = {"transforms": [{"affine_autoregressive": {"hidden": [8]}}, {"permute": {"order": "random"}}]}
NORMALS = {"transforms": [], "base": {"gaussian_mixture": {"components": 3}}}
WIDE = {"transforms": ["sinh_arcsinh"]}
WEIGHTS = [0.45, 0.0, 0.3, 0.25]

LAYOUTS = {
    "numbers": layout(2),
    "labels, ordinals and a context": layout(2, [3, 2], 1, [1.5]),
    "labels alone": layout(0, [3, 2]),
    "missing cells": Layout(
        numbers=("a", "b", "c"),
        supports=(Support("softplus"), Support(), Support(center=1.0, spread=2.0)),
        states=(None, 1, 2),
        labels=(("l", 3), ("b", 2), ("c", 3)),
    ),
}


def built(
    columns: Layout,
    mixture: list[dict[str, Any]] | None = None,
    weights: list[float] | None = None,
    size: float = 0.5,
    seed: int = 0,
) -> MixtureDensity:
    """A mixture with weights that are not those of its start, in float64."""
    if mixture is None:
        other = COUPLING if len(columns.numbers) != 1 else WIDE
        rest = NORMALS if columns.numbers else other
        mixture = [{"copies": 2, **SPLINES}, rest, other]
    density = build_density(FlowConfig.model_validate({"mixture": mixture}), columns, seed)
    assert isinstance(density, MixtureDensity)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        perturb(density, size)
    density = density.double()
    density.weights.copy_(torch.tensor(WEIGHTS if weights is None else weights))
    return density


def uniforms(density: MixtureDensity, n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, density.noise_features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@torch.no_grad()
def drawn(density: MixtureDensity, n: int, context_features: int = 0, seed: int = 0) -> Rows:
    generator = torch.Generator().manual_seed(seed + 100)
    context = torch.randn(n, context_features, generator=generator, dtype=torch.float64)
    return density.sample(uniforms(density, n, seed), context)


def by_hand(density: MixtureDensity, table: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Log-densities ``(n,)``, and the probabilities of the members given the row ``(n, k)``."""
    with torch.no_grad():
        each = np.stack([density.member(k).log_prob(table).numpy() for k in range(density.components)], axis=-1)
    weights = density.weights.numpy()
    total = logsumexp(each, b=weights, axis=-1)
    return total, weights * np.exp(each - total[:, None])


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_density_is_the_weighted_sum_of_the_members(name: str) -> None:
    columns = LAYOUTS[name]
    density = built(columns)
    table = drawn(density, 60, len(columns.context))
    if columns.states:
        missing = table.labels[:, 1:] > 0
        assert missing.any(0).all()
    with torch.no_grad():
        found = density.log_prob(table)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), by_hand(density, table)[0], atol=1e-6)  # the weights are of float32
    if columns.labels:
        unseen = replace(table, labels=torch.full_like(table.labels, -1))
        with torch.no_grad():
            assert torch.isneginf(density.log_prob(unseen)).all()


def test_in_float64_nothing_is_lost() -> None:
    density = built(layout(2), weights=[0.5, 0.25, 0.125, 0.125])  # which float32 has exactly
    table = drawn(density, 60)
    with torch.no_grad():
        np.testing.assert_allclose(density.log_prob(table).numpy(), by_hand(density, table)[0], rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("features", [1, 2])
def test_it_integrates_to_one(features: int) -> None:
    density = built(layout(features, [3]), size=0.3)
    samples = drawn(density, 5000).numbers
    points, volumes = grid(samples, 30.0, 35)
    total = 0.0
    for code in range(3):
        labels = torch.full((len(points), 1), code)
        total += float(torch.exp(density.log_prob(rows(points, labels))) @ volumes)
    assert total == pytest.approx(1, abs=2e-3)


# --- samples


def gaussians(weights: list[float], locations: list[float]) -> tuple[MixtureDensity, list[Any]]:
    """A mixture of normals on the line, each a member that starts at its rows, and SciPy's same."""
    members = [{"transforms": ["triangular_affine"]} for _ in locations]
    density = build_density(FlowConfig.model_validate({"mixture": members}), layout(1))
    assert isinstance(density, MixtureDensity)
    density = density.double()
    density.weights.copy_(torch.tensor(weights))
    known = []
    for k, location in enumerate(locations):
        numbers = location + torch.randn(50, 1, generator=torch.Generator().manual_seed(k)).double()
        density.member(k).initialize(rows(numbers))
        known.append(norm(numbers.mean().item(), numbers.std(correction=0).item()))
    return density, known


def test_normals_on_the_line() -> None:
    weights = [0.25, 0.625, 0.125]
    density, known = gaussians(weights, [-2.0, 0.5, 1.0])
    x = torch.linspace(-6, 6, 101, dtype=torch.float64).unsqueeze(-1)
    with torch.no_grad():
        found = density.log_prob(rows(x)).numpy()
    expected = sum(w * each.pdf(x[:, 0].numpy()) for w, each in zip(weights, known, strict=True))
    np.testing.assert_allclose(found, np.log(expected), atol=1e-6)
    samples = drawn(density, 10_000).numbers[:, 0].numpy()
    cdf = lambda y: sum(w * each.cdf(y) for w, each in zip(weights, known, strict=True))  # noqa: E731
    assert kstest(samples, cdf).pvalue > 0.01


def test_how_often_members_are_drawn() -> None:
    # So far from each other that a row tells its member.
    weights = [0.3, 0.0, 0.6, 0.1, 0.0]
    density, _ = gaussians(weights, [-200.0, -100.0, 0.0, 100.0, 200.0])
    of_row = torch.round(drawn(density, 10_000).numbers[:, 0] / 100).long() + 2
    counts = np.bincount(of_row.numpy(), minlength=5)
    assert counts[[1, 4]].tolist() == [0, 0]
    assert chisquare(counts[[0, 2, 3]], 10_000 * np.array([0.3, 0.6, 0.1])).pvalue > 0.01
    # The smallest uniform numbers and the largest.
    ends = torch.tensor([[0.0], [1 - 2.0**-53]], dtype=torch.float64).expand(2, density.noise_features)
    with torch.no_grad():
        assert torch.round(density.sample(ends.clamp(2.0**-53), torch.empty(2, 0)).numbers / 100).abs().max() <= 2
        both = density.sample(torch.cat([ends[:, :1], torch.full_like(ends[:, 1:], 0.5)], dim=-1), torch.empty(2, 0))
    assert (torch.round(both.numbers[:, 0] / 100).long() + 2).tolist() == [0, 3]


def test_samples_follow_the_density() -> None:
    density = built(layout(1), [SPLINES, NORMALS, WIDE], [0.5, 0.3, 0.2])
    samples = drawn(density, 10_000).numbers[:, 0]
    nodes, volumes = grid(samples.unsqueeze(-1), 100.0, 60)
    with torch.no_grad():
        mass = torch.exp(density.log_prob(rows(nodes))) * volumes
    cumulative = torch.cumsum(mass, 0)
    assert float(cumulative[-1]) == pytest.approx(1, abs=1e-3)
    # Half of a node's own mass lies below it.
    cdf = (cumulative - mass / 2).numpy()
    assert kstest(samples.numpy(), lambda y: np.interp(y, nodes[:, 0].numpy(), cdf)).pvalue > 0.01


def test_labels_are_drawn_by_the_density() -> None:
    density = built(layout(0, [3, 2]), [{"copies": 2, "transforms": []}], [0.7, 0.3])
    codes = torch.tensor([[i, j] for i in range(3) for j in range(2)])
    with torch.no_grad():
        expected = torch.exp(density.log_prob(rows(labels=codes))).numpy()
    assert expected.sum() == pytest.approx(1, abs=1e-6)
    labels = drawn(density, 10_000).labels
    counts = np.bincount((labels[:, 0] * 2 + labels[:, 1]).numpy(), minlength=6)
    assert chisquare(counts, 10_000 * expected / expected.sum()).pvalue > 0.01


# --- latents


@torch.no_grad()
@pytest.mark.parametrize("name", LAYOUTS)
def test_rows_come_back_from_their_latents(name: str) -> None:
    columns = LAYOUTS[name]
    density = built(columns)
    table = drawn(density, 200, len(columns.context))
    latent = density.encode(table)
    features = len(columns.numbers)
    assert latent.shape == (200, features + 1)
    # Of the likeliest member, whose number stands behind.
    likely = by_hand(density, table)[1].argmax(-1)
    assert latent[:, -1].tolist() == (likely + 1).tolist()
    assert len({*likely.tolist()}) > 1 or not features
    for k in range(density.components):
        own = (latent[:, -1] == k + 1).nonzero().squeeze(-1)
        expected = density.member(k).encode(table.take(own))
        torch.testing.assert_close(latent[own, :-1], expected, rtol=0, atol=1e-12, equal_nan=True)
    if columns.states:
        lacking = (table.labels[:, 1:] > 0).sum(-1)
        assert torch.isnan(latent).sum(-1).tolist() == lacking.tolist()
    back = density.decode(replace(table, numbers=latent))
    there = torch.ones_like(back, dtype=torch.bool)
    if columns.states:
        there[:, 1:] = table.labels[:, 1:] == 0
    torch.testing.assert_close(back[there], table.numbers[there], rtol=1e-7, atol=1e-7)


@torch.no_grad()
def test_latents_of_any_member() -> None:
    density = built(layout(2))
    table = drawn(density, 8)
    number = torch.tensor([0, 1, 2, 3] * 2)
    latent = density.encode(table, number)
    assert latent[:, -1].tolist() == (number + 1).tolist()
    torch.testing.assert_close(density.decode(replace(table, numbers=latent)), table.numbers, rtol=1e-7, atol=1e-7)
    assert density.encode(table.take(torch.empty(0, dtype=torch.long))).shape == (0, 3)


@torch.no_grad()
def test_a_member_is_responsible_as_often_as_it_is_likely() -> None:
    density = built(layout(2))
    table = drawn(density, 12)
    expected = by_hand(density, table)[1]
    assert (expected.max(-1) < 0.95).any()
    n = 2000
    even = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    for row in range(len(table)):
        numbers = density.responsible(table.take(torch.full((n,), row)), even)
        shares = np.bincount(numbers.numpy(), minlength=4) / n
        np.testing.assert_allclose(shares, expected[row], atol=1.01 / n + 1e-6)


@torch.no_grad()
def test_latents_of_its_own_rows_are_standard_normal() -> None:
    density, _ = gaussians([0.5, 0.5], [-0.8, 0.8])
    table = drawn(density, 4000)
    generator = torch.Generator().manual_seed(5)
    by_chance = density.responsible(table, torch.rand(4000, generator=generator, dtype=torch.float64))
    assert kstest(density.encode(table, by_chance)[:, 0].numpy(), norm.cdf).pvalue > 0.01
    # Those of the likeliest member are not: where two meet, each has lost a part of its rows.
    assert kstest(density.encode(table)[:, 0].numpy(), norm.cdf).pvalue < 1e-3


@torch.no_grad()
def test_latents_of_flows() -> None:
    density = built(layout(2, [2], 1), [{"copies": 2, **SPLINES}, COUPLING], [0.4, 0.35, 0.25])
    table = drawn(density, 4000, 1, seed=1)
    number = density.responsible(table, uniforms(density, 4000, 7)[:, 0])
    assert len({*number.tolist()}) == 3
    latent = density.encode(table, number)[:, :-1].numpy()
    for column in latent.T:
        assert kstest(column, norm.cdf).pvalue > 0.01
    assert abs(np.corrcoef(latent.T)[0, 1]) < 4 / np.sqrt(4000)


# --- weights and gradients


@pytest.mark.parametrize(
    "weights",
    [[0.5, 0.6, 0.0, 0.0], [1.5, -0.5, 0.0, 0.0], [torch.nan, 1.0, 0.0, 0.0], [torch.inf, 0.0, 0.0, 0.0], [0.0] * 4],
    ids=str,
)
def test_weights_that_are_none(weights: list[float]) -> None:
    density = built(layout(1))
    assert density.damage() == ""
    density.weights.copy_(torch.tensor(weights))
    assert density.damage()


def test_gradients() -> None:
    density = built(layout(2), size=0.3)
    numbers = drawn(density, 5).numbers.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: density.log_prob(rows(x)), [numbers])
    # Each member's gradient counts as much as the member is likely.
    posterior = torch.from_numpy(by_hand(density, rows(numbers.detach()))[1])
    density.zero_grad()
    density.log_prob(rows(numbers.detach())).sum().backward()
    for k in range(density.components):
        parameters = [*density.member(k).parameters()]
        alone = torch.autograd.grad(
            (posterior[:, k] * density.member(k).log_prob(rows(numbers.detach()))).sum(), parameters
        )
        for parameter, expected in zip(parameters, alone, strict=True):
            found = torch.zeros_like(expected) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
