"""The search: trials, the winner's run, what is kept and gone on with, and what is refused."""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import product

import numpy as np
import pytest
from commands import normal_rows, scores
from running import environment

from flowcli.config.load import load_config
from flowcli.config.schema import Config
from flowcli.config.space import DEFAULT, chosen, narrowed, search_space, with_values
from flowcli.errors import ConfigError

SHORT = ["-s", "train.epochs=3"]


@pytest.fixture
def small(table):
    """A table that is quick to fit."""
    return table(normal_rows())


def trials(folder):
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_search_ends_with_the_run_of_its_best_trial(cli, iris, tmp_path):
    done = cli("tune", iris, *SHORT, "--trials", 4, "-o", "run")
    assert done.status == 0, done.err
    assert done.out == "run\n"
    rows = trials(tmp_path / "run")
    assert [row["number"] for row in rows] == ["0", "1", "2", "3"]
    assert {row["state"] for row in rows} <= {"complete", "pruned"}
    assert len(re.findall(r"^trial \d+: -?\d+\.\d+.*; best ", done.err, re.MULTILINE)) == 4
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_bytes())
    values = [float(row["value"]) for row in rows]
    assert metrics["tune"]["validation_log_likelihood"] == max(values)
    assert values[metrics["tune"]["trial"]] == max(values)
    assert metrics["validation_log_likelihood"]["mean"] == pytest.approx(max(values), abs=1e-4)
    # An ordinary run, of the parameters in its row; only the winner's model is left.
    assert metrics["test_log_likelihood"]["n"] == 15
    names = {"config.yaml", "history.csv", "metrics.json", "model.safetensors", "test_scores.csv"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == {*names, "trials.csv", "study.journal"}
    won = load_config("run/config.yaml")
    assert not won.tune
    row = rows[metrics["tune"]["trial"]]
    assert won.flow.transforms[0].name == row["transform"]
    assert (won.flow.repeat, won.train.batch_size) == (int(row["flow.repeat"]), int(row["train.batch_size"]))
    assert won.train.learning_rate == float(row["train.learning_rate"])
    # Fitted again with its config it is the same model.
    assert cli("fit", iris, "-c", "run/config.yaml", "-o", "again", "-q").status == 0
    np.testing.assert_array_equal(scores(cli("score", iris, "-m", "run")), scores(cli("score", iris, "-m", "again")))


def test_the_first_trial_is_the_fit_of_a_single_flow(cli, iris, tmp_path):
    assert cli("tune", iris, *SHORT, "--trials", 1, "-o", "run", "-q").status == 0
    assert cli("fit", iris, *SHORT, "-s", "flow.base=normal", "-o", "fit", "-q").status == 0
    one, other = (load_config(f"{name}/config.yaml") for name in ("run", "fit"))
    assert one.model_dump() == other.model_dump()
    np.testing.assert_array_equal(scores(cli("score", iris, "-m", "run")), scores(cli("score", iris, "-m", "fit")))


def test_the_same_command_goes_on(cli, small, tmp_path):
    first = cli("tune", small, *SHORT, "--trials", 2, "-o", "run")
    assert first.status == 0, first.err
    before = trials(tmp_path / "run")
    # Nothing is left to do.
    assert cli("tune", small, *SHORT, "--trials", 2, "-o", "run").out == "run\n"
    assert trials(tmp_path / "run") == before
    more = cli("tune", small, *SHORT, "--trials", 4, "-o", "run", "--json")
    assert more.status == 0, more.err
    assert "going on after 2 trials" in more.err
    rows = trials(tmp_path / "run")
    assert rows[:2] == before
    assert len(rows) == 4
    told = json.loads(more.out)
    assert told["tune"]["trials"]["complete"] == 4
    assert float(rows[told["tune"]["trial"]]["value"]) == max(float(row["value"]) for row in rows)


def test_a_study_is_of_its_data_and_config(cli, small, table, tmp_path):
    assert cli("tune", small, *SHORT, "--trials", 1, "-o", "run").status == 0
    other = cli("tune", table(normal_rows(seed=4), "u.csv"), *SHORT, "--trials", 2, "-o", "run", "--study", "t")
    assert other.status == 1
    assert "u.csv: not the data of the study 't'" in other.err
    for change in (["-s", "train.epochs=4"], [*SHORT, "-s", "tune.flow.repeat=[1]"]):
        other = cli("tune", small, *change, "--trials", 2, "-o", "run")
        assert other.status == 2
        assert "the study 't' is of another config" in other.err
    assert len(trials(tmp_path / "run")) == 1


def test_processes_share_a_storage(cli, small, tmp_path):
    command = ["tune", small, *SHORT, "--trials", "3", "--storage", "sqlite:///shared.db"]
    ended = cli(*command, "--jobs", 2, "-o", "run")
    assert ended.status == 0, ended.err
    rows = trials(tmp_path / "run")
    assert len(rows) == 3
    assert {row["state"] for row in rows} == {"complete"}
    assert len({row["train.learning_rate"] for row in rows}) == len(rows)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_bytes())
    assert metrics["tune"]["validation_log_likelihood"] == max(float(row["value"]) for row in rows)
    assert not list((tmp_path / "run").glob("trial-*"))
    # Without -o it is the study's folder.
    ended = cli(*command)
    assert ended.out == "run\n", ended.err
    # Another machine, without that folder, cannot make the winner's run.
    ended = cli(*command, "-o", "elsewhere")
    assert ended.status == 1
    assert re.search(r"trial \d, the best, is not in elsewhere: .+ has it, in its run$", ended.err.strip())
    assert trials(tmp_path / "run") == rows


