"""Which model a command takes."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
from commands import scores


def test_a_model_is_one_file(cli, tmp_path, iris, iris_run):
    shutil.copy(iris_run / "model.safetensors", tmp_path / "m.safetensors")
    np.testing.assert_array_equal(
        scores(cli("score", iris, "-m", "m.safetensors")), scores(cli("score", iris, "-m", iris_run))
    )
    done = cli("sample", "--n", "3", "-m", "m.safetensors")
    assert (done.status, len(done.lines)) == (0, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_the_model_of_the_environment(cli, monkeypatch, iris_run, conditional_run):
    monkeypatch.setenv("FLOWCLI_MODEL", str(conditional_run))
    assert json.loads(cli("show", "--json").out)["model"] == str(conditional_run / "model.safetensors")
    # A named one comes first.
    assert json.loads(cli("show", iris_run, "--json").out)["model"] == str(iris_run / "model.safetensors")


def test_the_newest_run_is_the_default(cli, tmp_path, iris_run, conditional_run):
    # The names sort the other way round from the times.
    now = time.time()
    for name, run, age in (("a-new", iris_run, 10), ("z-old", conditional_run, 1000), ("unfinished", iris_run, 0)):
        shutil.copytree(run, tmp_path / "runs" / name)
        os.utime(tmp_path / "runs" / name / "metrics.json", (now - age, now - age))
    (tmp_path / "runs" / "unfinished" / "metrics.json").unlink()
    (tmp_path / "runs" / "notes.txt").write_text("mine")
    assert json.loads(cli("show", "--json").out)["model"] == str(Path("runs/a-new/model.safetensors"))


def test_without_any_model_it_is_said_what_to_do(cli, iris):
    for args in (["score", iris], ["sample", "--n", "1"], ["show"]):
        done = cli(*args)
        assert done.status == 2
        assert "-m" in done.err


def test_a_model_that_is_not_there_is_a_usage_error(cli, tmp_path, iris):
    (tmp_path / "empty").mkdir()
    for name in ("nowhere", "empty"):
        done = cli("score", iris, "-m", name)
        assert done.status == 2
        assert name in done.err


def test_other_files_of_the_run_are_no_models(cli, iris, iris_run):
    for name in sorted({path.name for path in iris_run.iterdir()} - {"model.safetensors"}):
        done = cli("score", iris, "-m", iris_run / name)
        assert done.status == 1
        assert len(done.err.splitlines()) == 1
        assert name in done.err
        assert "not a model" in done.err
