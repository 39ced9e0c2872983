"""The triangular affine map starts at the maximum-likelihood normal, in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from flowcli.flows.base import Normal
from flowcli.flows.flow import Flow
from flowcli.transforms.bijection import Chain
from flowcli.transforms.permute import Permute
from flowcli.transforms.triangular import TriangularAffine


def correlated(rows: int, features: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(features, features)) + np.eye(features)
    return generator.normal(size=(rows, features)) @ mixing.T + 10 * generator.normal(size=features)


def fitted(rows: np.ndarray, context: np.ndarray | None = None) -> TriangularAffine:
    transform = TriangularAffine(rows.shape[1], 0 if context is None else context.shape[1]).double()
    transform.initialize(torch.from_numpy(rows), None if context is None else torch.from_numpy(context))
    return transform


def log_prob(transform: TriangularAffine, rows: np.ndarray, context: np.ndarray | None = None) -> np.ndarray:
    flow = Flow(Normal(1), Chain([transform]))
    with torch.no_grad():
        return flow.log_prob(torch.from_numpy(rows), None if context is None else torch.from_numpy(context)).numpy()


@pytest.mark.parametrize("features", [1, 2, 5, 20])
def test_start_is_the_maximum_likelihood_normal(features: int) -> None:
    rows, new = np.split(correlated(550, features), [500])
    expected = multivariate_normal(rows.mean(0), np.cov(rows.T, ddof=0).reshape(features, features)).logpdf(new)
    np.testing.assert_allclose(log_prob(fitted(rows), new), expected, rtol=1e-5, atol=1e-5)


def test_samples_have_its_moments_exactly() -> None:
    rows = correlated(500, 4)
    transform = fitted(rows)
    with torch.no_grad():
        mean, _ = transform.forward_and_log_det(torch.zeros(4, dtype=torch.float64))
        factor = transform.forward_and_log_det(torch.eye(4, dtype=torch.float64))[0] - mean
    np.testing.assert_allclose(mean.numpy(), rows.mean(0), rtol=1e-9)
    np.testing.assert_allclose((factor.T @ factor).numpy(), np.cov(rows.T, ddof=0), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("one_hot", [False, True])
def test_start_with_context_is_the_regression(one_hot: bool) -> None:
    generator = np.random.default_rng(0)
    if one_hot:
        # Its columns sum to one, so that with an intercept the regression has no unique solution.
        context = np.eye(4)[generator.integers(0, 4, 500)]
    else:
        context = generator.normal(size=(500, 4)) * [1, 10, 0.1, 3] + [0, 100, -1, 5]
    rows = correlated(500, 3) + context @ generator.normal(size=(4, 3))
    inputs = np.column_stack([np.ones(500), context])
    weight = np.linalg.lstsq(inputs, rows, rcond=None)[0]
    residual = rows - inputs @ weight
    expected = multivariate_normal(np.zeros(3), residual.T @ residual / 500).logpdf(residual)
    np.testing.assert_allclose(log_prob(fitted(rows, context), rows, context), expected, rtol=1e-5, atol=1e-5)


def test_chain_starts_it_where_it_stands() -> None:
    # What it is started with is what it sees, not what the chain sees.
    rows = correlated(300, 3)
    permute, triangular = Permute(3, 0, order=[2, 3, 1]), TriangularAffine(3, 0)
    chain = Chain([triangular, permute]).double()
    chain.initialize(torch.from_numpy(rows))
    z, _ = chain.inverse_and_log_det(torch.from_numpy(rows))
    np.testing.assert_allclose(np.cov(z.detach().numpy().T, ddof=0), np.eye(3), atol=1e-6)
    np.testing.assert_allclose(z.detach().numpy().mean(0), np.zeros(3), atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("features", [3, 20])
def test_columns_that_determine_each_other(features: int, dtype: torch.dtype) -> None:
    rows = correlated(200, features)
    rows[:, -1] = rows[:, 0] * 2 - rows[:, 1] + 1
    transform = TriangularAffine(features, 0).to(dtype)
    transform.initialize(torch.from_numpy(rows).to(dtype))
    z, log_det = transform.inverse_and_log_det(torch.from_numpy(rows).to(dtype))
    assert z.isfinite().all()
    assert log_det.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_more_columns_than_rows(dtype: torch.dtype) -> None:
    rows = torch.from_numpy(correlated(5, 20)).to(dtype)
    context = torch.from_numpy(correlated(5, 8, seed=3)).to(dtype)
    transform = TriangularAffine(20, 8).to(dtype)
    transform.initialize(rows, context)
    z, log_det = transform.inverse_and_log_det(rows, context)
    assert z.isfinite().all()
    assert log_det.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_column_of_one_value(dtype: torch.dtype) -> None:
    rows = torch.from_numpy(correlated(50, 3)).to(dtype)
    rows[:, 1] = 7
    transform = TriangularAffine(3, 0).to(dtype)
    transform.initialize(rows)
    for parameter in transform.parameters():
        assert parameter.isfinite().all()
    assert transform.inverse_and_log_det(rows)[0].isfinite().all()
