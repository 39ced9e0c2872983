"""Whole commands of flowcli, started as a user starts them, for the benchmarks of accuracy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paired import Mean

# A fit may use as many processors.
PROCESSORS = 2
COUNTS_OF_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


class FitFailed(Exception):
    """What the command said last."""


@dataclass(frozen=True)
class Fit:
    """A finished fit."""

    # Of the whole process, its start and its end too.
    seconds: float
    metrics: dict[str, Any]
    # Log-likelihood of each test row, in nats.
    scores: NDArray[np.float64]

    @property
    def told(self) -> Mean:
        """The test score that the fit itself tells; an infinite one is kept as nothing."""
        test = self.metrics["test_log_likelihood"]
        mean, error = (np.nan if test[key] is None else test[key] for key in ("mean", "standard_error"))
        return Mean(mean, error)


def limit_processors() -> None:
    """Keep this process, and those that it starts, to the processors that a fit may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])


def fit(*arguments: str | Path, run: Path | None = None, threads: int | None = None) -> Fit:
    """``flowcli fit`` into the run folder, or one that is removed; without ``threads`` as many as it takes itself."""
    with tempfile.TemporaryDirectory() as place:
        folder = run or Path(place) / "run"
        started = time.perf_counter()
        flowcli("fit", *arguments, "-o", folder, "-q", threads=threads)
        seconds = time.perf_counter() - started
        scores = np.loadtxt(folder / "test_scores.csv", delimiter=",", skiprows=1, ndmin=2)[:, 1]
        return Fit(seconds, json.loads((folder / "metrics.json").read_text()), scores)


def score(table: Path, run: Path) -> NDArray[np.float64]:
    """``flowcli score``: the log-likelihood of each row."""
    return np.loadtxt(flowcli("score", table, "-m", run, "-q").splitlines(), skiprows=1, ndmin=1)


def flowcli(*arguments: str | Path, threads: int | None = None) -> str:
    """A command's stdout."""
    environment = {name: value for name, value in os.environ.items() if name not in COUNTS_OF_THREADS}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, "-m", "flowcli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise FitFailed(done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}")
    return done.stdout
