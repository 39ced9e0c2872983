"""Base distributions against SciPy: densities, and samples by Kolmogorov-Smirnov tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.mixture import GaussianMixture as GaussianMixtureOfScikitLearn
from torch import Tensor

from flowcli.flows.base import Base, Normal, StudentT, Uniform, normal_quantile
from flowcli.flows.gaussian_mixture import GaussianMixture

NETWORK = {"hidden": [8], "activation": "tanh"}


def uniforms(base: Base, rows: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, base.noise_features, generator=generator, dtype=torch.float64)


def student(degrees: list[float]) -> StudentT:
    base = StudentT(len(degrees)).double()
    log_ratio = torch.log(torch.tensor(degrees, dtype=torch.float64) / 10)
    with torch.no_grad():
        base.parameters_of.free.copy_(log_ratio / (1 - log_ratio.abs() / 3))
    return base


def mixture() -> tuple[GaussianMixture, np.ndarray, np.ndarray, np.ndarray]:
    """With its weights, means and covariances."""
    base = GaussianMixture(2, components=3).double()
    weights, means = np.array([0.2, 0.5, 0.3]), np.array([[0, 3], [-2, 0], [4, 4.0]])
    covariances = np.array([[[0.25, 0.2], [0.2, 0.3]], [[1, -0.5], [-0.5, 2]], [[0.04, 0], [0, 0.1]]])
    # A column given the one before it: its regression and the residual's variance.
    slope = covariances[:, 1, 0] / covariances[:, 0, 0]
    residual = covariances[:, 1, 1] - slope * covariances[:, 0, 1]
    scales = 0.5 * np.log(np.stack([covariances[:, 0, 0], residual], -1))
    table = np.column_stack([np.log(weights), means, scales / (1 - np.abs(scales) / 6), -slope])
    with torch.no_grad():
        base.parameters_of.free.copy_(torch.from_numpy(table))
    return base, weights, means, covariances


def test_student_t_is_scipys() -> None:
    degrees = [0.9, 3.0, 50.0]
    z = torch.tensor([[0.0, 1.0, -2.0], [1e8, -30.0, 6.0]], dtype=torch.float64)
    expected = sum(stats.t(df).logpdf(z[:, k].numpy()) for k, df in enumerate(degrees))
    np.testing.assert_allclose(student(degrees).log_prob(z).detach(), expected, rtol=1e-9)


def test_student_t_far_out_in_float32() -> None:
    z = torch.tensor([[1e30]])
    base = student([3.0])
    assert float(base.float().log_prob(z).detach()) == pytest.approx(float(stats.t(3).logpdf(1e30)), rel=1e-5)


@pytest.mark.parametrize("degrees", [0.9, 4.0, 150.0])
def test_student_t_samples(degrees: float) -> None:
    base = student([degrees, degrees])
    with torch.no_grad():
        z = base.sample(uniforms(base, 20_000)).numpy()
    for column in z.T:
        assert stats.kstest(column, stats.t(degrees).cdf).pvalue > 1e-3
    assert abs(stats.spearmanr(*z.T).statistic) < 0.03


def test_a_mixture_is_the_sum_of_its_parts() -> None:
    base, weights, means, covariances = mixture()
    z = np.random.default_rng(0).normal(size=(50, 2)) * 3
    each = [stats.multivariate_normal(m, c).pdf(z) for m, c in zip(means, covariances, strict=True)]
    np.testing.assert_allclose(base.log_prob(torch.from_numpy(z)).detach(), np.log(weights @ np.stack(each)), rtol=1e-9)


def test_mixture_samples() -> None:
    base, weights, means, covariances = mixture()
    with torch.no_grad():
        z = base.sample(uniforms(base, 20_000)).numpy()
    for direction in ([1.0, 0.0], [0.0, 1.0], [1.0, -1.0]):
        spreads = [np.sqrt(direction @ c @ direction) for c in covariances]

        def cdf(x: np.ndarray, along: np.ndarray = means @ direction, spreads: list[float] = spreads) -> np.ndarray:
            return np.asarray(
                weights @ np.stack([stats.norm(m, s).cdf(x) for m, s in zip(along, spreads, strict=True)])
            )

        assert stats.kstest(z @ direction, cdf).pvalue > 1e-3


def absent(z: Tensor, column: int) -> tuple[Tensor, Tensor]:
    """The rows without a column, and what they have."""
    present = torch.ones_like(z, dtype=torch.bool)
    present[:, column] = False
    return torch.where(present, z, 0.0), present


def test_a_mixture_of_what_is_there_is_normal_in_each_component() -> None:
    # Without the second column the first is as it was; without the first, the second is the rest of its regression.
    base, weights, means, covariances = mixture()
    residual = covariances[:, 1, 1] - covariances[:, 0, 1] ** 2 / covariances[:, 0, 0]
    line = torch.linspace(-12, 12, 101, dtype=torch.float64).unsqueeze(-1).expand(-1, 2)
    for column, variances in ((1, covariances[:, 0, 0]), (0, residual)):
        z, present = absent(line, column)
        each = stats.norm(means[:, 1 - column], np.sqrt(variances)).pdf(line[:, :1].numpy())
        np.testing.assert_allclose(base.log_prob(z, None, present).detach(), np.log(each @ weights), rtol=1e-9)
        with torch.no_grad():
            drawn = base.sample(uniforms(base, 20_000), None, present[:1].expand(20_000, -1))[:, 1 - column]

        def cdf(x: np.ndarray, its: np.ndarray = means[:, 1 - column], v: np.ndarray = variances) -> np.ndarray:
            return np.asarray(stats.norm(its, np.sqrt(v)).cdf(x[:, None]) @ weights)

        assert stats.kstest(drawn.numpy(), cdf).pvalue > 1e-3
        latent = torch.where(present[:1], torch.stack([drawn, drawn], -1), torch.nan)
        with torch.no_grad():
            normals = base.to_normal(latent, None, np.random.default_rng(0))
        assert normals[:, column].isnan().all()
        assert stats.kstest(normals[:, 1 - column].numpy(), "norm").pvalue > 1e-3


def test_a_mixture_starts_from_rows_with_absent_columns() -> None:
    """Near what the whole rows give, and gradients find nothing much better."""
    generator = torch.Generator().manual_seed(2)
    centres = torch.tensor([[4.0, 0.0, 1.0], [-4.0, 2.0, -1.0]]).double()
    mixing = torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0], [-0.5, 0.3, 0.4]]).double()
    rows = torch.randn(4000, 3, generator=generator).double() @ mixing.mT
    rows += centres[torch.randint(2, (4000,), generator=generator)]
    present = torch.ones(4000, 3, dtype=torch.bool)
    present[:, 2] = torch.rand(4000, generator=generator) < 0.6
    base = GaussianMixture(3, components=2).double()
    base.initialize(torch.where(present, rows, 0.0), None, present)
    whole = GaussianMixtureOfScikitLearn(2, random_state=0).fit(rows[present[:, 2]].numpy())
    with torch.no_grad():
        assert float(base.log_prob(rows).mean()) == pytest.approx(whole.score(rows.numpy()), abs=0.01)
        start = float(base.log_prob(torch.where(present, rows, 0.0), None, present).mean())
    optimizer = torch.optim.LBFGS(base.parameters(), max_iter=50)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -base.log_prob(torch.where(present, rows, 0.0), None, present).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert -closure().item() - start < 2e-3


def test_a_mixture_starts_at_the_clusters() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[5.0, 0.0], [-5.0, 1.0], [0.0, -6.0]])
    which = torch.randint(3, (600,), generator=generator)
    rows = centres[which] + 0.3 * torch.randn(600, 2, generator=generator)
    base = GaussianMixture(2, components=3)
    base.initialize(rows)
    with torch.no_grad():
        one, _ = torch.sort(base.parameters_of.free[:, 1:3], dim=0)
        torch.testing.assert_close(one, torch.sort(centres, dim=0).values, atol=0.1, rtol=0)
        # Within 0.05 nats of the entropy of that mixture.
        entropy = math.log(3) + 2 * (0.5 * math.log(2 * math.pi * math.e) + math.log(0.3))
        assert float(-base.log_prob(rows).mean()) == pytest.approx(entropy, abs=0.05)


def test_a_mixture_starts_near_the_likeliest() -> None:
    # Two crossing bars, which no round clusters are like.
    generator = torch.Generator().manual_seed(1)
    bar = torch.randn(1500, 2, generator=generator) * torch.tensor([3.0, 0.1])
    turn = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    rows = torch.cat([bar[:800], bar[800:] @ turn])
    base = GaussianMixture(2, components=2)
    base.initialize(rows)
    theirs = GaussianMixtureOfScikitLearn(2, random_state=0).fit(rows.numpy())
    with torch.no_grad():
        assert float(base.log_prob(rows).mean()) == pytest.approx(theirs.score(rows.numpy()), abs=0.02)


@pytest.mark.parametrize("rows", [torch.zeros(5, 2), torch.ones(1, 2)], ids=["all the same", "one row"])
def test_a_mixture_starts_from_poor_rows(rows: Tensor) -> None:
    base = GaussianMixture(2, components=4)
    base.initialize(rows)
    assert base.log_prob(rows).isfinite().all()


def test_uniform_is_one_in_the_cube_and_nothing_outside() -> None:
    base = Uniform(2)
    z = torch.tensor([[0.5, 0.1], [0.0, 1.0], [0.5, 1.1], [-0.1, 0.5]])
    assert base.log_prob(z).tolist() == [0, 0, -math.inf, -math.inf]
    drawn = base.sample(uniforms(base, 1000))
    assert (drawn > 0).all()
    assert (drawn < 1).all()


@pytest.mark.parametrize(
    "build",
    [
        lambda: Normal(2, 3, **NETWORK),
        lambda: StudentT(2, 3, **NETWORK),
        lambda: GaussianMixture(2, 3, components=2, **NETWORK),
    ],
    ids=["normal", "student_t", "gaussian_mixture"],
)
def test_conditional_samples_have_the_conditional_density(build: object) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        base = build().double()  # type: ignore[operator]
        with torch.no_grad():
            for parameter in base.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
    reference = {}
    for seed in (1, 2):
        context = torch.randn(1, 3, generator=torch.Generator().manual_seed(seed)).double()
        with torch.no_grad():
            z = base.sample(uniforms(base, 4000, seed), context.expand(4000, -1))
            # Of the first column: its distribution function by quadrature of the density over a grid.
            x, y = (torch.linspace(-60, 60, n, dtype=torch.float64) for n in (2401, 601))
            grid = torch.cartesian_prod(x, y)
            density = torch.exp(base.log_prob(grid, context.expand(len(grid), -1))).reshape(len(x), len(y)).sum(1)
        cumulative = (density.cumsum(0) - density / 2) / density.sum()
        test = stats.kstest(z[:, 0], lambda v, c=cumulative, x=x: np.interp(v, x, c))
        assert test.statistic < 0.03
        reference[seed] = z[:, 0].mean()
    assert reference[1] != reference[2]


def test_quantiles_of_the_smallest_numbers_are_finite() -> None:
    assert normal_quantile(torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64)).isfinite().all()


def test_no_component_of_a_mixture_is_a_row() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 3, generator=generator)
    rows[:6] = 30 * torch.eye(3).repeat(2, 1) * torch.tensor([[1.0]] * 3 + [[-1.0]] * 3)  # alone, each in its corner
    for components in (4, 8, 13):
        mixture = GaussianMixture(3, components=components)
        mixture.initialize(rows)
        locations = mixture._resolved(None)[1]
        assert torch.cdist(locations, rows[:6]).min() > 1
        assert torch.isfinite(mixture.log_prob(rows)).all()


def test_no_components_column_is_of_a_few_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 2, generator=generator)
    rows[100:, 0] += 20
    present = torch.ones(200, 2, dtype=torch.bool)
    # Of the second clump three rows have the second column, and there alone it is large.
    present[103:, 1] = False
    rows[100:103, 1] = 30.0
    mixture = GaussianMixture(2, components=2)
    mixture.initialize(torch.where(present, rows, 0.0), None, present)
    locations = mixture._resolved(None)[1]
    assert locations[:, 0].sort().values.detach().numpy() == pytest.approx([0, 20], abs=0.5)
    assert (locations[:, 1].abs() < 2).all()
