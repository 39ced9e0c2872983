"""The curves of a training."""

import numpy as np
import pytest

from flowcli.plots.training import training

from .cases import line

EPOCHS = np.arange(1.0, 31)
HISTORY = {
    "epoch": EPOCHS,
    "training_log_likelihood": -3 - 100 / EPOCHS**2,
    "validation_log_likelihood": -3.1 - (EPOCHS - 20) ** 2 / 500,
    "learning_rate": np.linspace(2e-3, 0, 30),
}
TEST = {"mean": -3.2, "standard_error": 0.1, "n": 40}


def test_what_is_drawn():
    figure = training(HISTORY, {"best_epoch": 20, "test_log_likelihood": TEST})
    axes, rate = figure.axes
    np.testing.assert_array_equal(line(axes, "training")[1], HISTORY["training_log_likelihood"])
    np.testing.assert_array_equal(line(axes, "validation")[1], HISTORY["validation_log_likelihood"])
    assert line(axes, "epoch 20, which is kept") == ([20], [pytest.approx(-3.1)])
    height = line(axes, "test: −3.200 ± 0.100, n = 40")[1]
    np.testing.assert_allclose(height, -3.2)
    band = axes.patches[0]
    assert (band.get_y(), band.get_height()) == (pytest.approx(-3.3), pytest.approx(0.2))
    np.testing.assert_array_equal(rate.get_lines()[0].get_ydata(), HISTORY["learning_rate"])
    assert axes.get_ylabel() == "log-likelihood (nats per row)"
    assert rate.get_xlabel() == "epoch"
    # The first epochs do not flatten the rest.
    assert axes.get_ylim()[0] > -15


def test_without_validation_and_test():
    nothing = np.full(30, np.nan)
    figure = training(
        {**HISTORY, "validation_log_likelihood": nothing}, {"best_epoch": 30, "test_log_likelihood": None}
    )
    names = figure.axes[0].get_legend_handles_labels()[1]
    assert names == ["training", "epoch 30, which is kept"]
