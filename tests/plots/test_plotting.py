"""Pictures of models: which rows, which columns, and that what is drawn is what the model says."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import trapezoid

import flowcli
from flowcli.errors import UsageError
from flowcli.flows.rows import Rows
from flowcli.held_out import held_out_rows
from flowcli.model import Model
from flowcli.plots.flow_path import factor_with, flow_path
from flowcli.plotting import Data, density_columns, density_picture, flow_steps, latents_picture, pairs_picture
from flowcli.tables.arrays import floats_of
from flowcli.tables.frames import as_table

from .cases import line, panels

NONE = {"train__epochs": 0}
CHAIN = {
    "flow": {"repeat": 2, "transforms": ["affine_coupling", "triangular_affine", {"permute": {"order": "reverse"}}]}
}


def frame(columns: int) -> pd.DataFrame:
    noise = np.random.default_rng(0)
    first = noise.normal(5, 2, 200)
    names = {"a": first, "b": 0.7 * first + noise.normal(0, 1, 200), "c": noise.normal(0, 1, 200)}
    return pd.DataFrame(names).iloc[:, :columns]


@pytest.fixture(scope="module")
def models():
    units = {"a": {"unit": "mm"}, "b": {"unit": "kg"}}
    return {
        columns: flowcli.fit(
            frame(columns), **CHAIN, **NONE, data__kinds={name: units[name] for name in "ab"[:columns]}
        )
        if columns > 1
        else flowcli.fit(frame(1), flow={"transforms": ["triangular_affine"]}, data__kinds={"a": units["a"]}, **NONE)
        for columns in (1, 2, 3)
    }


def density(model, columns, n=2000, **more):
    data = Data(as_table(frame(3)), "rows")
    chosen = density_columns(model.header.columns, columns)
    draw = {"draw": lambda count: model.sample_chunks(count, seed=0), "n": n, "context": None, "conditioned": False}
    return density_picture(model, "it", chosen, data, **{**draw, **more})


def test_an_exact_line_is_the_density(models):
    axes = density(models[1], []).axes[0]
    x, height = line(axes, "model")
    np.testing.assert_allclose(height, np.exp(models[1].log_prob(pd.DataFrame({"a": x}))), rtol=1e-12)
    assert trapezoid(height, x) == pytest.approx(1, abs=0.02)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("a [mm]", "density [1 / mm]")


def test_an_exact_image_is_the_density(models):
    figure = density(models[2], [])
    axes, bar = figure.axes
    mesh = axes.collections[0]
    corners = mesh.get_coordinates()
    middle = (corners[1:, 1:] + corners[:-1, :-1]) / 2
    grid = pd.DataFrame(middle.reshape(-1, 2), columns=["a", "b"])
    shown = np.asarray(mesh.get_array()).reshape(-1)
    np.testing.assert_allclose(shown, np.exp(models[2].log_prob(grid)), rtol=1e-6, atol=1e-12)
    area = np.prod(middle[1, 1] - middle[0, 0])
    assert shown.sum() * area == pytest.approx(1, abs=0.03)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("a [mm]", "b [kg]")
    assert bar.get_ylabel() == "density [1 / (mm · kg)]"


def test_columns_are_integrated_out_by_samples(models):
    axes = density(models[3], ["a"], n=20_000).axes[0]
    x, height = line(axes, "model")
    assert trapezoid(height, x) == pytest.approx(1, abs=0.02)
    # With a linear map before training, the model is the normal of the training rows.
    exact = line(density(models[1], []).axes[0], "model")
    np.testing.assert_allclose(height, np.interp(x, *exact), atol=0.03)


def test_pairs_show_the_columns_asked_for(models):
    data = Data(as_table(frame(3)), "rows")
    figure = pairs_picture(models[3], "it", data, ["c", "a"], 500, seed=0)
    assert [axes.get_xlabel() for axes in panels(figure)[-1]] == ["c", "a [mm]"]
    with pytest.raises(UsageError, match="'d'"):
        pairs_picture(models[3], "it", data, ["d"], 500, seed=0)


def test_latents_are_those_of_encode(models):
    table = as_table(frame(3))
    figure = latents_picture(models[3], "it", Data(table, "rows"), pytest.fail)
    encoded = models[3].encode(table)
    for at, name in enumerate(("z1", "z2", "z3")):
        (points,) = [line for line in panels(figure)[at, at].get_lines() if line.get_marker() == "o"]
        np.testing.assert_array_equal(points.get_ydata(), np.sort(floats_of(encoded.column(name))))


def test_steps_lead_from_the_latents_to_the_data(models):
    model = models[3]
    encoded = model.encoder.encode(as_table(frame(3)))
    rows = Rows.of(encoded, torch.device("cpu"), torch.float64)
    path = flow_path(model.density, 0, (0, 2), rows)
    # A permutation has no step.
    names = ["affine_coupling", "triangular_affine"] * 2
    assert [step.name for step in path] == ["base", *names, "data"]
    latent = model.density.encode(rows).detach().numpy()
    # Two reversals undo each other.
    np.testing.assert_allclose(path[0].points, latent[:, [0, 2]], atol=1e-12)
    np.testing.assert_array_equal(path[-1].points, encoded.numbers[:, [0, 2]])


def test_coordinates_are_followed_through_permutations():
    model = flowcli.fit(frame(3), flow={"transforms": [{"permute": {"order": [2, 3, 1]}}, "affine"]}, **NONE)
    encoded = model.encoder.encode(as_table(frame(3)))
    rows = Rows.of(encoded, torch.device("cpu"), torch.float64)
    path = flow_path(model.density, 0, (0, 1), rows)
    assert [step.name for step in path] == ["base", "affine", "data"]
    # Untrained, the affine map is the identity, and nothing but the order changes.
    np.testing.assert_allclose(path[0].points, path[1].points)


def test_steps_in_the_data_s_units(models):
    found = flow_steps(models[3], "it", ["a", "c"], 400, None, seed=0)
    assert [column.name for column in found.columns] == ["a [mm]", "c"]
    assert found.path[-1].points.mean(axis=0) == pytest.approx([5, 0], abs=0.8)
    figure = found.picture()
    titles = [axes.get_title("left") for axes in figure.axes if axes.axison]
    assert titles[0] == "base"
    assert titles[-1] == "data"
    assert len(titles) == len(found.path)
    assert figure.axes[len(titles) - 1].get_xlabel() == "a [mm]"
    with pytest.raises(UsageError, match="two modelled number columns"):
        flow_steps(models[3], "it", ["a"], 400, None, seed=0)
    with pytest.raises(UsageError, match="no flow of two number columns"):
        flow_steps(models[1], "it", [], 400, None, seed=0)


def test_columns_of_different_factors_have_no_steps_together(models):
    factors = [
        {"columns": ["a"], "transforms": ["affine"]},
        {"columns": ["b", "c"], "given": ["a"], "transforms": ["affine"]},
    ]
    model = flowcli.fit(frame(3), flow={"factors": factors}, **NONE)
    assert factor_with(model.density, (1, 2)) == 1
    with pytest.raises(UsageError, match="different factors"):
        flow_steps(model, "it", ["a", "b"], 100, None, seed=0)
    assert "the factor of b, c" in flow_steps(model, "it", [], 100, None, seed=0).what


def test_held_out_rows_are_those_of_the_fit(iris_run, iris):
    model = Model.load(iris_run)
    table = held_out_rows(model.header)
    assert len(table) == 15
    scores = pd.read_csv(iris_run / "test_scores.csv")
    lines = iris.read_text().splitlines()
    kept = [",".join(map(str, row.values())) for row in table.cells.to_pylist()]
    tested = [lines[row] for row in scores["row"]]
    assert sorted(set(kept) & set(tested)) == sorted(set(tested))
    found = model.log_prob(table.take(np.array([kept.index(text) for text in tested])))
    np.testing.assert_allclose(found, scores["log_prob"], atol=1e-9)


def test_held_out_rows_that_are_not_there(models, iris_run):
    with pytest.raises(UsageError, match="Python: name DATA"):
        held_out_rows(models[1].header)
    header = Model.load(iris_run).header
    header.data["sha256"] = ["0" * 64]
    with pytest.raises(UsageError, match="has changed"):
        held_out_rows(header)
    header.data["files"] = ["nowhere.csv"]
    with pytest.raises(UsageError, match=r"nowhere\.csv, is not there"):
        held_out_rows(header)


def test_labels_have_densities_too(iris_run, iris):
    model = Model.load(iris_run)
    data = Data(held_out_rows(model.header), "rows")
    for names, panels_there in (
        (["species"], 1),
        (["petal_length", "species"], 1),
        (["petal_length", "petal_width"], 2),
    ):
        chosen = density_columns(model.header.columns, names)
        draw = lambda count: model.sample_chunks(count, seed=0)  # noqa: E731
        figure = density_picture(model, "it", chosen, data, draw, 500, None, False)
        assert len(figure.axes) == panels_there
