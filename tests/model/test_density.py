"""A density, in the data's own units."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from flowcli.fitting import Fitted
from flowcli.flows.flow import Flow
from flowcli.model import Model

from .cases import QUICK, fit


def axis(values: pd.Series, points: int, margin: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Nodes around the values, and trapezoidal weights."""
    reach = margin * (values.max() - values.min())
    nodes = np.linspace(values.min() - reach, values.max() + reach, points)
    return nodes, np.full(points, nodes[1] - nodes[0])


def stretched(values: pd.Series, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes that lie close together among the values and reach a thousand times as far."""
    steps = np.linspace(-8, 8, points)
    scale = values.std() / 2
    return values.median() + scale * np.sinh(steps), scale * np.cosh(steps) * (steps[1] - steps[0])


def test_one_column_integrates_to_one() -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.normal(2000, 30, 300), generator.normal(2300, 60, 200)])
    frame = pd.DataFrame({"x": values})
    model = fit(frame, *QUICK).model
    nodes, weight = axis(frame["x"], 20_001)
    assert np.exp(model.log_prob(pd.DataFrame({"x": nodes}))) @ weight == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("config", [None, "maf", "nsf_coupling"])
def test_two_columns_integrate_to_one(config: str | None) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=500)
    frame = pd.DataFrame({"x": 1e-3 * x, "y": 50 + 20 * (x**2 + 0.3 * generator.normal(size=500))})
    model = fit(frame, *QUICK, config=config).model
    (x_nodes, x_weight), (y_nodes, y_weight) = stretched(frame["x"], 601), stretched(frame["y"], 601)
    grid = pd.DataFrame({"x": np.repeat(x_nodes, len(y_nodes)), "y": np.tile(y_nodes, len(x_nodes))})
    density = np.exp(model.log_prob(grid)).reshape(len(x_nodes), len(y_nodes))
    assert x_weight @ density @ y_weight == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("factor", "tolerance"), [(1024, 1e-5), (1 / 1024, 1e-5), (1000, 0.02)])
def test_units_change_the_score_by_their_logarithm(
    mixed: pd.DataFrame, fitted: Fitted, factor: float, tolerance: float
) -> None:
    scaled = mixed.assign(height=mixed["height"] * factor)
    expected = fitted.model.log_prob(mixed) - math.log(factor)
    np.testing.assert_allclose(fit(scaled, *QUICK).model.log_prob(scaled), expected, atol=tolerance)


def test_an_offset_changes_nothing(mixed: pd.DataFrame, fitted: Fitted) -> None:
    moved = mixed.assign(weight=mixed["weight"] + 1000)
    np.testing.assert_allclose(fit(moved, *QUICK).model.log_prob(moved), fitted.model.log_prob(mixed), atol=0.02)


@pytest.fixture(scope="module")
def iris_model(iris: pd.DataFrame) -> Model:
    return fit(iris, *QUICK).model


def test_summing_over_the_label_gives_the_marginal(iris: pd.DataFrame, iris_model: Model) -> None:
    species = sorted(iris["species"].unique())
    joint = np.stack([iris_model.log_prob(iris.assign(species=name)) for name in species])
    frequencies = iris_model.density.factors[0].labels.frequencies.numpy()
    assert frequencies.sum() == pytest.approx(1, abs=1e-6)
    columns = {column.name: column for column in iris_model.header.columns}
    numbers = [columns[name] for name in iris if name != "species"]
    assert columns["species"].categories == tuple(species)
    units = np.stack([(iris[c.name] - c.mean) / c.scale for c in numbers], axis=1)
    # One column has a bound at zero, and is taken to the real line by the inverse of the softplus.
    assert [c.map for c in numbers] == ["none", "none", "none", "softplus"]
    standardized, log_slope = units.copy(), -np.log1p(-np.exp(-units[:, 3])) - math.log(numbers[3].spread)
    standardized[:, 3] = (np.log(np.expm1(units[:, 3])) - numbers[3].center) / numbers[3].spread
    flow = iris_model.density.factors[0].flow
    assert isinstance(flow, Flow)
    by_hand = []
    for position, probability in enumerate(frequencies):
        one_hot = torch.eye(3, dtype=torch.float64)[position].expand(len(iris), -1)
        with torch.inference_mode():
            given_species = flow.log_prob(torch.from_numpy(standardized), one_hot).numpy()
        log_det = log_slope - sum(math.log(c.scale) for c in numbers)
        by_hand.append(given_species + log_det + math.log(probability))
    np.testing.assert_allclose(joint, np.stack(by_hand), atol=1e-6)
    np.testing.assert_allclose(np.exp(joint).sum(0), np.exp(np.stack(by_hand)).sum(0), rtol=1e-6)


def test_sampled_labels_have_their_frequencies(iris_model: Model) -> None:
    drawn = iris_model.sample(20_000, seed=0)["species"].value_counts(normalize=True)
    for name, probability in zip(
        iris_model.header.columns[-1].categories, iris_model.density.factors[0].labels.frequencies.tolist(), strict=True
    ):
        assert drawn[name] == pytest.approx(probability, abs=4 * math.sqrt(probability * (1 - probability) / 20_000))


def test_ordinals_far_from_zero_are_as_good_as_near_ones() -> None:
    counts = np.random.default_rng(0).poisson(20, 400)
    means = []
    for offset in (0, 1_700_000_000):
        frame = pd.DataFrame({"count": counts + offset})
        fitted = fit(frame, "data.kinds.count=ordinal", "train.epochs=20")
        means.append(fitted.model.log_prob(frame).mean())
        drawn = fitted.model.sample(500, seed=0)["count"]
        assert drawn.nunique() > 10
        assert drawn.mean() == pytest.approx(20 + offset, abs=1.5)
    assert means[0] == pytest.approx(means[1], abs=1e-6)
