"""The Gaussian against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

from .cases import ALL_ROWS, fit


def parts(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = frame.to_numpy(float)
    return rows, rows.mean(0), np.cov(rows.T, ddof=0)


def test_the_gaussian_preset_is_the_closed_form(iris: pd.DataFrame) -> None:
    frame = iris.drop(columns="species")
    rows, mean, covariance = parts(frame)
    fitted = fit(frame, *ALL_ROWS, config="gaussian")
    expected = multivariate_normal(mean, covariance).logpdf(rows)
    log_prob = fitted.model.log_prob(frame)
    assert log_prob.mean() == pytest.approx(expected.mean(), abs=0.01)
    np.testing.assert_allclose(log_prob, expected, atol=1e-3)
    # Latents of zero and of one standard deviation each, decoded: the mean and the factor of the covariance.
    latent = pd.DataFrame(np.vstack([np.zeros(4), np.eye(4)]), columns=["z1", "z2", "z3", "z4"])
    decoded = fitted.model.decode(latent)[list(frame)].to_numpy()
    factor = (decoded[1:] - decoded[0]).T
    np.testing.assert_allclose(decoded[0], mean, rtol=1e-5)
    np.testing.assert_allclose(factor @ factor.T, covariance, rtol=0.01)


def test_gaussian_samples_have_its_moments(iris: pd.DataFrame) -> None:
    frame = iris.drop(columns="species")
    _, mean, covariance = parts(frame)
    drawn = fit(frame, *ALL_ROWS, config="gaussian").model.sample(20_000, seed=0)
    scale = np.sqrt(np.diag(covariance))
    assert np.abs((drawn.mean() - mean) / scale).max() < 4 / math.sqrt(20_000)
    np.testing.assert_allclose(np.corrcoef(drawn.T), covariance / np.outer(scale, scale), atol=0.03)


def test_samples_of_a_data_frame_are_on_its_grid(iris: pd.DataFrame) -> None:
    # Tenths, as from the same table in a file.
    frame = iris.assign(whole=np.arange(150) % 7, half=(np.arange(150) % 5) / 2)
    drawn = fit(frame, config="gaussian").model.sample(200, seed=0)
    assert drawn["whole"].dtype.kind == "i"
    for name in [*iris.columns[:4], "half"]:
        np.testing.assert_allclose(drawn[name] * 10, np.round(drawn[name] * 10), atol=1e-9)


def test_context_shifts_the_gaussian_as_a_regression_does(iris: pd.DataFrame) -> None:
    frame = iris[["petal_length", "petal_width", "sepal_length"]]
    model = fit(frame, *ALL_ROWS, "data.context=[sepal_length]", config="gaussian").model
    inputs = np.column_stack([np.ones(len(frame)), frame["sepal_length"]])
    y = frame[["petal_length", "petal_width"]].to_numpy()
    weight = np.linalg.lstsq(inputs, y, rcond=None)[0]
    residual = y - inputs @ weight
    expected = multivariate_normal(np.zeros(2), residual.T @ residual / len(y)).logpdf(residual)
    np.testing.assert_allclose(model.log_prob(frame), expected, atol=1e-3)
    drawn = model.sample(4000, given=pd.DataFrame({"sepal_length": [5.0, 7.0]}), seed=0)
    assert (drawn["sepal_length"] == np.repeat([5.0, 7.0], 4000)).all()
    for value, part in drawn.groupby("sepal_length"):
        wanted = np.array([1, value]) @ weight
        error = residual.std(0) * 4 / math.sqrt(4000)
        assert (np.abs(part[["petal_length", "petal_width"]].mean().to_numpy() - wanted) < error).all()