@pytest.mark.parametrize("storage", ["shared.journal", "sqlite:///shared.db"])
def test_the_same_command_twice_at_once_is_one_search(small, tmp_path, storage):
    command = [sys.executable, "-m", "flowcli", "tune", small, *SHORT, "--trials", "5", "--storage", storage]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, cwd=tmp_path, env=environment(), **pipes) for _ in range(2)]
    try:
        told = [process.communicate(timeout=200) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], told
    # They are in one folder, which the first of them has named.
    (folder,) = (tmp_path / "runs").iterdir()
    assert [out for out, _ in told] == [f"runs/{folder.name}\n"] * 2
    # Each trial is one process's, and none is there twice.
    numbers = [re.findall(r"^trial (\d+): ", err, re.MULTILINE) for _, err in told]
    assert sorted(numbers[0] + numbers[1]) == list("01234")
    rows = trials(folder)
    assert [row["number"] for row in rows] == list("01234")
    assert {row["state"] for row in rows} <= {"complete", "pruned"}
    assert len({(row["train.learning_rate"], row["train.batch_size"]) for row in rows}) == 5
    # Both have waited for the last one, and know the same winner, which one has written.
    best = max(range(5), key=lambda number: float(rows[number]["value"]))
    assert all(f"trial {best} is the best" in err for _, err in told)
    metrics = json.loads((folder / "metrics.json").read_bytes())
    assert metrics["tune"]["trial"] == best
    assert sum(metrics["tune"]["trials"].values()) == 5
    assert not list(folder.glob("trial-*"))


def test_time_is_kept(cli, small, tmp_path):
    started, computed = time.monotonic(), time.process_time()
    done = cli("tune", small, "--max-time", "8s", "-o", "run")
    taken, computed = time.monotonic() - started, time.process_time() - computed
    assert done.status == 0, done.err
    # A busy machine may keep it waiting at the very end.
    assert taken <= 1.05 * 8 + (taken - computed) / 2
    assert trials(tmp_path / "run")
    # A trial has its share of it.
    assert load_config("run/config.yaml").train.max_time <= 0.8


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_search_goes_on(cli, small, tmp_path, jobs):
    # It would take minutes.
    command = ["tune", small, "-s", "train.epochs=5000", "-s", "train.patience=5000", "--jobs", str(jobs), "-o", "run"]
    with subprocess.Popen(
        [sys.executable, "-m", "flowcli", *command], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 110
        # A trial has begun.
        while "running" not in _states(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
    assert process.returncode == 130, told
    assert "Traceback" not in told
    rows = trials(tmp_path / "run")
    assert {row["state"] for row in rows} == {"interrupted"}
    assert not (tmp_path / "run" / "metrics.json").exists()
    again = re.search(r"go on with: flowcli (.*)", told)[1].split()
    assert again == [*command[:6], *([] if jobs == 1 else command[6:8]), "-o", "run"]
    # What was interrupted is tried again first.
    ended = cli(*again[:6], "-o", "run", "--max-time", "4s")
    assert ended.status == 0, ended.err
    assert trials(tmp_path / "run")[len(rows)]["train.learning_rate"] in {row["train.learning_rate"] for row in rows}


def _states(folder):
    """The states of the trials so far."""
    import optuna

    place = folder / "run" / "study.journal"
    if not place.exists():
        return []
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(place)))
    with contextlib.suppress(KeyError):
        return [trial.state.name.lower() for trial in optuna.load_study(study_name="t", storage=storage).trials]
    return []


