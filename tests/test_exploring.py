"""Densities that move with the context: on what grid, and that they are the model's."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import trapezoid

import flowcli
from flowcli import exploring
from flowcli.exploring import explore
from flowcli.model import Model
from flowcli.tables.frames import as_table

NONE = {"train__epochs": 0}


def frame() -> pd.DataFrame:
    noise = np.random.default_rng(0)
    kind = noise.integers(0, 2, 300)
    size = np.round(noise.normal(20, 4, 300), 1)
    return pd.DataFrame(
        {
            "kind": np.array(["a", "b"])[kind],
            "size": size,
            "weight": 3 * size + 10 * kind + noise.normal(0, 2, 300),
            "height": size - 5 * kind + noise.normal(0, 1, 300),
            "colour": np.where(noise.random(300) < size / 40, "red", "green"),
        }
    )


def fitted(table: pd.DataFrame, *context: str, preset: str = "gaussian") -> Model:
    return flowcli.fit(table, preset, data__context=list(context), **NONE)


def rows(found, context: int, column: str, values) -> pd.DataFrame:
    """The rows that a context of the grid asks for, from what the sliders say."""
    positions = np.unravel_index(context, [len(slider.texts) for slider in found.sliders])
    given = {slider.name: slider.texts[at] for slider, at in zip(found.sliders, positions, strict=True)}
    return pd.DataFrame(
        {**{name: [text] * len(values) for name, text in [*given.items(), *found.fixed]}, column: values}
    )


@pytest.fixture(scope="module")
def one():
    table = frame()[["kind", "size", "weight"]]
    model = fitted(table, "kind", "size")
    return model, explore(model, as_table(table), 0)


def test_one_column_is_exact_at_every_position(one):
    model, found = one
    (weight,) = found.explored
    assert found.samples is None
    assert found.contexts == len(weight.heights) == np.prod([len(slider.texts) for slider in found.sliders])
    assert [len(slider.texts) for slider in found.sliders] == [2, exploring.MOST_POSITIONS]
    for context in (0, 7, found.contexts - 1):
        exact = np.exp(model.log_prob(rows(found, context, "weight", weight.places)))
        np.testing.assert_allclose(weight.heights[context], exact, rtol=1e-9, atol=1e-300)
        assert trapezoid(weight.heights[context], weight.places) == pytest.approx(1, abs=0.05)


def test_it_starts_where_rows_are_typical(one):
    _, found = one
    kind, size = found.sliders
    assert kind.texts[kind.start] == frame()["kind"].mode()[0]
    assert float(size.texts[size.start]) == pytest.approx(frame()["size"].median(), abs=0.5)


def test_labels_have_probabilities_that_sum_to_one():
    table = frame()[["size", "colour"]]
    model = fitted(table, "size")
    found = explore(model, as_table(table), 0)
    (colour,) = found.explored
    np.testing.assert_allclose(colour.heights.sum(axis=1), 1)
    exact = np.exp(model.log_prob(rows(found, 3, "colour", colour.shown.labels)))
    np.testing.assert_allclose(colour.heights[3], exact, rtol=1e-9)


def test_missing_cells_and_spikes_have_their_share():
    table = frame()[["size", "weight"]]
    table.loc[::4, "weight"] = np.nan
    table.loc[1::4, "weight"] = 0.0
    model = fitted(table, "size", preset="nsf_autoregressive")
    (weight,) = explore(model, as_table(table), 0).explored
    assert {*weight.masses} == {"missing", "at 0"}
    total = trapezoid(weight.heights, weight.places, axis=1) + sum(weight.masses.values())
    np.testing.assert_allclose(total, 1, atol=0.05)


def test_several_columns_are_marginals(one):
    table = frame()[["kind", "size", "weight", "height"]]
    found = explore(fitted(table, "kind", "size"), as_table(table), 0)
    assert found.samples == exploring.SAMPLES_EACH
    assert found.contexts <= exploring.ROWS / exploring.SAMPLES_EACH
    weight, _ = found.explored
    # The conditional marginal of a Gaussian is that of the Gaussian without the other column.
    exact = np.exp(
        fitted(table.drop(columns="height"), "kind", "size").log_prob(rows(found, 5, "weight", weight.places))
    )
    np.testing.assert_allclose(weight.heights[5], exact, atol=0.3 * exact.max())


def test_no_more_contexts_than_are_affordable():
    noise = np.random.default_rng(0)
    table = pd.DataFrame(noise.normal(size=(200, 9)), columns=list("abcdefghy"))
    found = explore(fitted(table, *"abcdefgh"), as_table(table), 0)
    assert found.contexts <= exploring.ROWS / exploring.PLACES
    assert [slider.name for slider in found.sliders] == list("abc")
    assert {name for name, _ in found.fixed} == set("defgh")


def test_dates_are_positions_too():
    table = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=120).strftime("%Y-%m-%d")})
    table["y"] = np.random.default_rng(0).normal(np.arange(120) / 30, 1)
    model = fitted(table, "day")
    found = explore(model, as_table(table), 0)
    (day,) = found.sliders
    assert all(len(text) == 10 and text.startswith("2024-") for text in day.texts)
    (y,) = found.explored
    exact = np.exp(model.log_prob(rows(found, 2, "y", y.places)))
    np.testing.assert_allclose(y.heights[2], exact, rtol=1e-9)


def test_a_context_that_rows_do_not_vary_is_not_moved():
    table = frame()[["kind", "weight"]]
    model = fitted(table, "kind")
    some = table[table["kind"] == "a"].assign(kind="a")
    found = explore(model, as_table(some), 0)
    assert [slider.texts for slider in found.sliders] == [["a", "b"]]
    sizes = frame()[["size", "weight"]]
    found = explore(fitted(sizes, "size"), as_table(sizes.assign(size=20.0)), 0)
    assert (found.sliders, found.fixed, found.contexts) == ([], [("size", "20.0")], 1)
    assert found.explored[0].heights.shape[0] == 1
