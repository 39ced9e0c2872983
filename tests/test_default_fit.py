"""What a fit without options promises on the example table."""

import json
import time

import pytest


def fitted(program, iris, *options: str) -> dict:
    done = program("fit", iris, *options, "--json", "-q", "-o", "run")
    assert done.status == 0, done.err
    return json.loads(done.out)


def test_iris_takes_less_than_half_a_minute(program, iris):
    started = time.monotonic()
    metrics = fitted(program, iris)
    assert time.monotonic() - started < 30
    assert metrics["test_log_likelihood"]["n"] == 15


@pytest.mark.parametrize("options", [[], ["--drop", "species"]], ids=["whole rows", "numbers alone"])
def test_iris_is_fitted_better_than_by_a_gaussian(program, iris, options):
    metrics = fitted(program, iris, *options)
    assert metrics["test_log_likelihood"]["mean"] > metrics["baselines"]["gaussian"]["mean"]
