"""``flowcli compare``."""

import json

import numpy as np
import pandas as pd
import pytest
from commands import scores
from scipy.stats import sem


@pytest.fixture(scope="module")
def runs(iris_run, gaussian_run):
    """Two runs of the same rows."""
    return iris_run, gaussian_run


def test_differences_are_taken_row_by_row(cli, runs):
    done = cli("compare", *runs, "--json")
    assert done.status == 0, done.err
    found = json.loads(done.out)
    one, other = (pd.read_csv(run / "test_scores.csv")["log_prob"].to_numpy() for run in runs)
    best, worst = (0, 1) if one.mean() > other.mean() else (1, 0)
    assert found["best"] == str(runs[best])
    for run, each, log_prob in zip(runs, found["runs"], (one, other), strict=True):
        metrics = json.loads((run / "metrics.json").read_text())
        assert each["run"] == str(run)
        assert each["test_log_likelihood"] == pytest.approx(metrics["test_log_likelihood"])
        assert each["test_log_likelihood"]["mean"] == pytest.approx(log_prob.mean())
        assert (each["parameters"], each["seconds"]) == (metrics["parameters"], metrics["seconds"])
    away = (one - other) * (1 if worst == 0 else -1)
    assert found["runs"][worst]["difference_to_best"]["mean"] == pytest.approx(away.mean())
    assert found["runs"][worst]["difference_to_best"]["standard_error"] == pytest.approx(sem(away))
    assert found["runs"][best]["difference_to_best"] == {"mean": 0.0, "standard_error": 0.0}


def test_config_keys_that_differ(cli, runs):
    found = json.loads(cli("compare", *runs, "--json").out)["config"]
    assert found["train.epochs"] == {str(runs[0]): 3, str(runs[1]): 0}
    assert "seed" not in found


def test_a_table_for_people(cli, runs):
    done = cli("compare", *runs)
    assert done.status == 0
    assert done.err == ""
    assert "15 test rows" in done.lines[0]
    (best,) = (line for line in done.lines if line.split()[-4:-3] == ["best"])
    assert best.split()[0] in map(str, runs)
    assert "train.epochs" in done.out


def test_on_other_rows(cli, iris, runs, irises, table):
    name = table([irises[0], *irises[30:60]])
    found = json.loads(cli("compare", *runs, "--data", name, "--data", iris, "--json").out)
    one, other = (np.r_[scores(cli("score", name, "-m", run)), scores(cli("score", iris, "-m", run))] for run in runs)
    means = [each["test_log_likelihood"]["mean"] for each in found["runs"]]
    assert means == pytest.approx([one.mean(), other.mean()])
    (difference,) = (each["difference_to_best"] for each in found["runs"] if each["run"] != found["best"])
    assert difference["standard_error"] == pytest.approx(sem(one - other))


def test_three_runs_one_of_which_has_an_impossible_row(cli, runs, irises, table):
    """A label that only two of them have seen; their own difference is not lost, and the third is not the best."""
    name = table([irises[0], *irises[1:101]], "two.csv")
    assert cli("fit", name, "-c", "gaussian", "-s", "train.epochs=0", "-o", "two").status == 0
    done = cli("compare", "two", *runs, "--data", table(irises), "--json")
    found = json.loads(done.out)
    assert found["runs"][0]["test_log_likelihood"]["impossible_rows"] == 50
    assert found["runs"][0]["difference_to_best"] == {"mean": None, "standard_error": None}
    assert found["best"] != "two"
    assert "-inf (50 rows)" in cli("compare", "two", *runs, "--data", "t.csv").out


def fitted(cli, data, name, *options):
    assert cli("fit", data, "-c", "gaussian", "-s", "train.epochs=0", "-o", name, *options).status == 0
    return name


def test_refusals(cli, tmp_path, iris, gaussian_run, irises, table):
    other = fitted(cli, table(irises[:-1]), "other")
    seeded = fitted(cli, iris, "seeded", "--seed", "1")
    without = fitted(cli, iris, "without", "-s", "data.test=0")
    given = fitted(cli, iris, "given", "--context", "species")
    for run, words in (
        (other, "are of different data"),
        (seeded, "were tested on different rows"),
        (without, "were tested on different rows"),
        (given, "only one of them models 'species'"),
        (gaussian_run / "model.safetensors", "no test_scores.csv"),
    ):
        done = cli("compare", gaussian_run, run)
        assert (done.status, done.out) == (2, "")
        assert len(done.err.splitlines()) == 1
        assert words in done.err
        assert ("--data FILE" in done.err) == (run != given)
    for run in (other, seeded, without):
        assert cli("compare", gaussian_run, run, "--data", iris).status == 0


def test_data_from_standard_input_may_be_anything(cli, iris, gaussian_run):
    done = cli("fit", "-", "-c", "gaussian", "-s", "train.epochs=0", "-o", "run", stdin=iris.read_bytes())
    assert done.status == 0
    done = cli("compare", gaussian_run, "run")
    assert done.status == 2
    assert "run: its data is in no file" in done.err


def test_a_column_that_is_a_number_for_one_and_a_label_for_the_other(cli, iris, gaussian_run):
    fitted(cli, iris, "labels", "--kind", "petal_width=label")
    done = cli("compare", gaussian_run, "labels", "--data", iris)
    assert done.status == 2
    assert "they differ in the kind of 'petal_width'" in done.err


def test_damaged_test_scores(cli, tmp_path, iris, gaussian_run):
    fitted(cli, iris, "run")
    for text in ("row,log_prob\n1,x\n", "row\n1\n", "", "row,log_prob\n1,-2.0\n"):
        (tmp_path / "run" / "test_scores.csv").write_text(text)
        done = cli("compare", gaussian_run, "run")
        assert (done.status, done.out) == (1, "")
        assert "test_scores.csv: damaged" in done.err
