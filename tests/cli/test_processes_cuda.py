"""Fits by processes of several machines, each with a GPU: gradients go by NCCL.

The machines are this one. NCCL allows no two processes on one GPU of a machine; told that they are on two, it has them
send through the network.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from running import Ended, environment

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

DEVICE = "cuda"
FIT = ["fit", "t.parquet", "-c", "nsf_autoregressive", "-s", "flow.repeat=2", "-s", "train.batch_size=60"]
FIT += ["-s", "train.compile=never", "--device", DEVICE, "--threads", "1"]
# Each process tells its steps' losses, and the backends that it sends by; checkpoints are frequent.
TOLD = """
import os, sys, torch
import flowcli.training.trainer as trainer
trainer.SECONDS_BETWEEN_CHECKPOINTS = trainer.SECONDS_BEFORE_A_BEST_ONE = 0.05
trainer.MOST_TIME_FOR_CHECKPOINTS = 1.0
step = trainer.Training._step
def told(self, *args):
    loss = step(self, *args)
    with open(f"{sys.argv[-1]}.steps.{self.processes.rank}", "a") as file:
        backend = torch.distributed.get_backend_config() if self.processes.world > 1 else "none"
        print(loss, backend, self.device, os.getpid(), file=file)
    return loss
trainer.Training._step = told
from flowcli.__main__ import main
main()
"""


@contextmanager
def machines(folder: Path, count: int, *args: object, restarts: int = 0) -> Iterator[list[subprocess.Popen[str]]]:
    """A torchrun of one process on each of so many machines."""
    (folder / "program.py").write_text(TOLD)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--local-addr=127.0.0.1"]
    torchrun = ["-m", "torch.distributed.run", f"--nnodes={count}", "--nproc-per-node=1", *meeting]
    command = [sys.executable, *torchrun, f"--max-restarts={restarts}", "program.py", *map(str, args)]
    started = [
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment(NCCL_HOSTID=f"machine-{number}", NCCL_SOCKET_IFNAME="lo", GLOO_SOCKET_IFNAME="lo"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    try:
        yield started
    finally:
        for each in started:
            each.terminate()


def ended(processes: list[subprocess.Popen[str]]) -> list[Ended]:
    """How all of them ended; their output is read as it comes, as a full pipe would stop them."""
    found: dict[int, tuple[str, str]] = {}

    def read(number: int) -> None:
        found[number] = processes[number].communicate(timeout=100)

    readers = [threading.Thread(target=read, args=(number,)) for number in range(len(processes))]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return [Ended(process.returncode, *found[number]) for number, process in enumerate(processes)]


def steps(run: Path, rank: int) -> pd.DataFrame:
    return pd.read_csv(f"{run}.steps.{rank}", sep=" ", names=["loss", "backend", "device", "process"])


def score(run: Path) -> dict[str, float]:
    """The mean log-likelihood of the test rows, and its standard error."""
    told: dict[str, float] = json.loads((run / "metrics.json").read_text())["test_log_likelihood"]
    return told


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of numbers, of which some are missing, and labels, in row groups."""
    where = tmp_path_factory.mktemp("machines")
    random = np.random.default_rng(0)
    x = random.normal(size=1500)
    frame = pd.DataFrame({"x": x, "y": 0.5 * x**2 + 0.3 * random.normal(size=1500)})
    frame["kind"] = random.choice(["a", "b", "c"], 1500)
    frame.loc[1460:1470, "y"] = np.nan
    frame.to_parquet(where / "t.parquet", row_group_size=200)
    return where


@pytest.fixture(scope="module")
def alone(folder: Path) -> Path:
    """The run of a single process."""
    (folder / "program.py").write_text(TOLD)
    done = subprocess.run(
        [sys.executable, "program.py", *FIT, "-s", "train.epochs=6", "-o", "alone"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "alone"


def test_two_machines_train_as_one_process_does(folder: Path, alone: Path) -> None:
    with machines(folder, 2, *FIT, "-s", "train.epochs=6", "-o", "two") as started:
        first, second = sorted(ended(started), key=lambda each: -len(each.out))
    assert (first.status, first.out) == (0, "two\n"), first.err
    assert (second.status, second.out) == (0, ""), second.err
    run, one = folder / "two", steps(alone, 0)
    for rank in (0, 1):
        two = steps(run, rank)
        assert len(two) == len(one) >= 100
        assert set(two.device) == {f"{DEVICE}:0"}
        assert all("cuda:nccl" in backend for backend in two.backend)
        # Rounding grows, the faster where a number passes from one bin of a spline to the next.
        assert np.abs(two.loss - one.loss)[:60].max() < 1e-4
        assert np.abs(two.loss - one.loss).max() < 1e-2
    scores = [pd.read_csv(each / "test_scores.csv") for each in (alone, run)]
    assert scores[0].row.equals(scores[1].row)
    assert abs(score(alone)["mean"] - score(run)["mean"]) < 1e-2


def test_a_killed_process_costs_nothing_but_time(folder: Path, alone: Path) -> None:
    run = folder / "killed"
    with machines(folder, 2, *FIT, "-s", "train.epochs=6", "-o", "killed", restarts=1) as started:
        waiting = threading.Thread(target=_kill_after_a_checkpoint, args=(run,))
        waiting.start()
        done = ended(started)
        waiting.join()
    assert [each.status for each in done] == [0, 0], done
    assert sorted(each.out for each in done) == ["", "killed\n"]
    assert steps(run, 1).process.nunique() == 2
    assert "going on in epoch" in "".join(each.err for each in done)
    one, other = score(alone), score(run)
    assert abs(one["mean"] - other["mean"]) < one["standard_error"]
    assert len(pd.read_csv(run / "history.csv")) == 6


def _kill_after_a_checkpoint(run: Path) -> None:
    """End the process with rank 1 as it trains, once there is something to go on from."""
    deadline = time.monotonic() + 120
    told = Path(f"{run}.steps.1")
    while time.monotonic() < deadline:
        if (run / "checkpoint.safetensors").exists() and told.exists() and len(steps(run, 1)) > 50:
            os.kill(int(steps(run, 1).process.iloc[-1]), signal.SIGKILL)
            return
        time.sleep(0.01)
