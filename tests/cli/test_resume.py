"""A fit that is interrupted and goes on."""

import json
import os
import shutil
import signal

import pytest
from hostile import put_together, taken_apart
from safetensors.torch import load_file

FIT = ["fit", "t.csv", "-s", "train.epochs=12", "-s", "data.plain=true", "-q"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, server, iris):
    """A folder with a table, and with the run of a fit that nothing interrupted. Not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    # Many rows, so that there is time to interrupt.
    header, *rows = iris.read_text().splitlines()
    (folder / "t.csv").write_text("\n".join([header, *rows * 4]) + "\n")
    assert server.run(*FIT, "-o", "run", cwd=folder).status == 0
    return folder


@pytest.fixture
def table(tmp_path, whole):
    shutil.copy(whole / "t.csv", tmp_path)


@pytest.fixture
def training(server, table, tmp_path):
    """Starts a fit into ``run``; gives it when its training begins."""

    def start(*more):
        fit = server.start(*FIT[:-1], "-o", "run", *more, cwd=tmp_path)
        while "permute" not in fit.said():  # the architecture's last line
            assert not fit.ended(0.01), fit.said()
        return fit

    return start


@pytest.fixture
def interrupted(training):
    """Makes a fit into ``run`` that got a signal while it trained; gives how it ended."""

    def fit(number, *more):
        fit = training(*more)
        fit.kill_after(0.2, number)
        return fit.wait()

    return fit


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_fit_goes_on_to_the_same_weights(server, cli, interrupted, whole, tmp_path, number):
    fit = interrupted(number)
    assert (fit.status, fit.out) == (130, "")
    assert fit.err.splitlines()[-1].endswith("go on with: flowcli fit --resume run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["checkpoint.safetensors"]
    done = server.run("fit", "--resume", "run", "-q", cwd=tmp_path)
    assert (done.status, done.out) == (0, "run\n"), done.err
    expected, resumed = (load_file(folder / "run" / "model.safetensors") for folder in (whole, tmp_path))
    assert expected.keys() == resumed.keys()
    assert all(bool((expected[name] == resumed[name]).all()) for name in expected)
    assert cli("fit", "--resume", "run").status == 2  # it is finished now


def test_other_data_are_no_continuation(cli, interrupted, tmp_path):
    interrupted(signal.SIGTERM)
    text = (tmp_path / "t.csv").read_text()
    (tmp_path / "t.csv").write_text(text.replace("5.1", "5.2", 1))
    done = cli("fit", "--resume", "run")
    assert done.status == 1
    assert "not the data" in done.err


def test_a_second_fit_into_a_folder_in_use_is_refused(cli, training):
    first = training()
    # It is at it still when the others come, however fast it is.
    first.kill(signal.SIGSTOP)
    for more in ([], ["--force"]):
        second = cli(*FIT, "-o", "run", *more)
        assert (second.status, second.out) == (1, "")
        assert second.err == "flowcli: run: another fit is writing to it\n"
    first.kill(signal.SIGINT)
    first.kill(signal.SIGCONT)
    assert first.wait().status == 130
    # Nobody is in it any more, and what the first has done is there.
    assert cli("fit", "--resume", "run", "-q").status == 0


def test_a_killed_fit_leaves_no_lock_and_no_model(cli, training):
    first = training()
    first.kill()
    first.wait()
    assert cli("score", "t.csv", "-m", "run").status == 2
    assert cli(*FIT, "-o", "run", "--force", "-s", "train.epochs=1").status == 0


def test_other_test_rows_are_no_continuation(cli, table, interrupted, tmp_path):
    text = (tmp_path / "t.csv").read_text()
    (tmp_path / "new.csv").write_text(text)
    interrupted(signal.SIGINT, "--test", "new.csv")
    (tmp_path / "new.csv").write_text(text.replace("5.1", "5.2", 1))
    done = cli("fit", "--resume", "run")
    assert done.status == 1
    assert "not the data" in done.err


@pytest.fixture
def unfinished(cli, table, tmp_path):
    """A run that has its checkpoint and is not complete."""
    assert cli("fit", "t.csv", "-o", "run", "-q", "-c", "gaussian").status == 0
    (tmp_path / "run" / "metrics.json").unlink()
    return tmp_path / "run" / "checkpoint.safetensors"


def test_data_that_cannot_be_read_again(cli, unfinished, tmp_path):
    (tmp_path / "t.csv").rename(tmp_path / "moved.csv")
    os.mkfifo(tmp_path / "t.csv")
    done = cli("fit", "--resume", "run")
    assert (done.status, len(done.err.splitlines())) == (2, 1)
    assert "run: its data came from t.csv, which is no plain file; save the same table" in done.err
    assert cli("fit", "moved.csv", "--resume", "run", "-q").status == 0


def test_a_checkpoint_that_says_little_of_its_data(cli, unfinished):
    header, weights = taken_apart(unfinished.read_bytes())
    inner = json.loads(header["__metadata__"]["flowcli_checkpoint"])
    inner["data"] = {"files": ["t.csv"]}
    header["__metadata__"]["flowcli_checkpoint"] = json.dumps(inner)
    unfinished.write_bytes(put_together(header, weights))
    done = cli("fit", "--resume", "run")
    assert done.status == 1
    assert "t.csv: not the data that run was started with" in done.err
