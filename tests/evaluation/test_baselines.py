"""The baselines, against SciPy and scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import trapezoid
from scipy.stats import multivariate_normal, norm
from sklearn import neighbors
from sklearn.linear_model import LinearRegression
from sklearn.mixture import GaussianMixture

from flowcli.evaluation.baselines import Gaussian, OnRealLine
from flowcli.evaluation.kernel import KernelDensity
from flowcli.evaluation.mixture import Mixture
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


def gaussian_log_prob(training: Rows, test: Rows, of: Layout) -> np.ndarray:
    return Gaussian(training, of).log_prob(test)


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


def banana(n: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(n, 2))
    return np.stack([3 * noise[:, 0], noise[:, 0] ** 2 + 0.3 * noise[:, 1]], axis=1)


def plain(numbers: np.ndarray) -> Layout:
    names = tuple(f"x{k}" for k in range(numbers.shape[1]))
    return Layout(numbers=names, supports=(Support(),) * len(names))


def test_kernel_density_is_scikit_learns() -> None:
    training, test = banana(400, 0), banana(100, 1)
    density = KernelDensity(torch.from_numpy(training), np.random.default_rng(0))
    white = np.linalg.solve(np.linalg.cholesky(np.cov(training.T, ddof=0)), np.concatenate([training, test]).T).T
    theirs = neighbors.KernelDensity(bandwidth=density.bandwidth).fit(white[:400])
    log_det = np.linalg.slogdet(np.cov(training.T, ddof=0))[1] / 2
    found = density.log_prob(torch.from_numpy(test)).numpy()
    np.testing.assert_allclose(found, theirs.score_samples(white[400:]) - log_det, atol=1e-6)


def test_the_bandwidth_is_the_likeliest_for_rows_left_out() -> None:
    training = banana(200, 2)
    density = KernelDensity(torch.from_numpy(training), np.random.default_rng(0))
    white = np.linalg.solve(np.linalg.cholesky(np.cov(training.T, ddof=0)), training.T).T

    def left_out(bandwidth: float) -> float:
        others = [np.delete(white, k, axis=0) for k in range(200)]
        fits = (neighbors.KernelDensity(bandwidth=bandwidth).fit(rows) for rows in others)
        return sum(float(fit.score(white[k : k + 1])) for k, fit in enumerate(fits))

    best = left_out(density.bandwidth)
    assert all(best > left_out(factor * density.bandwidth) for factor in (0.6, 1.6))


def test_mixture_is_scikit_learns_of_the_size_that_predicts_best() -> None:
    noise = np.random.default_rng(3)
    centres = np.array([[0, 0], [8, 0], [0, 8]])
    training, test = (centres[noise.integers(3, size=n)] + noise.normal(size=(n, 2)) for n in (600, 200))
    found = Mixture(torch.from_numpy(training), np.random.default_rng(0))
    assert found.components == 3
    theirs = GaussianMixture(3, random_state=0).fit(training)
    np.testing.assert_allclose(
        found.log_prob(torch.from_numpy(test)).numpy(), theirs.score_samples(test), rtol=0.01, atol=0.02
    )


def test_on_the_real_line_it_is_a_density_in_the_datas_units() -> None:
    """Of a positive column, by its logarithm, and of one that has no maps but another unit: it integrates to one."""
    noise = np.random.default_rng(4)
    u = np.stack([noise.lognormal(size=300), noise.normal(size=300)], axis=1)
    of = Layout(("a", "b"), supports=(Support(map="log", center=0.3, spread=1.4, unit=2.0), Support(unit=0.5)))
    density = OnRealLine(rows(u), of, noise, lambda numbers: KernelDensity(numbers, noise))
    a, b = np.geomspace(1e-4, 1e3, 600), np.linspace(-8, 8, 300)
    grid = np.stack(np.meshgrid(a, b, indexing="ij"), axis=-1).reshape(-1, 2)
    values = np.exp(density.log_prob(rows(grid / [2.0, 0.5]))).reshape(600, 300)
    assert trapezoid(trapezoid(values, b, axis=1), a) == pytest.approx(1, abs=0.01)


def test_independent_marginals_are_products() -> None:
    noise = np.random.default_rng(5)
    training, test = banana(300, 6), banana(50, 7)
    alone = [KernelDensity(torch.from_numpy(training[:, k : k + 1]), noise) for k in range(2)]
    expected = sum(each.log_prob(torch.from_numpy(test[:, k : k + 1])).numpy() for k, each in enumerate(alone))
    np.testing.assert_allclose(OnRealLine(rows(training), plain(training), noise).log_prob(rows(test)), expected)


def test_rows_without_a_number_are_scored_by_what_is_there() -> None:
    noise = np.random.default_rng(8)
    training = banana(300, 9)
    states = (np.arange(300) % 3 == 0).astype(np.int64)[:, None]
    of = Layout(("a", "b"), (("b", 2),), supports=(Support(), Support()), states=(None, 0))
    density = OnRealLine(rows(training, states), of, noise, lambda numbers: KernelDensity(numbers, noise))
    found = density.log_prob(rows(training[:2], np.array([[0], [1]])))
    there = torch.from_numpy(training[states[:, 0] == 0])
    whole = KernelDensity(there, noise).log_prob(torch.from_numpy(training[:1])) + np.log(2 / 3)
    first = KernelDensity(torch.from_numpy(training[:, :1]), noise).log_prob(torch.from_numpy(training[1:2, :1]))
    np.testing.assert_allclose(found, [float(whole), float(first + np.log(1 / 3))], atol=1e-6)


def test_rows_on_a_grid_have_no_spikes() -> None:
    """Half of the rows are at two points: spread over the step, no bandwidth gains by being small."""
    noise = np.random.default_rng(10)
    numbers = np.round(noise.normal(size=(500, 1)))
    of = Layout(("a",), supports=(Support(step=1.0),))
    found = OnRealLine(rows(numbers), of, noise).log_prob(rows(np.zeros((1, 1))))
    assert found[0] == pytest.approx(np.log((numbers == 0).mean()), abs=0.1)
