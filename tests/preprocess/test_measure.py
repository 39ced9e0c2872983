"""What the training rows say of a column."""

import numpy as np
import pyarrow as pa
import pytest

from flowcli.config.schema import ColumnConfig
from flowcli.errors import DataError
from flowcli.preprocess.measure import fit_columns
from flowcli.tables.columns import Column
from flowcli.tables.infer import infer_columns
from flowcli.tables.table import Origin, Table

RANDOM = np.random.default_rng(0)


def measured(values, config: ColumnConfig | None = None, **options) -> Column:
    """A column of these values, inferred and measured on all of them."""
    values = pa.array(values)
    table = Table(
        pa.table({"other": pa.array(RANDOM.normal(size=len(values))), "x": values}), (Origin("t", 1, len(values)),)
    )
    return fit_columns(infer_columns(table, kinds={"x": config} if config else {}), table, **options)[1]


def test_few_positive_numbers_are_not_a_bound():
    """30 draws of a normal two deviations above zero are often all positive; the next one need not be."""
    for seed in range(20):
        values = np.abs(np.random.default_rng(seed).normal(2, 1, 30))
        assert measured(values).lower is None


def test_numbers_far_above_zero_have_no_bound():
    assert measured(RANDOM.normal(170, 10, 5000)).lower is None


def test_prices_are_positive():
    column = measured(RANDOM.lognormal(3, 1, 2000))
    assert (column.lower, column.upper, column.map) == (0, None, "log")
    assert measured(RANDOM.gamma(2.0, size=2000)).lower == 0


def test_shares_lie_between_bounds():
    column = measured(RANDOM.beta(0.8, 0.7, 2000))
    assert (column.lower, column.upper, column.map) == (0, 1, "logit")
    assert measured(100 * RANDOM.beta(0.8, 0.7, 2000)).upper == 100
    # Nothing says that 1 is the end.
    assert measured(RANDOM.beta(2, 8, 2000)).upper is None


def test_heavy_tails_are_found_and_normal_ones_are_not():
    assert measured(RANDOM.standard_t(1.5, 3000)).map == "arcsinh"
    assert "heavy-tailed" in measured(RANDOM.standard_t(1.5, 3000)).nature
    assert measured(RANDOM.normal(size=3000)).map == "none"
    assert measured(RANDOM.uniform(-1, 1, size=3000)).map == "none"


def test_a_given_column_of_heavy_tails_is_standardised_robustly():
    heavy, normal = RANDOM.standard_t(1.1, 3000), RANDOM.normal(5, 2, 3000)
    table = Table(pa.table({"y": RANDOM.normal(size=3000), "h": heavy, "n": normal}), (Origin("t", 1, 3000),))
    _, h, n = fit_columns(infer_columns(table, context=["h", "n"]), table)
    assert (h.map, n.map) == ("none", "none")
    low, median, high = np.quantile(heavy, [0.25, 0.5, 0.75])
    assert (h.mean, h.scale) == pytest.approx((median, (high - low) / 1.349))
    assert (n.mean, n.scale) == pytest.approx((normal.mean(), normal.std()))


def test_a_spike_of_zeros():
    values = np.where(RANDOM.random(2000) < 0.3, 0.0, RANDOM.lognormal(size=2000))
    column = measured(values)
    assert (column.spikes, column.lower, column.map) == ((0.0,), 0.0, "log")
    assert measured(values, spikes=False).spikes == ()
    assert measured(RANDOM.normal(size=2000)).spikes == ()


def test_heaps_are_spikes_and_modes_are_not():
    smooth = np.rint(RANDOM.normal(0, 12, 4000))
    assert measured(smooth).spikes == ()
    heaped = np.where(RANDOM.random(4000) < 0.4, 5 * np.rint(smooth / 5), smooth)
    spikes = measured(heaped).spikes
    assert {0.0, 5.0, -5.0, 10.0} <= set(spikes)
    assert all(spike % 5 == 0 for spike in spikes)
    # At the end of the range there is nothing below, which is no spike.
    assert measured(np.floor(RANDOM.exponential(20, 5000))).spikes == ()


def test_few_counts_have_probabilities_each():
    column = measured(RANDOM.choice([1, 2, 3, 4, 9], 1000, p=[0.3, 0.3, 0.2, 0.185, 0.015]))
    assert set(column.spikes) == {1.0, 2.0, 3.0, 4.0}
    assert column.states == 5


def test_what_the_config_says():
    values = RANDOM.normal(0.5, 0.1, 500)
    column = measured(values, ColumnConfig(lower=-1.0, upper=3.0))
    assert (column.lower, column.upper, column.map) == (-1, 3, "logit")
    column = measured(values, ColumnConfig(upper=3.0))
    assert (column.lower, column.upper) == (None, 3)
    assert column.scale < 0
    assert measured(np.r_[values, 0.0], ColumnConfig(spikes=[0.0])).spikes == (0.0,)
    assert measured(np.rint(values * 10) / 10, ColumnConfig(kind="continuous")).step is None
    assert measured(np.rint(values * 10), ColumnConfig(kind="integer")).step == 1


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (ColumnConfig(lower=0.0), "-1 in row 3 is below 0.0"),
        (ColumnConfig(upper=2.0), "5 in row 4 is above 2.0"),
        (ColumnConfig(step=2.0), "off the grid of steps of 2"),
    ],
)
def test_what_the_config_says_must_hold(config, told):
    with pytest.raises(DataError, match=told):
        measured([1.0, 2.0, -1.0, 5.0] * 10, config)


def test_exact_ends_stay_inside():
    """Zeros that are no spike, and ones, in a column between bounds: each has a place on the real line."""
    values = np.r_[RANDOM.random(500), 0.0, 1.0]
    column = measured(values, ColumnConfig(lower=0.0, upper=1.0))
    u = (values - column.mean) / column.scale
    assert ((u > 0) & (u < 1)).all()


def test_holes_can_be_filled():
    cells = pa.array([1.0, None, 3.0, 100.0, 2.0] * 20)
    column = measured(cells, missing="impute")
    assert (column.missing, column.fill) == (False, "3")
    assert measured(pa.array(["a", "b", "b", None] * 20), missing="impute").fill == "b"
    assert measured(cells).missing
