"""``flowcli evaluate``."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from commands import COLUMNS, scores
from scipy.stats import multivariate_normal, sem

from flowcli.tables.split import TEST, TRAINING, Split

FEW = ["--n", "500"]


@pytest.fixture
def seen(iris):
    """The numbers of the training and of the test rows of a fit of iris with the default seed."""
    data = pd.read_csv(iris)
    parts = Split(0.0, 0.1, 0, 150).parts(np.arange(150))
    return data[parts == TRAINING], data[parts == TEST]


def test_the_test_rows_are_those_of_the_fit(cli, iris_run):
    done = cli("evaluate", "-m", iris_run, "--json", *FEW)
    assert done.status == 0, done.err
    found = json.loads(done.out)
    assert next(iter(found)) == "test_log_likelihood"
    metrics = json.loads((iris_run / "metrics.json").read_text())
    assert found["test_log_likelihood"] == pytest.approx(metrics["test_log_likelihood"])
    gaussian = {key: found["baselines"]["gaussian"][key] for key in metrics["baselines"]["gaussian"]}
    assert gaussian == pytest.approx(metrics["baselines"]["gaussian"])


def test_figures_by_hand(cli, tmp_path, iris_run, seen):
    """Of named rows, beside a Gaussian that SciPy fits to the training rows; differences are row by row."""
    training, test = seen
    test.to_csv("test.csv", index=False)
    done = cli("evaluate", "test.csv", "-m", iris_run, "--json", *FEW)
    found = json.loads(done.out)
    log_prob = scores(cli("score", "test.csv", "-m", iris_run))
    assert found["test_log_likelihood"]["mean"] == pytest.approx(log_prob.mean())
    assert found["test_log_likelihood"]["standard_error"] == pytest.approx(sem(log_prob))
    x, new = training[COLUMNS[:4]].to_numpy(), test[COLUMNS[:4]].to_numpy()
    gaussian = multivariate_normal(x.mean(0), np.cov(x.T, ddof=0)).logpdf(new)
    gaussian += np.log(training["species"].value_counts(normalize=True)[test["species"]]).to_numpy()
    theirs = found["baselines"]["gaussian"]
    assert theirs["mean"] == pytest.approx(gaussian.mean(), abs=1e-4)
    assert theirs["difference"]["mean"] == pytest.approx((log_prob - gaussian).mean(), abs=1e-4)
    assert theirs["difference"]["standard_error"] == pytest.approx(sem(log_prob - gaussian), abs=1e-4)
    assert set(found["baselines"]) == {"gaussian", "independent_marginals", "gaussian_mixture", "kernel_density"}


def test_training_rows_can_be_named(cli, iris_run, seen, tmp_path):
    training, test = seen
    training.to_csv("train.csv", index=False)
    test.to_csv("test.csv", index=False)
    named = json.loads(cli("evaluate", "test.csv", "--train", "train.csv", "-m", iris_run, "--json", *FEW).out)
    found = json.loads(cli("evaluate", "test.csv", "-m", iris_run, "--json", *FEW).out)
    for name in ("gaussian", "independent_marginals"):
        assert named["baselines"][name]["mean"] == pytest.approx(found["baselines"][name]["mean"], abs=0.05)
    assert "copies" in {check["check"] for check in named["checks"]}


def test_a_table_for_people(cli, iris_run):
    done = cli("evaluate", "-m", iris_run, *FEW)
    assert done.status == 0
    assert "15 test rows of the model's own" in done.out
    for word in ("independent marginals", "Gaussian mixture of ", "kernel density", "latent normality", "tails"):
        assert word in done.out
    assert "left out: classifier: it takes 50 rows or more" in done.err
    assert cli("evaluate", "-m", iris_run, *FEW).out == done.out


@pytest.mark.parametrize(("limit", "status"), [("-1e9", 0), ("1e9", 3)])
def test_a_gate(cli, gaussian_run, limit, status):
    done = cli("evaluate", "-m", gaussian_run, "--fail-under", limit, "-q", *FEW)
    assert done.status == status
    assert done.out
    told = done.err.splitlines()
    assert len(told) == (1 if status else 0)
    assert all("below 1e+09" in line for line in told)


def test_impossible_rows_miss_any_gate(cli, gaussian_run, irises, table):
    rows = [irises[0], *irises[1:20], [*irises[2][:4], "tulip"]]
    done = cli("evaluate", table(rows), "-m", gaussian_run, "--fail-under", "-1e9", "--json", *FEW)
    assert done.status == 3
    assert "is -inf" in done.err
    found = json.loads(done.out)
    assert (found["test_log_likelihood"]["mean"], found["test_log_likelihood"]["impossible_rows"]) == (None, 1)
    assert found["rows_checked"] == 19


def test_when_the_data_has_changed_it_says_so(cli, tmp_path, irises, table):
    name = table(irises)
    assert cli("fit", name, "-c", "gaussian", "-s", "train.epochs=0", "-o", "run").status == 0
    table(irises[:-1])
    done = cli("evaluate", "-m", "run")
    assert (done.status, done.out) == (1, "")
    assert done.err == "flowcli: the model's own test rows are not at hand; name DATA: t.csv: has changed since\n"
    done = cli("evaluate", name, "-m", "run", *FEW)
    assert done.status == 0
    assert "left out: baselines" in done.err
    assert "t.csv: has changed since" in done.err
    assert "left out: copies" in done.err
    assert "Gaussian" not in done.out
    (tmp_path / "t.csv").unlink()
    assert "t.csv: is not there any more" in cli("evaluate", "-m", "run").err


def test_rows_that_were_seen_are_told(cli, iris, gaussian_run):
    assert "trained on most of its rows" in cli("evaluate", iris, "-m", gaussian_run, *FEW).err


def test_without_test_rows_data_is_needed(cli, iris):
    assert cli("fit", iris, "-c", "gaussian", "-s", "train.epochs=0", "-s", "data.test=0", "-o", "run").status == 0
    done = cli("evaluate", "-m", "run")
    assert (done.status, done.out) == (2, "")
    assert "name DATA" in done.err


def test_a_conditional_model(cli, conditional_run):
    done = cli("evaluate", "-m", conditional_run, "--json", *FEW)
    found = json.loads(done.out)
    assert set(found["baselines"]) == {"gaussian"}
    assert any("none is conditional" in what for what in found["left_out"])
    kinds = {check["check"] for check in found["checks"]}
    assert {"latent given context", "rank among samples", "latent tails"} <= kinds
    assert {"marginal distance", "tails"}.isdisjoint(kinds)
    assert found["samples"] == 15 * 33


def test_without_scikit_learn_it_does_what_it_can(cli, iris, gaussian_run, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    done = cli("evaluate", iris, "-m", gaussian_run, "--json", *FEW)
    assert done.status == 0
    found = json.loads(done.out)
    assert set(found["baselines"]) == {"gaussian", "independent_marginals", "kernel_density"}
    assert "classifier" not in {check["check"] for check in found["checks"]}
    told = [line for line in done.err.splitlines() if "pip install 'flowcli[sklearn]'" in line]
    assert [line.split(": ")[1] for line in told] == ["Gaussian mixture", "classifier"]


def bent_rows(n, bend):
    noise = np.random.default_rng(0).normal(size=(n, 2))
    return [["x", "y"], *np.stack([noise[:, 0], noise[:, 1] + bend * noise[:, 0] ** 2], axis=1).tolist()]


@pytest.mark.parametrize("bend", [0.0, 1.0])
def test_a_linear_model_of_straight_and_of_bent_rows(cli, table, bend):
    """The whole way: what is wrong with it is found, and nothing where there is nothing."""
    name = table(bent_rows(4000, bend))
    assert cli("fit", name, "-c", "gaussian", "-s", "train.epochs=0", "-o", "run").status == 0
    found = json.loads(cli("evaluate", "-m", "run", "--json", "--n", "4000").out)
    failed = {check["check"] for check in found["checks"] if check["failed"]}
    if not bend:
        assert failed == set()
        assert abs(found["baselines"]["gaussian"]["difference"]["mean"]) < 1e-3
        return
    assert {"latent independence", "classifier"} <= failed
    (pair,) = (check for check in found["checks"] if check["check"] == "latent independence")
    assert set(pair["columns"]) == {"x", "y"}
    assert found["baselines"]["gaussian_mixture"]["difference"]["mean"] < -0.1


def test_labels_whole_numbers_and_holes(cli, tmp_path):
    noise = np.random.default_rng(1)
    data = pd.DataFrame({"k": noise.poisson(3, 300), "l": noise.choice(["u", "v"], 300), "x": noise.normal(size=300)})
    data.loc[::7, "x"] = np.nan
    data["y"] = noise.normal(size=300) + (data["l"] == "u")
    data.to_csv("t.csv", index=False)
    settings = ["-s", "data.kinds={k: ordinal}", "-s", "train.epochs=2", "-s", "data.test=0.3"]
    assert cli("fit", "t.csv", *settings, "-o", "run").status == 0
    done = cli("evaluate", "-m", "run", "--json", *FEW)
    assert done.status == 0, done.err
    found = json.loads(done.out)
    places = {check["place"] for check in found["checks"] if check["check"] == "marginal distance"}
    assert places == {"k", "l", "x", "x, holes and spikes", "y"}
    assert all(found["baselines"][name]["mean"] is not None for name in found["baselines"])


def test_standard_input(cli, iris, iris_run):
    done = cli("evaluate", "-", "-m", iris_run, "--json", *FEW, stdin=iris.read_bytes())
    assert json.loads(done.out)["test_log_likelihood"]["n"] == 150


def test_many_rows_are_checked_in_part(cli, gaussian_run, irises, table):
    name = table([irises[0], *irises[1:] * 80])
    found = json.loads(cli("evaluate", name, "-m", gaussian_run, "--json", *FEW).out)
    assert found["test_log_likelihood"]["n"] == 12_000
    assert found["rows_checked"] == 10_000
