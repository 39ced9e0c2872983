"""How much memory fits and scores of large tables take; see README.md."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np

COLUMNS = 10
PIECE = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the table that is fitted")
    parser.add_argument("--scored", type=int, default=5_000_000, help="rows scored from standard input")
    parser.add_argument("--max-time", default="60s", help="of the training")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        write(table, options.rows)
        print(f"{options.rows:,} rows by {COLUMNS} columns, {table.stat().st_size / 1e6:.0f} MB of CSV\n")
        print("| command | rows | peak memory, MB | s |")
        print("| --- | --- | --- | --- |")
        run = f"{folder}/run"
        measure("fit", options.rows, ["fit", str(table), "-o", run, "-q", "--max-time", options.max_time])
        for rows in (50_000, options.scored):
            measure("score, from stdin", rows, ["score", "-m", run, "-q"], head=(table, rows))


def write(table: Path, rows: int) -> None:
    """Correlated normals, one of them exponentiated, with five decimals."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(COLUMNS, COLUMNS)) / COLUMNS**0.5 + np.eye(COLUMNS)
    with table.open("w") as file:
        file.write(",".join(f"x{k}" for k in range(COLUMNS)) + "\n")
        for start in range(0, rows, PIECE):
            values = random.normal(size=(min(PIECE, rows - start), COLUMNS)) @ mixing
            values[:, 0] = np.exp(values[:, 0])
            np.savetxt(file, values, fmt="%.5f", delimiter=",")


def measure(name: str, rows: int, arguments: list[str], head: tuple[Path, int] | None = None) -> None:
    """Run a command and print its peak memory and its time, in a process of its own: a peak is never lowered."""
    with get_context("spawn").Pool(1) as pool:
        peak, seconds = pool.apply(run, (arguments, head))
    print(f"| {name} | {rows:,} | {peak:.0f} | {seconds:.0f} |", flush=True)


def run(arguments: list[str], head: tuple[Path, int] | None) -> tuple[float, float]:
    """Peak resident memory in MB, and seconds."""
    started = time.monotonic()
    command = [sys.executable, "-m", "flowcli", *arguments]
    if head is None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    else:
        table, rows = head
        with subprocess.Popen(["head", "-n", str(rows + 1), table], stdout=subprocess.PIPE) as source:
            subprocess.run(command, check=True, stdin=source.stdout, stdout=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, time.monotonic() - started


if __name__ == "__main__":
    main()
