"""The same numbers, however they are asked for."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load

from flowcli.errors import DataError
from flowcli.fitting import Fitted
from flowcli.model import Model


def test_a_loaded_model_scores_the_same(fitted: Fitted, mixed: pd.DataFrame, file: Path) -> None:
    loaded = Model.load(file, "cpu")
    assert np.array_equal(loaded.log_prob(mixed), fitted.model.log_prob(mixed))
    pd.testing.assert_frame_equal(loaded.sample(50, seed=1), fitted.model.sample(50, seed=1))
    assert loaded.header == fitted.model.header
    assert loaded.header.config == fitted.model.header.config
    again, saved = load(loaded.to_bytes()), load(file.read_bytes())
    assert set(again) == set(saved)
    assert all(torch.equal(again[name], saved[name]) for name in saved)


def test_a_score_depends_on_its_row_alone(fitted: Fitted, mixed: pd.DataFrame) -> None:
    expected = fitted.model.log_prob(mixed)
    order = np.random.default_rng(1).permutation(len(mixed))
    np.testing.assert_allclose(fitted.model.log_prob(mixed.iloc[order]), expected[order], atol=1e-5)
    for size, rows in ((1, 50), (7, len(mixed))):
        parts = [fitted.model.log_prob(mixed.iloc[at : at + size]) for at in range(0, rows, size)]
        np.testing.assert_allclose(np.concatenate(parts)[:rows], expected[:rows], atol=1e-5)
    # Columns are found by name.
    np.testing.assert_array_equal(fitted.model.log_prob(mixed[["size", "weight", "group", "height"]]), expected)


def test_shorter_samples_start_longer_ones(fitted: Fitted) -> None:
    long = fitted.model.sample(5000, seed=4)
    assert len(long) == 5000
    pd.testing.assert_frame_equal(fitted.model.sample(10, seed=4), long.head(10))
    assert not fitted.model.sample(10, seed=5).equals(long.head(10))
    assert len(fitted.model.sample(0, seed=4)) == 0


def test_encode_and_decode(fitted: Fitted, mixed: pd.DataFrame) -> None:
    latent = fitted.model.encode(mixed)
    assert list(latent) == ["z1", "z2", "group", "size"]
    back = fitted.model.decode(latent)
    assert list(back) == list(mixed)
    np.testing.assert_allclose(back[["height", "weight"]], mixed[["height", "weight"]], rtol=1e-6)
    assert back["group"].tolist() == mixed["group"].tolist()


def test_an_unseen_label_is_impossible(fitted: Fitted, mixed: pd.DataFrame) -> None:
    log_prob = fitted.model.log_prob(mixed.head(3).assign(group=["a", "z", "b"]))
    assert np.isneginf(log_prob).tolist() == [False, True, False]


def test_a_row_that_cannot_be_scored(fitted: Fitted, mixed: pd.DataFrame) -> None:
    bad = mixed.head(3).assign(height=[100.0, math.nan, 90.0])
    with pytest.raises(DataError, match="row 2, column 'height'") as refused:
        fitted.model.log_prob(bad)
    assert "\n" not in str(refused.value)
    assert np.isnan(fitted.model.log_prob(bad, on_bad_row="empty")).tolist() == [False, True, False]


@pytest.mark.parametrize("far", [1e6, 1e20, 1e200, 1e308, -1e308])
def test_a_far_row_has_a_number(fitted: Fitted, mixed: pd.DataFrame, far: float) -> None:
    log_prob = fitted.model.log_prob(mixed.head(2).assign(height=[100.0, far]))
    assert not np.isnan(log_prob).any()
    assert log_prob[1] < log_prob[0]


def test_reported_scores_are_those_of_the_test_rows(mixed: pd.DataFrame, fitted: Fitted) -> None:
    test = mixed.iloc[fitted.test_rows - 1]
    np.testing.assert_allclose(fitted.model.log_prob(test), fitted.test_log_prob, atol=1e-9)
    reported = fitted.metrics["test_log_likelihood"]
    assert reported["mean"] == pytest.approx(fitted.test_log_prob.mean())
    assert reported["n"] == 40
    # The validation value of the best epoch, in the data's own units.
    best = fitted.training.epochs[fitted.metrics["best_epoch"] - 1]
    assert best.validation_log_likelihood == pytest.approx(
        fitted.metrics["validation_log_likelihood"]["mean"], abs=1e-3
    )
