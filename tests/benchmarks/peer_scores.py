"""Scores of the peers on each table, computed once and kept in a file."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from density_peers import PEERS, score
from mixed_peers import score_by_cells
from numpy.typing import NDArray
from peers import package
from timing import processor

# The peers' figures are the same beside every seed of flowcli's.
SEED = 0


class PeerScores:
    """Log-densities of test rows by each peer that is installed, in processes of one thread each."""

    def __init__(self, file: Path | None, limit: float, jobs: int) -> None:
        self.names = [name for name, peer in PEERS.items() if not peer.library or find_spec(package(peer.library)[1])]
        self.missing = [name for name in PEERS if name not in self.names]
        # Where those that were asked for were computed, which may be elsewhere where they were kept.
        self.processors: set[str] = set()
        self._file, self._limit = file, limit
        self._kept: dict[str, Any] = json.loads(file.read_text()) if file and file.exists() else {}
        self._lock = threading.Lock()
        # Read when the processes load their libraries.
        os.environ["OMP_NUM_THREADS"] = "1"
        self._pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))

    def of(self, name: str, folder: Path) -> NDArray[np.float64]:
        """Of the rows of ``folder/test.csv``, in their own units; NaN where the peer failed."""
        files = b"".join((folder / file).read_bytes() for file in ("train.csv", "test.csv"))
        made_of = {"data": hashlib.sha256(files).hexdigest(), "limit": self._limit if PEERS[name].library else None}
        key = f"{folder.name}: {name}"
        with self._lock:
            kept = self._kept.get(key)
        if kept is None or kept["of"] != made_of:
            scores, seconds = self._pool.submit(compute, name, folder, self._limit).result()
            kept = {
                "of": made_of,
                "on": processor(),
                "seconds": round(seconds, 1),
                "scores": np.round(scores, 6).tolist(),
            }
            with self._lock:
                self._kept[key] = kept
                self._write()
        self.processors.add(kept["on"])
        return np.array(kept["scores"])

    def _write(self) -> None:
        if self._file:
            new = self._file.with_name(self._file.name + ".new")
            new.write_text(json.dumps(self._kept) + "\n")
            new.replace(self._file)


def compute(name: str, folder: Path, limit: float) -> tuple[NDArray[np.float64], float]:
    """Scores of the test rows, and the seconds of the processor's time that they took."""
    train, test = (pd.read_csv(folder / file) for file in ("train.csv", "test.csv"))
    started = time.process_time()
    try:
        if all(pd.api.types.is_numeric_dtype(train[column]) for column in train):
            scores = score(name, train.to_numpy(float), test.to_numpy(float), SEED, limit)
        else:
            scores = score_by_cells(name, train, test, SEED, limit)
    # Whatever it is: the others go on without it.
    except Exception as error:
        print(f"{folder.name}: {name} failed: {error}".splitlines()[0], file=sys.stderr)
        scores = np.full(len(test), np.nan)
    return scores, time.process_time() - started
