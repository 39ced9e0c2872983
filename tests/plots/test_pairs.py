"""The matrix of data against samples."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from scipy.integrate import trapezoid

from flowcli.plots.pairs import pairs
from flowcli.plots.style import BLUE, VERMILION

from .cases import COLUMNS, line, number, panels, table


@pytest.fixture(scope="module")
def figure():
    return pairs(COLUMNS, table(300), table(4000, seed=1), "300 rows", "4,000 samples")


def test_panels_and_their_names(figure):
    grid = panels(figure)
    assert grid.shape == (3, 3)
    assert [axes.get_xlabel() for axes in grid[-1]] == ["height [cm]", "weight [kg]", "species"]
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["height [cm]", "weight [kg]", "species"]
    assert {axes.get_xlabel() for axes in grid[:-1].flat} == {""}
    keys = [text.get_text() for text in figure.legends[0].get_texts()]
    assert keys[:2] == ["300 rows", "4,000 samples"]


def test_marginals_are_densities(figure):
    axes = panels(figure)[1, 1]
    assert trapezoid(*reversed(line(axes, "model"))) == pytest.approx(1, abs=0.01)
    bars = next(patch for patch in axes.patches if patch.get_label() == "data").get_data()
    assert (bars.values * np.diff(bars.edges)).sum() == pytest.approx(1)


def test_data_are_above_and_the_model_below(figure):
    grid = panels(figure)
    points = grid[0, 1].collections[-1].get_offsets()
    assert len(points) == 300
    np.testing.assert_allclose(np.sort(points[:, 0]), np.sort(table(300)["weight"].to_numpy()))
    assert not any(len(c.get_offsets()) == 300 for c in grid[1, 0].collections)
    assert grid[0, 1].get_ylim() == grid[1, 0].get_xlim()


def test_labels_are_grouped_bars(figure):
    bars = panels(figure)[2, 2].containers
    assert [group.get_label() for group in bars] == ["data", "model"]
    shares = [sum(c == name for c in table(300)["species"].to_pylist()) / 300 for name in "abc"]
    np.testing.assert_allclose([bar.get_height() for bar in bars[0]], shares)
    # Told apart without colours, too.
    assert bars[1][0].get_hatch()
    assert not bars[0][0].get_hatch()
    assert BLUE != VERMILION


def test_missing_cells_and_spikes_are_told():
    column = number("rain", missing=True, spikes=(0.0,))
    data = pa.table({"rain": [0.0, 0.0, None, 1.5, 2.5, 3.5, 0.5, 4.5, 1.0, 2.0]})
    figure = pairs([column], data, data, "data", "model")
    (axes,) = figure.axes
    told = " ".join(text.get_text() for text in axes.texts)
    assert "missing 10% | 10%" in told
    assert "at 0 20% | 20%" in told
    bars = next(patch for patch in axes.patches if patch.get_label() == "data").get_data()
    assert (bars.values * np.diff(bars.edges)).sum() == pytest.approx(1)


def test_text_is_within_the_picture():
    many = [number(f"a_rather_long_name_of_column_{at}", unit="kg m^2") for at in range(8)]
    noise = np.random.default_rng(0)
    data = pa.table({column.name: noise.normal(size=200) * 10.0**at for at, column in enumerate(many)})
    figure = pairs(many, data, data, "data", "model")
    figure.canvas.draw()
    whole = figure.bbox
    boxes = [axes.xaxis.label.get_window_extent() for axes in panels(figure)[-1]]
    for box, following in itertools.pairwise(boxes):
        assert box.x1 <= following.x0
    for axes in figure.axes:
        for text in (axes.xaxis.label, axes.yaxis.label):
            box = text.get_window_extent()
            if text.get_text():
                assert box.x0 >= whole.x0
                assert box.x1 <= whole.x1
                assert box.y0 >= whole.y0
                assert box.y1 <= whole.y1
