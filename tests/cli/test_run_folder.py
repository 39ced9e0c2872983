"""The run folder that a fit writes, and what it does with a folder that is there."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import normal_rows, scores

from flowcli.config.load import load_config


def test_fit_writes_a_run_folder(iris_run):
    found = {path.name for path in iris_run.iterdir()}
    written = {"model.safetensors", "config.yaml", "metrics.json", "history.csv", "test_scores.csv", "README.md"}
    assert found >= written
    assert found <= written | {"checkpoint.safetensors"}


def test_metrics_have_the_test_log_likelihood_first(iris_run):
    metrics = json.loads((iris_run / "metrics.json").read_text())
    assert list(metrics)[:2] == ["test_log_likelihood", "validation_log_likelihood"]
    assert metrics.keys() >= {"baselines", "parameters", "epochs", "best_epoch", "seconds", "run"}
    assert metrics["run"] == str(iris_run)
    assert metrics["epochs"] == 9  # three of each of three kinds
    summary = metrics["test_log_likelihood"]
    assert list(summary)[:5] == ["mean", "standard_error", "total", "n", "bits_per_dim"]
    # The figures follow from the rows' scores.
    rows = pd.read_csv(iris_run / "test_scores.csv")["log_prob"]
    assert summary["n"] == len(rows) == 15
    assert summary["total"] == pytest.approx(rows.sum())
    assert summary["mean"] == pytest.approx(rows.mean())
    assert summary["standard_error"] == pytest.approx(rows.std(ddof=1) / math.sqrt(15))
    assert summary["bits_per_dim"] == pytest.approx(-rows.mean() / math.log(2) / 5)


def test_history_has_a_row_for_each_epoch(iris_run):
    history = pd.read_csv(iris_run / "history.csv")
    assert history["epoch"].tolist() == [*range(1, 10)]
    assert np.isfinite(history[["training_log_likelihood", "validation_log_likelihood"]]).all(axis=None)


def test_the_resolved_config_fits_the_same_model(cli, iris, iris_run):
    config = load_config(str(iris_run / "config.yaml"))
    assert config.flow is not None
    assert config.train.epochs == 3
    assert cli("fit", iris, "-c", iris_run / "config.yaml", "-o", "again", "-q").status == 0
    for name in ("config.yaml", "test_scores.csv"):
        assert (iris_run / name).read_text() == Path("again", name).read_text()


def test_test_scores_are_the_scores_of_those_rows(cli, iris, iris_run, irises, table):
    kept = pd.read_csv(iris_run / "test_scores.csv")
    assert kept.columns.tolist() == ["row", "log_prob"]
    assert kept["row"].between(1, 150).all()
    assert kept["row"].is_unique
    # Rows are counted from 1, the header not counted.
    rows = [irises[row] for row in kept["row"]]
    log_prob = scores(cli("score", table([irises[0], *rows]), "-m", iris_run))
    np.testing.assert_allclose(log_prob, kept["log_prob"], rtol=1e-6)
    np.testing.assert_allclose(log_prob, scores(cli("score", iris, "-m", iris_run))[kept["row"] - 1], rtol=1e-9)


def test_fit_names_its_folder_by_the_data_and_the_time(cli, iris):
    done = cli("fit", iris, "-s", "train.epochs=0", "-q")
    assert re.fullmatch(r"runs/iris-\d{8}-\d{6}\n", done.out)
    again = cli("fit", iris, "-s", "train.epochs=0", "-q")
    assert again.out != done.out


def test_fit_json_is_the_metrics(cli, iris):
    done = cli("fit", iris, "-s", "train.epochs=0", "-o", "run", "--json", "-q")
    assert json.loads(done.out) == json.loads(Path("run/metrics.json").read_text())


def test_a_folder_that_holds_something_is_refused(cli, tmp_path, iris):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    done = cli("fit", iris, "-o", "run")
    assert done.status == 2
    assert "--force" in done.err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_an_empty_folder_is_taken(cli, tmp_path, iris):
    (tmp_path / "run").mkdir()
    assert cli("fit", iris, "-s", "train.epochs=0", "-o", "run", "-q").status == 0


def test_force_replaces_the_run_and_nothing_else(cli, tmp_path, iris):
    assert cli("fit", iris, "-s", "train.epochs=0", "-o", "run", "-q").status == 0
    (tmp_path / "run" / "notes.txt").write_text("mine")
    done = cli("fit", iris, "-c", "gaussian", "-o", "run", "--force", "-q")
    assert done.status == 0, done.err
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    assert [transform.name for transform in load_config("run/config.yaml").flow.transforms] == ["triangular_affine"]


@pytest.mark.parametrize(
    "wrong", [["bad.csv"], ["good.csv", "-c", "nowhere"], ["good.csv", "--drop", "nope"], ["nowhere.csv"]], ids=" ".join
)
def test_a_failed_fit_with_force_keeps_the_run_that_was_there(cli, tmp_path, iris_run, table, wrong):
    shutil.copytree(iris_run, tmp_path / "run")
    table([["a", "b"], ["1", "2"], ["3"]], "bad.csv")
    table(normal_rows(), "good.csv")
    assert cli("fit", *wrong, "-o", "run", "--force").status != 0
    before = {path.name: path.read_bytes() for path in iris_run.iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


@pytest.mark.parametrize("where", [["-o", "new/run"], []], ids=["named", "by default"])
def test_nothing_is_left_behind_when_a_fit_fails(cli, tmp_path, table, where):
    table([["a", "b"], ["1", "2"], ["3"]], "bad.csv")
    assert cli("fit", "bad.csv", *where).status == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_files_of_others_are_left_alone(cli, tmp_path, iris):
    """Names that begin like those of files in the making."""
    folder = tmp_path / "run"
    (folder / ".config.yaml.d").mkdir(parents=True)
    for name in (".config.yaml.swp", ".metrics.json.bak", ".model.safetensors.0123456789abcde"):
        (folder / name).write_text("mine")
    before = sorted(path.name for path in folder.iterdir())
    done = cli("fit", iris, "-o", "run", "-c", "gaussian")
    assert (done.status, "--force" in done.err) == (2, True)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert cli("fit", iris, "-o", "run", "-c", "gaussian", "--force", "-q").status == 0
    assert set(before) < {path.name for path in folder.iterdir()}
