"""Fits by several processes, as torchrun starts them for real: Gloo on this machine's processors."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from running import Ended, environment

import flowcli

FIT = ["-c", "nsf_autoregressive", "-s", "flow.repeat=2", "-s", "train.batch_size=60"]
# What the program sees as a table that is too large to be kept, and checkpoints as often as a long run has them.
SMALL = """
import sys
import flowcli.tables.source as source
source.MOST_ROWS_IN_MEMORY = 300
import flowcli.preparing
import flowcli.preprocess.spool
import flowcli.training.batches as batches
import flowcli.training.trainer as trainer
for module in (flowcli.preparing, flowcli.preprocess.spool):
    module.MOST_ROWS_IN_MEMORY = 300
flowcli.preparing.survey_for.__defaults__ = (300,)
batches.BLOCK_ROWS, batches.BLOCKS_MIXED = 32, 8
"""
OFTEN = """
import flowcli.training.trainer as trainer
trainer.SECONDS_BETWEEN_CHECKPOINTS = trainer.SECONDS_BEFORE_A_BEST_ONE = 0.05
trainer.MOST_TIME_FOR_CHECKPOINTS = 1.0
"""
# The mean negative log-likelihood of each step's rows, written beside the run; -o comes last.
STEPS = """
import sys
from flowcli.training.trainer import Training
step = Training._step
def told(self, *args):
    loss = step(self, *args)
    if self.processes.first:
        with open(sys.argv[-1] + ".steps", "a") as file:
            print(loss, file=file)
    return loss
Training._step = told
"""
MAIN = "\nfrom flowcli.__main__ import main\nmain()\n"


def processes(folder: Path, count: int, *args: object, before: str = "", restarts: int = 0) -> subprocess.Popen[bytes]:
    """``flowcli fit`` in so many processes; ``before``: what each does first."""
    (folder / "program.py").write_text(before + MAIN)
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    command = [sys.executable, *torchrun, f"--max-restarts={restarts}", "program.py", "fit", *map(str, args)]
    return subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ended(process: subprocess.Popen[bytes]) -> Ended:
    try:
        out, err = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        # It ends its processes, which are no part of its group.
        process.terminate()
        raise
    return Ended(process.returncode, out.decode(), err.decode())


def alone(folder: Path, *args: object, before: str = "") -> Ended:
    (folder / "alone.py").write_text(before + MAIN)
    done = subprocess.run(
        [sys.executable, "alone.py", "fit", *map(str, args)], cwd=folder, env=environment(), capture_output=True
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def metrics(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of all kinds of columns, in a CSV and in a folder of Parquet files."""
    where = tmp_path_factory.mktemp("processes")
    random = np.random.default_rng(0)
    n = 1500
    x = random.normal(size=n)
    frame = pd.DataFrame(
        {
            "x": x,
            "y": 0.5 * x**2 + 0.3 * random.normal(size=n),
            "price": np.exp(random.normal(size=n)).round(2),
            "kind": random.choice(["a", "b", "c"], n),
            "count": random.integers(0, 50, n),
        }
    )
    # The last rows have what the first have not: a hole, a label, the extremes.
    frame.loc[n - 40 : n - 30, "price"] = np.nan
    frame.loc[n - 20 : n - 8, "kind"] = "late"
    frame.loc[n - 5, "x"] = 9.0
    frame.to_csv(where / "t.csv", index=False)
    (where / "parts").mkdir()
    for part in range(3):
        some = frame.iloc[part * 500 : (part + 1) * 500]
        some.to_parquet(where / "parts" / f"{part}.parquet", row_group_size=120)
    return where


@pytest.fixture(scope="module")
def one_process(folder: Path) -> Callable[[str, str], Ended]:
    """The fit by a single process, once for all numbers of processes."""

    @functools.cache
    def run(data: str, before: str) -> Ended:
        return alone(folder, data, *FIT, "-s", "train.epochs=5", "-o", f"one-{data}", before=before)

    return run


