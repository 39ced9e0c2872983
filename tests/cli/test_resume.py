"""A fit that is interrupted and goes on."""

import os
import signal
import subprocess
import sys
import time

import pytest
from running import environment
from safetensors.torch import load_file

FIT = ["fit", "t.csv", "-s", "train.epochs=25", "-s", "data.plain=true", "-q"]


@pytest.fixture
def table(tmp_path, iris):
    # Many rows, so that there is time to interrupt.
    header, *rows = iris.read_text().splitlines()
    (tmp_path / "t.csv").write_text("\n".join([header, *rows * 12]) + "\n")


def training(folder, *more):
    """A fit into ``run``, just when its training begins."""
    fit = subprocess.Popen(
        [sys.executable, "-m", "flowcli", *FIT[:-1], "-o", "run", *more],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A parent that ignores the signal would hand that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert fit.stderr is not None
    for line in fit.stderr:
        if "permute" in line:  # the architecture's last line: training begins
            break
    return fit


def interrupted(folder, number, *more):
    """A fit into ``run`` that got the signal while it trained: its status, stdout and stderr."""
    fit = training(folder, *more)
    time.sleep(1)
    os.kill(fit.pid, number)
    out, err = fit.communicate(timeout=60)
    return fit.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_fit_goes_on_to_the_same_weights(program, table, tmp_path, number):
    assert program(*FIT, "-o", "whole").status == 0
    status, out, err = interrupted(tmp_path, number)
    assert status == 130
    assert out == ""
    assert err.splitlines()[-1].endswith("go on with: flowcli fit --resume run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["checkpoint.safetensors"]
    done = program("fit", "--resume", "run", "-q")
    assert (done.status, done.out) == (0, "run\n"), done.err
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "run"))
    assert whole.keys() == resumed.keys()
    assert all(bool((whole[name] == resumed[name]).all()) for name in whole)
    assert program("fit", "--resume", "run").status == 2  # it is finished now


def test_other_data_are_no_continuation(program, table, tmp_path):
    interrupted(tmp_path, signal.SIGTERM)
    text = (tmp_path / "t.csv").read_text()
    (tmp_path / "t.csv").write_text(text.replace("5.1", "5.2", 1))
    done = program("fit", "--resume", "run")
    assert done.status == 1
    assert "not the data" in done.err


def test_a_second_fit_into_a_folder_in_use_is_refused(program, table, tmp_path):
    with training(tmp_path) as first:
        try:
            for more in ([], ["--force"]):
                second = program(*FIT, "-o", "run", *more)
                assert (second.status, second.out) == (1, "")
                assert second.err == "flowcli: run: another fit is writing to it\n"
            os.kill(first.pid, signal.SIGINT)
            first.communicate(timeout=60)
        finally:
            first.kill()
    # Nobody is in it any more, and what the first has done is there.
    assert program("fit", "--resume", "run", "-q").status == 0


def test_a_killed_fit_leaves_no_lock_and_no_model(program, table, tmp_path):
    with training(tmp_path) as first:
        first.kill()
    assert program("score", "t.csv", "-m", "run").status == 2
    assert program(*FIT, "-o", "run", "--force", "-s", "train.epochs=1").status == 0


def test_other_test_rows_are_no_continuation(program, table, tmp_path):
    text = (tmp_path / "t.csv").read_text()
    (tmp_path / "new.csv").write_text(text)
    interrupted(tmp_path, signal.SIGINT, "--test", "new.csv")
    (tmp_path / "new.csv").write_text(text.replace("5.1", "5.2", 1))
    done = program("fit", "--resume", "run")
    assert done.status == 1
    assert "not the data" in done.err
