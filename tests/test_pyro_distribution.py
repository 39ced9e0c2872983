"""A fitted density as a part of Pyro's models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from torch.distributions import biject_to

import flowcli
from flowcli.errors import ModelError, UsageError
from flowcli.model import Model

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

MEAN = torch.tensor([1.0, -2.0])
SCALE = torch.tensor([0.5, 2.0])


@pytest.fixture(scope="module")
def gaussian() -> Model:
    rows = np.random.default_rng(0).normal(MEAN, SCALE, size=(4000, 2))
    return flowcli.fit(rows, "gaussian", device="cpu")


@pytest.fixture(scope="module")
def bounded_rows() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    a = generator.normal(size=400)
    return pd.DataFrame(
        {
            "a": a,
            "positive": np.exp(a + generator.normal(size=400)),
            "share": generator.beta(1, 1, size=400),
            "tenths": np.round(np.exp(generator.normal(size=400)), 1) + 0.1,
            "same": 1,
            "group": generator.choice(["u", "v"], 400),
        }
    )


@pytest.fixture(scope="module")
def bounded(bounded_rows: pd.DataFrame) -> Model:
    return flowcli.fit(bounded_rows, device="cpu", train__epochs=2, data__drop=["group"])


@pytest.fixture(scope="module")
def conditional(bounded_rows: pd.DataFrame) -> Model:
    return flowcli.fit(bounded_rows, device="cpu", train__epochs=3, data__context=["group", "a"])


def numbers(frame: pd.DataFrame, names: tuple[str, ...]) -> torch.Tensor:
    return torch.tensor(frame[list(names)].to_numpy(), dtype=torch.float64)


def test_its_density_is_the_models(bounded: Model, bounded_rows: pd.DataFrame) -> None:
    distribution = bounded.as_pyro()
    assert distribution.columns == ("a", "positive", "share", "tenths")
    assert (distribution.batch_shape, distribution.event_shape) == ((), (4,))
    found = distribution.log_prob(numbers(bounded_rows, distribution.columns))
    np.testing.assert_allclose(found, bounded.log_prob(bounded_rows), rtol=1e-12)
    single = distribution.log_prob(numbers(bounded_rows, distribution.columns).float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, found, rtol=1e-3)


def test_it_is_differentiable(bounded: Model, bounded_rows: pd.DataFrame) -> None:
    distribution = bounded.as_pyro()
    value = numbers(bounded_rows.head(4), distribution.columns).requires_grad_()
    assert torch.autograd.gradcheck(distribution.log_prob, value)
    assert all(parameter.grad is None for parameter in bounded.density.parameters())


def test_it_integrates_to_one_within_its_support(bounded_rows: pd.DataFrame) -> None:
    model = flowcli.fit(bounded_rows[["tenths"]], device="cpu", train__epochs=2)
    distribution = model.as_pyro()
    at = torch.linspace(-1, 60, 60_001, dtype=torch.float64).unsqueeze(-1)
    inside = distribution.support.check(at)
    assert 0 < (~inside).sum() < len(at) / 50
    log_prob = distribution.log_prob(at[inside])
    assert torch.trapezoid(log_prob.exp(), at[inside].squeeze(-1)).item() == pytest.approx(1, abs=2e-3)
    distribution._validate_args = False
    assert torch.isneginf(distribution.log_prob(at[~inside])).all()
    distribution._validate_args = True
    with pytest.raises(ValueError, match="support"):
        distribution.log_prob(at[~inside])


def test_its_support_has_a_bijection_from_the_real_line(bounded: Model) -> None:
    distribution = bounded.as_pyro()
    assert distribution.support.check(distribution.sample((1000,)).double()).all()
    value = biject_to(distribution.support)(torch.randn(50, 4, dtype=torch.float64))
    assert torch.isfinite(distribution.log_prob(value)).all()


def test_samples_are_those_of_the_model(bounded: Model) -> None:
    pyro.set_rng_seed(0)
    drawn = bounded.as_pyro().sample((20_000,))
    assert drawn.dtype == torch.get_default_dtype()
    expected = bounded.sample(20_000, seed=0)[["a", "positive", "share", "tenths"]].to_numpy()
    for share in (0.1, 0.5, 0.9):
        one, two = np.quantile(drawn, share, axis=0), np.quantile(expected, share, axis=0)
        np.testing.assert_allclose(one, two, rtol=0.06, atol=0.06)


def test_shapes_expansion_and_rows_given(conditional: Model, bounded_rows: pd.DataFrame) -> None:
    many = conditional.as_pyro(bounded_rows.head(7))
    assert (many.batch_shape, many.event_shape, many.sample((2,)).shape) == ((7,), (3,), (2, 7, 3))
    at = numbers(bounded_rows.head(7), many.columns)
    np.testing.assert_allclose(many.log_prob(at), conditional.log_prob(bounded_rows.head(7)), rtol=1e-12)
    one = conditional.as_pyro({"group": bounded_rows["group"][3], "a": bounded_rows["a"][3]})
    assert one.batch_shape == ()
    assert one.log_prob(at[3]).item() == pytest.approx(many.log_prob(at)[3].item())
    larger = many.expand([5, 7])
    assert larger.sample().shape == (5, 7, 3)
    torch.testing.assert_close(larger.log_prob(at), many.log_prob(at).expand(5, 7))
    assert many.to_event(1).log_prob(at).shape == ()
    with pytest.raises(UsageError, match="give a value for a, group"):
        conditional.as_pyro()


def test_only_numbers_that_every_row_has(bounded_rows: pd.DataFrame) -> None:
    frame = bounded_rows.assign(
        holed=bounded_rows["a"].where(bounded_rows["a"] > -1),
        zeros=bounded_rows["positive"].where(bounded_rows["a"] > 0, 0.0),
        when=pd.date_range("2024-01-01", periods=400),
    )
    with pytest.raises(ModelError) as refused:
        flowcli.fit(frame, device="cpu", train__epochs=0).as_pyro()
    for column in ("'group' (label)", "'holed' (missing cells)", "'zeros' (spikes)", "'when' (date)"):
        assert column in str(refused.value)
    assert "'a'" not in str(refused.value)


def test_nuts_draws_from_it(gaussian: Model) -> None:
    prior = gaussian.as_pyro()

    def model() -> None:
        pyro.sample("x", prior)

    pyro.set_rng_seed(0)
    sampler: Any = MCMC(NUTS(model), num_samples=100, warmup_steps=40, disable_progbar=True)
    sampler.run()
    drawn = sampler.get_samples()["x"].double()
    torch.testing.assert_close(drawn.mean(0), MEAN.double(), atol=0.7, rtol=0)
    torch.testing.assert_close(drawn.std(0), SCALE.double(), atol=0.5, rtol=0)


def test_svi_finds_the_posterior_with_it_as_a_prior(gaussian: Model) -> None:
    prior = gaussian.as_pyro()
    observed = torch.tensor([2.0, 3.0])

    def model() -> None:
        x = pyro.sample("x", prior)
        pyro.sample("y", dist.Normal(x, SCALE).to_event(1), obs=observed)

    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    guide = AutoNormal(model)
    svi: Any = SVI(model, guide, pyro.optim.ClippedAdam({"lr": 0.1, "lrd": 0.97}), Trace_ELBO())
    for _ in range(150):
        svi.step()
    # Two normals of the same scale: halfway between prior and observation.
    posterior = guide.median()["x"].detach()
    torch.testing.assert_close(posterior, (MEAN + observed) / 2, atol=0.4, rtol=0)
