"""Latents for diagnosis are standard normals if the model is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from training.cases import density, rows

from flowcli.evaluation.latents import columns_of, normal_latents
from flowcli.flows.base import Base, Normal, StudentT, Uniform
from flowcli.flows.gaussian_mixture import GaussianMixture
from flowcli.flows.rows import Rows
from flowcli.transforms.support import Support
from flowcli.transforms.supports import Supports

BASES = {
    "normal": lambda: Normal(2),
    "conditional normal": lambda: Normal(2, 1, hidden=[4]),
    "student": lambda: StudentT(2),
    "conditional student": lambda: StudentT(2, 1, hidden=[4]),
    "uniform": lambda: Uniform(2),
    "mixture": lambda: GaussianMixture(2, components=3),
    "conditional mixture": lambda: GaussianMixture(2, 1, components=3, hidden=[4]),
}


def somewhere(name: str) -> Base:
    """A base whose parameters are not where they start."""
    torch.manual_seed(0)
    base = BASES[name]().double()
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return base


@pytest.mark.parametrize("name", BASES)
def test_what_comes_from_a_base_becomes_independent_normals(name: str) -> None:
    base = somewhere(name)
    generator = torch.Generator().manual_seed(1)
    context = torch.randn(4000, 1, generator=generator, dtype=torch.float64) if "conditional" in name else None
    with torch.no_grad():
        z = base.sample(torch.rand(4000, base.noise_features, generator=generator, dtype=torch.float64), context)
        found = base.to_normal(z, context, np.random.default_rng(2)).numpy()
    for column in found.T:
        assert stats.kstest(column, "norm").pvalue > 1e-3
    assert stats.pearsonr(*found.T).pvalue > 1e-3
    assert stats.pearsonr(*np.abs(found.T)).pvalue > 1e-3
    # What does not come from it does not.
    with torch.no_grad():
        wrong = base.to_normal(0.3 + 0.4 * z, context, np.random.default_rng(2)).numpy()
    assert stats.kstest(wrong[:, 0], "norm").pvalue < 1e-6


def test_an_exact_latent_of_a_fitted_density() -> None:
    """Rows drawn from a trained chain, and its encoding of them."""
    built = density(rows(torch.randn(300, 2, generator=torch.Generator().manual_seed(3)))).double().eval()
    uniforms = torch.rand(2000, built.noise_features, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    with torch.no_grad():
        drawn = built.sample(uniforms, uniforms.new_empty(2000, 0))
    found = normal_latents(built, drawn, np.random.default_rng(5))
    np.testing.assert_allclose(found, torch.special.ndtri(uniforms).numpy(), atol=1e-5)


@pytest.mark.parametrize("step", [0.1, 1.0])
@pytest.mark.parametrize("bound", ["none", "log"])
def test_rounded_rows_are_taken_to_where_they_may_have_been(step: float, bound: str) -> None:
    """Rows of a model, rounded, have normal latents however coarse the grid is: at the grid's points none is."""
    training = torch.randn(500, 2, generator=torch.Generator().manual_seed(6))
    training[:, 1] += 2 * training[:, 0]
    built = density(rows(training), "triangular_affine").double()
    built.supports = Supports([Support(map=bound, step=step), Support(step=step)])
    uniforms = torch.rand(3000, built.noise_features, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    with torch.no_grad():
        drawn = built.sample(uniforms, uniforms.new_empty(3000, 0))
    rounded = torch.round(drawn.numbers / step) * step
    if bound == "log":  # as the encoder has it: what is on the bound is taken next to it
        rounded[:, 0] = rounded[:, 0].clamp_min(1e-5)
    found = normal_latents(built, replace(drawn, numbers=rounded), np.random.default_rng(8))
    for column in found.T:
        assert stats.kstest(column, "norm").pvalue > 1e-3
    assert stats.pearsonr(*found.T).pvalue > 1e-3


def test_there_is_time_for_some_rows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    built = density(rows(torch.randn(300, 2, generator=torch.Generator().manual_seed(3))), "triangular_affine").double()
    built.supports = Supports([Support(step=0.1), Support()])
    monkeypatch.setattr("flowcli.evaluation.latents.MOST_EVALUATIONS", 800)
    numbers = torch.zeros(300, 2, dtype=torch.float64)
    empty = numbers.new_empty(300, 0)
    found = normal_latents(built, Rows(numbers, empty.long(), empty, empty), np.random.default_rng(8))
    assert np.isnan(found).any(1).sum() == 250


def test_latents_are_named_by_the_columns_they_stand_for() -> None:
    noise = np.random.default_rng(9)
    numbers = noise.normal(size=(500, 3))
    numbers[:, 1] += 3 * numbers[:, 0]
    latents = np.stack([numbers[:, 2], numbers[:, 0], numbers[:, 1] - 3 * numbers[:, 0]], axis=1) ** 3
    latents[::5, 0] = np.nan
    assert columns_of(latents, numbers, ("a", "b", "c")) == ["c", "a", "b"]
