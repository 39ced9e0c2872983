"""The Gaussian baseline, against SciPy and scikit-learn on real numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal, norm
from sklearn.linear_model import LinearRegression

from flowcli.evaluation.baselines import gaussian_log_prob
from flowcli.flows.layout import Layout
from flowcli.flows.rows import Rows
from flowcli.transforms.support import Support


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    path = Path(__file__).resolve().parents[2] / "data" / "iris.csv"
    return pd.read_csv(path).sample(frac=1, random_state=0)


@pytest.fixture(scope="module")
def numbers(table: pd.DataFrame) -> np.ndarray:
    return table.iloc[:, :4].to_numpy(float)


def rows(numbers: np.ndarray, labels: np.ndarray | None = None, context: np.ndarray | None = None) -> Rows:
    empty = np.empty((len(numbers), 0))
    return Rows(
        torch.from_numpy(numbers),
        torch.from_numpy(empty.astype(np.int64) if labels is None else labels),
        torch.from_numpy(empty),
        torch.from_numpy(empty if context is None else context),
    )


def layout(numbers: np.ndarray, *labels: int) -> Layout:
    names = tuple(f"x{k}" for k in range(numbers.shape[1]))
    return Layout(numbers=names, labels=tuple((f"l{k}", size) for k, size in enumerate(labels)))


def test_columns_with_holes_are_normals_of_their_own(numbers: np.ndarray) -> None:
    """In the data's units, the second column having a hole in every third row."""
    states = (np.arange(150) % 3 == 0).astype(np.int64)[:, None]
    units = [Support(unit=2.0), Support(unit=-0.5)]
    of = Layout(("a", "b"), (("b", 2),), supports=tuple(units), states=(None, 0))
    training, test = rows(numbers[:120, :2], states[:120]), rows(numbers[120:, :2], states[120:])
    there = states[:120, 0] == 0
    expected = norm(numbers[:120, 0].mean(), numbers[:120, 0].std()).logpdf(numbers[120:, 0]) - np.log(2)
    second = norm(numbers[:120, 1][there].mean(), numbers[:120, 1][there].std()).logpdf(numbers[120:, 1]) + np.log(2)
    expected += np.where(states[120:, 0] == 0, second + np.log(2 / 3), np.log(1 / 3))
    np.testing.assert_allclose(gaussian_log_prob(training, test, of), expected, atol=1e-6)


def test_is_the_full_covariance_normal(numbers: np.ndarray) -> None:
    training, test = numbers[:120], numbers[120:]
    expected = multivariate_normal(training.mean(0), np.cov(training.T, ddof=0)).logpdf(test)
    np.testing.assert_allclose(gaussian_log_prob(rows(training), rows(test), layout(training)), expected, atol=1e-4)


def test_one_column(numbers: np.ndarray) -> None:
    training, test = numbers[:120, :1], numbers[120:, :1]
    expected = multivariate_normal(training.mean(), training.var()).logpdf(test[:, 0])
    np.testing.assert_allclose(gaussian_log_prob(rows(training), rows(test), layout(training)), expected, atol=1e-6)


def test_with_context_it_is_linear_regression(numbers: np.ndarray) -> None:
    (y, x), (y_new, x_new) = ((part[:, :2], part[:, 2:]) for part in (numbers[:120], numbers[120:]))
    regression = LinearRegression().fit(x, y)
    residual = y - regression.predict(x)
    expected = multivariate_normal(np.zeros(2), residual.T @ residual / 120).logpdf(y_new - regression.predict(x_new))
    found = gaussian_log_prob(rows(y, context=x), rows(y_new, context=x_new), layout(y))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_labels_are_independent_with_their_frequencies(table: pd.DataFrame, numbers: np.ndarray) -> None:
    codes = pd.Categorical(table["species"]).codes.astype(np.int64)[:, None]
    training, test = rows(numbers[:120], codes[:120]), rows(numbers[120:], codes[120:])
    frequencies = np.bincount(codes[:120, 0]) / 120
    alone = gaussian_log_prob(rows(numbers[:120]), rows(numbers[120:]), layout(numbers))
    found = gaussian_log_prob(training, test, layout(numbers, 3))
    np.testing.assert_allclose(found, alone + np.log(frequencies)[codes[120:, 0]], atol=1e-6)


def test_labels_alone_and_an_unseen_one() -> None:
    codes = np.array([[0], [0], [1], [0]])
    empty = np.empty((4, 0))
    found = gaussian_log_prob(rows(empty, codes), rows(empty, np.array([[0], [1], [-1], [0]])), layout(empty, 2))
    np.testing.assert_allclose(
        found, np.log([0.75, 0.25, 0, 0.75], where=[True, True, False, True], out=np.full(4, -np.inf)), atol=1e-6
    )