def test_a_lost_trial_is_tried_again(cli, small, tmp_path):
    import optuna

    assert cli("tune", small, *SHORT, "--trials", 1, "-o", "run").status == 0
    place = str(tmp_path / "run" / "study.journal")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(place))
    trial = optuna.load_study(study_name="t", storage=storage).ask()
    rate = trial.suggest_float("train.learning_rate", 1e-4, 1e-2, log=True)
    dead = subprocess.Popen(["true"])
    dead.wait()
    trial.set_user_attr("worker", f"{os.uname().nodename}:{dead.pid}")
    assert cli("tune", small, *SHORT, "--trials", 2, "-o", "run").status == 0
    rows = trials(tmp_path / "run")
    assert [row["state"] for row in rows] == ["complete", "interrupted", "complete"]
    assert float(rows[2]["train.learning_rate"]) == rate


def test_what_is_set_is_not_searched(cli, small, tmp_path):
    (tmp_path / "c.yaml").write_text(
        "train: {batch_size: 40}\n"
        "tune: {flow.repeat: [2, 3], train.noise: null, train.warmup: {low: 1, high: 9}, train.decay: [none, cosine]}\n"
    )
    done = cli("tune", small, "-c", "c.yaml", *SHORT, "-s", "train.decay=none", "--trials", 3, "-o", "run")
    assert done.status == 0, done.err
    rows = trials(tmp_path / "run")
    assert {*rows[0]} >= {"flow.repeat", "train.warmup", "transform", "train.learning_rate"}
    assert not {*rows[0]} & {"train.batch_size", "train.noise", "train.epochs", "train.decay"}
    assert {row["flow.repeat"] for row in rows} <= {"2", "3"}
    won = load_config("run/config.yaml").train
    assert (won.batch_size, won.epochs, won.decay) == (40, 3, "none")
    assert 1 <= won.warmup <= 9
    done = cli("tune", small, "-c", "maf", *SHORT, "--trials", 1, "-o", "maf")
    assert {key for key in trials(tmp_path / "maf")[0] if "." in key or key in DEFAULT} == {
        key for key in DEFAULT if key.startswith("train.")
    }


def test_a_failed_trial_is_passed_over(cli, small, tmp_path):
    # 4096 units twice in 900 layers are more than a network may have.
    big = (
        "tune={flow: [{transforms: [affine]}, {repeat: 900, transforms: [{affine_coupling: {hidden: [4096, 4096]}}]}]}"
    )
    done = cli("tune", small, *SHORT, "-s", big, "--trials", 4, "-o", "run")
    assert done.status == 0, done.err
    states = [row["state"] for row in trials(tmp_path / "run")]
    assert {*states} == {"complete", "failed"}
    assert re.search(r"^trial \d: failed: .+; best|^trial \d: failed: .+", done.err, re.MULTILINE)


def test_when_every_trial_fails(cli, small, tmp_path):
    big = "tune.flow=[{repeat: 900, transforms: [{affine_coupling: {hidden: [4096, 4096]}}]}]"
    done = cli("tune", small, *SHORT, "-s", big, "--trials", 2, "-o", "run")
    assert done.status == 1
    assert done.out == ""
    assert re.fullmatch("flowcli: every trial failed; the last: .+", done.err.splitlines()[-1])
    assert [row["state"] for row in trials(tmp_path / "run")] == ["failed", "failed"]


def test_holes_are_for_transforms_that_leave_them_out(cli, table, tmp_path):
    rows = normal_rows()
    for row in rows[1::5]:
        row[0] = ""
    done = cli("tune", table(rows), *SHORT, "--trials", 2, "-o", "run")
    assert done.status == 0, done.err
    assert "lu_linear" not in done.err
    done = cli("tune", table(rows), *SHORT, "-s", "tune.linear=[lu_linear]", "--trials", 2, "-o", "other")
    assert done.status == 2
    assert "'tune.linear': nothing that is searched can do with missing cells" in done.err


