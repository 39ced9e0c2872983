"""Places, limits and bins of a column."""

import numpy as np
import pytest
from matplotlib.dates import num2date
from matplotlib.figure import Figure

from flowcli.plots.shown_column import OTHERS, ShownColumn
from flowcli.tables.columns import Column

from .cases import cells, label, number


def test_a_name_has_its_unit():
    assert ShownColumn(number("height", unit="mm"), cells("1")).name == "height [mm]"
    assert ShownColumn(number("height"), cells("1")).name == "height"
    assert len(ShownColumn(number("x" * 500), cells("1")).name) < 50


@pytest.mark.parametrize(("step", "origin"), [(1.0, 0.0), (0.1, 0.3), (5.0, 2.0)])
@pytest.mark.parametrize("rows", [30, 3000])
def test_bins_hold_equally_many_places_of_a_grid(step, origin, rows):
    places = origin + step * np.random.default_rng(0).integers(-40, 40, rows)
    column = ShownColumn(number(step=step, origin=origin), cells("1"))
    low, high = column.limits(places)
    edges = column.bins(places, low, high)
    assert edges[0] <= low
    assert edges[-1] >= high
    grid = origin + step * np.arange(-100, 100)
    held = np.histogram(grid[(grid > edges[0]) & (grid < edges[-1])], edges)[0]
    assert len(set(held)) == 1
    # Edges are far from all places.
    assert np.abs((edges - origin) / step - np.rint((edges - origin) / step)).min() == pytest.approx(0.5)


def test_a_heavy_tail_does_not_squeeze_the_rest():
    places = np.random.default_rng(0).standard_cauchy(10_000)
    low, high = ShownColumn(number(), cells("1")).limits(places)
    assert np.abs(places).max() > 1000
    assert -80 < low < -20
    assert 20 < high < 80


def test_a_light_tail_is_shown_whole():
    places = np.random.default_rng(0).standard_normal(10_000)
    low, high = ShownColumn(number(), cells("1")).limits(places)
    assert low < places.min()
    assert high > places.max()


def test_one_value_has_limits():
    low, high = ShownColumn(number(), cells("1")).limits(np.full(5, 3.0))
    assert low < 3 < high


def test_dates_stand_in_days():
    column = ShownColumn(Column(name="when", kind="date", reason="", date_format="%Y-%m-%d %H:%M"), cells("x"))
    places = column.places(cells("1970-01-02 12:00", "2024-02-29 00:00", None))
    assert places[0] == 1.5
    assert num2date(places[1]).date().isoformat() == "2024-02-29"
    assert np.isnan(places[2])
    axes = Figure().subplots()
    axes.set_xlim(places[1], places[1] + 60)
    column.dress(axes.xaxis)
    assert "Mar" in " ".join(tick.get_text() for tick in axes.get_xticklabels())


def test_many_labels_are_the_commonest_and_the_rest():
    column = label(categories=tuple("abcdefghijkl"))
    shown = ShownColumn(column, cells(*"abcdefghijkl", *"lkjihgf" * 3))
    assert shown.labels == [*"fghijkl", OTHERS]
    assert shown.places(cells("f", "a", None, "new")).tolist()[:2] == [0.0, 7.0]
    assert np.isnan(shown.places(cells("f", None))[1])


def test_numbers_are_spread_over_their_step_alone():
    noise = np.random.default_rng(0)
    places = np.repeat([1.0, 2.0], 500)
    moved = ShownColumn(number(step=1.0), cells("1")).spread(places, noise)
    assert 0.4 < np.abs(moved - places).max() <= 0.5
    assert ShownColumn(number(), cells("1")).spread(places, noise) is places
