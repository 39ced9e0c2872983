"""The simulation behind the page on scale, against closed forms."""

from __future__ import annotations

import json
import math
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests" / "benchmarks"))
model = import_module("step_model")

STEP = model.Step(rows=[100, 1000], seconds=[0.011, 0.020], own_batch=1e-7, gradient=4e6)
NETWORK = model.Network(bandwidth=1e9, latency=1e-4)


def test_without_stragglers_a_step_is_its_formula() -> None:
    # 0.010 + 1e-5 rows, and 2 (p - 1) messages of a p-th of the gradient.
    for processes in (1, 2, 8, 64):
        expected = 0.010 + 1e-5 * 6400 / processes + 1e-7 * 6400
        expected += 2 * (processes - 1) * (1e-4 + 4e6 / processes / 1e9)
        assert model.step_seconds(STEP, NETWORK, 6400, processes, delay=0.0) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("processes", [1, 4, 50])
def test_the_last_of_exponential_delays_is_waited_for(processes: int) -> None:
    step = model.Step(rows=[1, 2], seconds=[0.01, 0.01], own_batch=0.0, gradient=0.0)
    network = model.Network(bandwidth=1.0, latency=0.0)
    # E max = the harmonic number, its variance the sum of 1 / k^2, at most pi^2 / 6.
    harmonic = sum(1 / k for k in range(1, processes + 1))
    assert model.harmonic(processes) == pytest.approx(harmonic)
    steps = 40_000
    got = model.step_seconds(step, network, 64, processes, delay=0.2, steps=steps)
    error = 4 * 0.01 * 0.2 * math.sqrt(math.pi**2 / 6 / steps)
    assert abs(got - 0.01 * (1 + 0.2 * harmonic)) < error


def test_rows_come_in_blocks() -> None:
    random = np.random.default_rng(0)
    rows = model.shares(4096, 256, 64, 2000, random)
    assert (rows.sum(axis=1) == 4096).all()
    # A process has none of 64 blocks with probability (1 - 1 / 256)^64.
    assert (rows == 0).mean() == pytest.approx((1 - 1 / 256) ** 64, abs=0.01)
    # All of two blocks are with one of two processes half of the time.
    halves = model.shares(100, 2, 2, 4000, random).max(axis=1)
    assert (halves == 100).mean() == pytest.approx(0.5, abs=0.04)


def test_failures_cost_what_daly_says() -> None:
    random = np.random.default_rng(0)
    arguments = {"work": 50_000.0, "interval": 900.0, "saving": 30.0, "restart": 200.0, "between_failures": 4000.0}
    runs = np.array([model.simulated_run(**arguments, random=random) for _ in range(1500)])
    error = runs.std() / math.sqrt(len(runs))
    # The last interval is shorter, and saved, too.
    assert abs(runs.mean() - model.daly(**arguments)) < 4 * error + 30
    unfailing = {**arguments, "between_failures": 1e15}
    assert model.simulated_run(**unfailing, random=random) == 50_000 + 56 * 30
    assert model.daly(**unfailing) == pytest.approx(50_000 * (1 + 30 / 900), rel=1e-3)


def test_work_without_checkpoints_begins_anew() -> None:
    random = np.random.default_rng(1)
    pieces = {"interval": 1000.0, "saving": 0.0, "restart": 0.0, "between_failures": 700.0}
    runs = np.array([model.simulated_run(work=1000.0, **pieces, random=random) for _ in range(4000)])
    assert abs(runs.mean() - model.in_one_piece(1000, 700)) < 4 * runs.std() / math.sqrt(len(runs))


@pytest.mark.parametrize(("saving", "between_failures"), [(5.0, 1e5), (60.0, 1e6)])
def test_youngs_interval_is_the_best_one(saving: float, between_failures: float) -> None:
    intervals = np.geomspace(100, 50_000, 4000)
    costs = [model.daly(1e6, interval, saving, 0.0, between_failures) for interval in intervals]
    best = intervals[int(np.argmin(costs))]
    # To first order in the interval's share of the time between failures.
    assert best == pytest.approx(model.young(saving, between_failures), rel=2 * best / between_failures)


def test_costs_between_what_was_measured() -> None:
    step = model.Step(rows=[10, 100, 1000], seconds=[0.004, 0.004, 0.022], own_batch=0.0, gradient=0.0)
    assert step.alone(np.array([0.0, 1.0, 55.0, 100.0, 550.0, 2000.0])).tolist() == pytest.approx(
        [0.004, 0.004, 0.004, 0.004, 0.013, 0.042]
    )
    assert step.slower(2.0).alone(np.array([1000.0])).tolist() == [0.044]


def test_the_page_is_up_to_date() -> None:
    scale = import_module("scale")
    measured = json.loads((ROOT / "tests" / "benchmarks" / "scale.json").read_text())
    told = (ROOT / "flowcli" / "docs" / "scale.md").read_text().partition(scale.MARKER)[2]
    assert told == scale.tables(measured, scale.options([])), "run python tests/benchmarks/scale.py --write"