def test_a_single_number_and_labels_alone(cli, table):
    for name, row in (
        ("x", [["x"], *([repr(i * i % 37 / 8)] for i in range(80))]),
        ("l", [["l", "m"], *("ab", "ba") * 40]),
    ):
        done = cli("tune", table(row, f"{name}.csv"), *SHORT, "--trials", 2, "-o", name)
        assert done.status == 0, done.err


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["-s", "data.validation=0"], 2, "data.validation is 0"),
        (["-c", "maf", *(w for k in DEFAULT if "train" in k for w in ("-s", f"tune.{k}=null"))], 2, "nothing is left"),
        (["--max-time", "soon"], 2, "--max-time: a time is a number"),
        (["--trials", "0"], 2, "--trials"),
        (["--jobs", "0"], 2, "--jobs"),
        (["-o", "."], 2, "holds something else than a search"),
        (["-o", "-"], 2, "-o names a folder"),
        (["--storage", "nowhere://x/y"], 1, "nowhere://x/y: no study can be kept there"),
        (["--storage", "/nowhere/x"], 1, "/nowhere/x: no study can be kept there"),
        (["-s", "tune.train.lerning_rate=[1]"], 2, "Did you mean 'learning_rate'"),
    ],
)
def test_what_is_refused(cli, small, args, status, words):
    done = cli("tune", small, *args)
    assert done.status == status
    assert done.out == ""
    assert words in done.err
    assert "Traceback" not in done.err


def test_without_optuna(cli, small, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = cli("tune", small)
    assert done.status == 1
    assert done.err == "flowcli: tune needs Optuna, which is not installed: pip install 'flowcli[tune]'\n"
    # A config is checked without it.
    assert cli("config", "check", "-s", "tune.flow.repeat=[1, 2]").status == 0


# The section tune


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train.lerning_rate: [1]", "unknown key 'train.lerning_rate'. Did you mean 'learning_rate'?"),
        ("train.learning_rate: {low: 1, high: 5}", "'train.learning_rate' must be at most 1.0; got 5"),
        ("flow.repeat: {low: 0.5, high: 2}", "'flow.repeat' must be a whole number; got 0.5"),
        ("flow.repeat: {low: 3, high: 1}", "low is not below high"),
        ("flow.repeat: {low: 3}", "high is missing"),
        ("flow.repeat: {high: 3}", "low is missing"),
        ("flow.repeat: []", "the list is empty"),
        ("flow.repeat: 3", "write a list of values, or {low: 1, high: 8}"),
        ("flow.repeat: [1, 1]", "the list has 1 twice"),
        ("train.noise: {low: 0, high: 1, log: true}", "log needs a low above 0"),
        ("transform: [splin]", "unknown transform 'splin'"),
        ("linear: [lu_liner]", "unknown transform 'lu_liner'. Did you mean 'lu_linear'?"),
        ("width: {low: 0, high: 3}", "must be at least 1; got 0"),
        ("depth: [100000000000]", "a depth is a whole number from 1 to 16"),
        ("bins: [4.5]", "must be a whole number; got 4.5"),
        ("components: [0]", "must be at least 1; got 0"),
        ("flow.base: [uniform]", "the first transform must be logit"),
        ("data.test: [0.1]", "every trial has the same rows"),
        ("seed: [1, 2]", "the same in every trial"),
        ("train.max_time: [1]", "a trial's time is not searched"),
        ("train: [{epochs: 3}]", "search its keys"),
        ("train.lr: null", "null leaves out a key that is searched by default"),
    ],
)
def test_a_wrong_section_is_told_with_its_place(tmp_path, line, words):
    file = tmp_path / "c.yaml"
    file.write_text(f"tune:\n  {line}\n")
    with pytest.raises(ConfigError) as told:
        load_config(str(file))
    assert str(told.value).startswith(f"{file}:2:3: 'tune.{line.split(':')[0]}': ")
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_words_are_not_for_transforms_that_are_given():
    with pytest.raises(ConfigError, match=r"flow\.transforms are given"):
        load_config("maf", ["tune.bins=[4]"])
    config = load_config("maf", ["tune.flow.transforms.0.affine_autoregressive.hidden=[[8], [16, 16]]"])
    made = with_values(config, {"flow.transforms.0.affine_autoregressive.hidden": [8]})
    assert Config.model_validate(made).flow.transforms[0].parameters.hidden == [8]


def test_every_corner_of_the_space_is_a_good_config():
    config = load_config()
    for features, skipping in product((0, 1, 2, 5), (False, True)):
        space = narrowed(search_space(config), config, features, skipping)
        for corner in product((0, -1), repeat=2):
            for transform, base in product(space["transform"].values() if features else [None], (0, -1)):

                def choose(key, tried, transform=transform, base=base, corner=corner):
                    at = base if key == "flow.base" else corner[key.startswith("train.")]
                    return transform if key == "transform" else tried.values()[at]

                made = Config.model_validate(with_values(config, chosen(space, choose), features))
                assert (made.flow is None) == (features == 0)
