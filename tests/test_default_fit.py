"""What a fit without options promises on the example table."""

import csv
import json
import math
import time

import numpy as np
import pytest


def fitted(run, table, *options: str) -> dict:
    done = run("fit", table, *options, "--json", "-q", "-o", "run")
    assert done.status == 0, done.err
    return json.loads(done.out)


@pytest.mark.long
def test_iris_takes_less_than_a_minute(program, iris):
    started = time.monotonic()
    metrics = fitted(program, iris)
    # On an idle machine; a busy one is given twice as long.
    assert time.monotonic() - started < 120
    assert metrics["test_log_likelihood"]["n"] == 15


@pytest.mark.parametrize("options", [[], ["--drop", "species"]], ids=["whole rows", "numbers alone"])
def test_iris_is_fitted_better_than_by_a_gaussian(cli, iris, options):
    """Over three splits: the 15 test rows of one say little."""
    ahead = []
    for seed in range(3):
        metrics = fitted(cli, iris, *options, "--seed", str(seed), "--max-time", "4s", "--force")
        ahead.append(metrics["test_log_likelihood"]["mean"] - metrics["baselines"]["gaussian"]["mean"])
    assert np.mean(ahead) > 0


def degenerate(kind: str) -> list[list]:
    """Rows in which a column is determined by others."""
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 300))
    codes = random.integers(0, 5, 300)
    return {
        "equal columns": [[x, x] for x in a],
        "a sum": [[x, y, x + y] for x, y in zip(a, b, strict=True)],
        "two rows, again and again": [[1.0, 2.0], [3.0, 5.0]] * 100,
        "a label's code": [[x, "abcde"[code], code + 3] for x, code in zip(a, codes, strict=True)],
    }[kind]


@pytest.mark.parametrize("kind", ["equal columns", "a sum", "two rows, again and again", "a label's code"])
def test_columns_that_determine_each_other_give_sober_scores(cli, tmp_path, kind):
    rows = degenerate(kind)
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[f"c{i}" for i in range(len(rows[0]))], *rows])
    metrics = fitted(cli, "t.csv", "-s", "train.epochs=12")
    assert math.isfinite(metrics["test_log_likelihood"]["mean"])
    assert metrics["test_log_likelihood"]["mean"] > -20
    assert metrics["skipped_steps"] == 0
