"""A likelihood and its uncertainty, against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import sem

from flowcli.evaluation.likelihood import summarize


@pytest.mark.parametrize("rows", [2, 3, 1000])
def test_against_scipy(rows: int) -> None:
    values = np.random.default_rng(0).normal(-5, 3, rows)
    found = summarize(values, 7)
    assert found["mean"] == pytest.approx(values.mean())
    assert found["standard_error"] == pytest.approx(sem(values))
    assert found["total"] == pytest.approx(values.sum())
    assert found["n"] == rows
    assert found["impossible_rows"] == 0


def test_bits_per_dimension() -> None:
    # A density of 2^-12 in three dimensions: four bits for each.
    assert summarize(np.full(5, -12 * math.log(2)), 3)["bits_per_dim"] == pytest.approx(4)
    assert summarize(np.full(5, 12 * math.log(2)), 3)["bits_per_dim"] == pytest.approx(-4)


def test_one_row_has_no_standard_error() -> None:
    found = summarize(np.array([-1.5]), 2)
    assert (found["mean"], found["total"], found["n"], found["standard_error"]) == (-1.5, -1.5, 1, None)


def test_impossible_rows_are_counted_and_make_the_mean_infinite() -> None:
    found = summarize(np.array([-1.0, -np.inf, -2.0, -np.inf]), 2)
    assert (found["impossible_rows"], found["n"]) == (2, 4)
    assert [found[key] for key in ("mean", "total", "standard_error", "bits_per_dim")] == [None] * 4


def test_no_rows() -> None:
    found = summarize(np.empty(0), 2)
    assert found["n"] == 0
    assert [found[key] for key in ("mean", "total", "standard_error", "bits_per_dim")] == [None] * 4
