"""Scores of a large Parquet folder by both engines, with a worker killed in the middle; see README.md."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = 10
FILES = 8
PIECE = 250_000
TRAINED_ON = 20_000
HERE = Path(__file__).resolve().parent


@dataclass
class Measured:
    """A command's seconds, and the most memory (MB) that it and all processes that it started took together."""

    seconds: float
    memory: float
    killed: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--config", default="nsf_coupling", help="of the model, which is fitted for one epoch")
    parser.add_argument("--folder", help="where the tables go; by default a folder that is removed")
    parser.add_argument("--write", action="store_true", help="write engines.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        lines = measured(Path(folder), options.rows, options.config)
    print("\n".join(lines))
    if options.write:
        (HERE / "engines.md").write_text("\n".join(["# Engines", "", *lines, ""]))


def measured(folder: Path, rows: int, config: str) -> list[str]:
    write(folder / "big", rows)
    train = next(pq.ParquetFile(folder / "big" / "part-00.parquet").iter_batches(min(TRAINED_ON, rows // FILES)))
    pq.write_table(pa.Table.from_batches([train]), folder / "train.parquet")
    fit = ["fit", "train.parquet", "--drop", "id", "-c", config, "-s", "train.epochs=1", "-o", "run", "-q"]
    run(folder, fit)
    score = ["score", "big", "-m", "run", "--keep", "id", "-q"]
    found = {
        "local": run(folder, [*score, "-o", "local/"]),
        "ray": run(folder, [*score, "-o", "ray/", "--engine", "ray"]),
    }
    killing = [*score, "-o", "killed/", "--engine", "ray"]
    found["ray, a worker killed"] = run(folder, killing, kill_after=found["ray"].seconds / 2)
    table = [
        f"{rows:,} rows by {COLUMNS} numbers in {FILES} Parquet files, scored with the preset `{config}`, on a "
        f"machine with {len(os.sched_getaffinity(0))} processors. Memory is that of all processes of a command.",
        "",
        "| engine | s | rows/s | peak memory, MB | largest difference | rows lost | rows twice |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (name, took), place in zip(found.items(), ("local", "ray", "killed"), strict=True):
        if "killed" in name and not took.killed:
            name = "ray, no worker was killed: it ended too soon"
        difference, lost, twice = compared(folder / "local", folder / place, rows)
        speed, figures = f"{rows / took.seconds:,.0f}", f"{difference:.1e} | {lost:,} | {twice:,}"
        table.append(f"| {name} | {took.seconds:.0f} | {speed} | {took.memory:,.0f} | {figures} |")
    return table


def write(folder: Path, rows: int) -> None:
    """Numbered rows of correlated normals, one of them exponentiated."""
    folder.mkdir()
    random = np.random.default_rng(0)
    mixing = random.normal(size=(COLUMNS, COLUMNS)) / COLUMNS**0.5 + np.eye(COLUMNS)
    names = ["id", *(f"x{k}" for k in range(COLUMNS))]
    schema = pa.schema([("id", pa.int64()), *((name, pa.float64()) for name in names[1:])])
    for number in range(FILES):
        first, stop = rows * number // FILES, rows * (number + 1) // FILES
        with pq.ParquetWriter(folder / f"part-{number:02}.parquet", schema) as file:
            for start in range(first, stop, PIECE):
                ids = np.arange(start, min(start + PIECE, stop))
                values = random.normal(size=(len(ids), COLUMNS)) @ mixing
                values[:, 0] = np.exp(values[:, 0])
                file.write_table(pa.table([ids, *values.T], schema=schema))


def run(folder: Path, arguments: list[str], kill_after: float = np.inf) -> Measured:
    """Run a command; watch the memory of its processes, and kill a worker that is at work after so many seconds."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    started = time.monotonic()
    command = [sys.executable, "-m", "flowcli", *arguments]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    found = Measured(0, 0, 0)
    watch = threading.Thread(target=_watch, args=(process, found, kill_after))
    watch.start()
    status = process.wait()
    found.seconds = time.monotonic() - started
    watch.join()
    if status:
        raise SystemExit(f"flowcli {' '.join(arguments)}: exit status {status}")
    return found


def _watch(process: subprocess.Popen[bytes], found: Measured, kill_after: float) -> None:
    started = time.monotonic()
    while process.poll() is None:
        tree = _tree(process.pid)
        found.memory = max(found.memory, sum(map(_memory, tree)))
        at_work = [pid for pid in tree if b"Worker)).submit" in _read(pid, "cmdline")]
        if at_work and not found.killed and time.monotonic() - started > kill_after:
            with contextlib.suppress(ProcessLookupError):
                os.kill(at_work[0], signal.SIGKILL)
                found.killed += 1
        time.sleep(0.25)


def _tree(root: int) -> list[int]:
    """A process and all that come from it."""
    parents = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            rest = _read(int(place.name), "stat").rpartition(b")")[2].split()
            if rest:
                parents[int(place.name)] = int(rest[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _memory(pid: int) -> float:
    """Megabytes; what several processes share is divided among them."""
    for line in _read(pid, "smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _read(pid: int, name: str) -> bytes:
    try:
        return (Path("/proc") / str(pid) / name).read_bytes()
    except OSError:
        return b""


def compared(one: Path, other: Path, rows: int) -> tuple[float, int, int]:
    """The largest difference of scores, row by row in order, and how many rows are lost, and there more than once."""
    count, difference = np.zeros(rows, dtype=np.int32), 0.0
    for place in sorted(one.iterdir()):
        pieces = [pq.ParquetFile(folder / place.name).read() for folder in (one, other)]
        ids = [piece["id"].to_numpy() for piece in pieces]
        np.add.at(count, ids[1], 1)
        if not np.array_equal(*ids):
            difference = np.inf
            continue
        scores = [piece["log_prob"].to_numpy() for piece in pieces]
        difference = max(difference, float(np.abs(scores[0] - scores[1]).max()))
    return difference, int((count == 0).sum()), int((count > 1).sum())


if __name__ == "__main__":
    main()