@pytest.mark.parametrize(
    ("count", "data", "before"),
    [(2, "t.csv", STEPS), (2, "parts", SMALL + STEPS), (4, "parts", SMALL + STEPS)],
    ids=["kept", "large, two", "large, four"],
)
def test_many_processes_train_as_one_does(
    folder: Path, one_process: Callable[[str, str], Ended], count: int, data: str, before: str
) -> None:
    """Statistics are equal, and with the same global batches the curve is, step by step, and the scores."""
    one = one_process(data, before)
    assert one.status == 0, one.err
    name = f"many-{count}-{data}"
    many = ended(processes(folder, count, data, *FIT, "-s", "train.epochs=5", "-o", name, before=before))
    assert (many.status, many.out) == (0, f"{name}\n"), many.err
    # All that is told is told once, and is the same but for times and names, and for which epochs are told in time.
    said = [re.sub(r"[0-9.]+ s |one-|many-\d-|(?m:^epoch .*\n)", "", text).splitlines() for text in (one.err, many.err)]
    assert [line for line in said[1] if line in said[0]] == said[0]

    runs = [folder / f"one-{data}", folder / name]
    # Kinds, labels, bounds and counts, and means and scales to the last digit.
    columns = [flowcli.load(run).header.columns for run in runs]
    assert columns[0] == columns[1]
    assert {column.name for column in columns[0] if column.mean and column.scale != 1} >= {"x", "y", "price"}
    assert "late" in next(column for column in columns[0] if column.name == "kind").categories
    curves = [pd.read_csv(run / "history.csv") for run in runs]
    losses = [np.loadtxt(f"{run}.steps") for run in runs]
    assert len(losses[0]) == len(losses[1]) >= 100
    assert np.abs(losses[0] - losses[1])[:100].max() < 1e-4
    assert len(curves[0]) == len(curves[1]) == 5
    for curve in ("training_log_likelihood", "validation_log_likelihood"):
        assert np.abs(curves[0][curve] - curves[1][curve]).max() < 1e-4
    scores = [pd.read_csv(run / "test_scores.csv") for run in runs]
    assert scores[0].row.equals(scores[1].row)
    assert np.abs(scores[0].log_prob - scores[1].log_prob).max() < 1e-2
    assert metrics(runs[0])["rows"] == metrics(runs[1])["rows"]
    tests = [metrics(run)["test_log_likelihood"] for run in runs]
    assert abs(tests[0]["mean"] - tests[1]["mean"]) < 1e-4


def test_a_killed_process_costs_nothing_but_time(folder: Path) -> None:
    args = ["t.csv", *FIT, "-s", "train.epochs=15"]
    whole = alone(folder, *args, "-o", "whole")
    assert whole.status == 0, whole.err
    run = folder / "killed"
    process = processes(folder, 2, *args, "-o", "killed", before=OFTEN, restarts=1)
    # Its output is read as it comes: a full pipe would stop it.
    found: list[Ended] = []
    reader = threading.Thread(target=lambda: found.append(ended(process)))
    reader.start()
    worker = _when_trained_a_little(process.pid, run)
    assert not (run / "metrics.json").exists()
    os.kill(worker, signal.SIGKILL)
    reader.join()
    (done,) = found
    assert (done.status, done.out) == (0, "killed\n"), done.err
    assert "going on in epoch" in done.err
    one, other = (metrics(each)["test_log_likelihood"] for each in (folder / "whole", run))
    assert abs(one["mean"] - other["mean"]) < one["standard_error"]
    assert len(pd.read_csv(run / "history.csv")) == 15


def _when_trained_a_little(torchrun: int, run: Path) -> int:
    """The process with rank 1 of torchrun's, after some checkpoints."""
    seen: set[int] = set()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        checkpoint = run / "checkpoint.safetensors"
        if checkpoint.exists():
            seen.add(checkpoint.stat().st_mtime_ns)
        if len(seen) > 4:
            return next(worker for worker in _children(torchrun) if b"\0RANK=1\0" in _environment(worker))
        time.sleep(0.01)
    raise AssertionError("no checkpoints")


def _children(parent: int) -> list[int]:
    stats = [(int(place.name), _text(place / "stat")) for place in Path("/proc").iterdir() if place.name.isdigit()]
    return [number for number, text in stats if text and int(text.rpartition(") ")[2].split()[1]) == parent]


def _text(place: Path) -> str:
    try:
        return place.read_text()
    except OSError:
        return ""


def _environment(process: int) -> bytes:
    return b"\0" + Path(f"/proc/{process}/environ").read_bytes() + b"\0"


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["t.csv"], 2, "-o must name the run's folder"),
        (["odd.csv", "-o", "no"], 1, "odd.csv: row 3: has 3 cells, the header has 2"),
        (["t.csv", "-o", "no", "-s", "flow.transforms=[batchnorm]"], 2, "batchnorm"),
    ],
)
def test_an_error_is_told_once_and_ends_all(folder: Path, args: list[str], status: int, message: str) -> None:
    (folder / "odd.csv").write_text("x,y\n1,2\n3,4\n5,6,7\n")
    done = ended(processes(folder, 2, *args))
    assert done.status == 1  # torchrun's own
    ours = [line for line in done.err.splitlines() if line.startswith("flowcli:")]
    assert len(ours) == 1, done.err
    assert message in ours[0]
    assert f"exitcode  : {status} " in done.err
    assert not (folder / "no").exists()
