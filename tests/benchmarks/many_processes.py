"""How fast several processes train one model, each on a core of its own; see README.md."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

COLUMNS = 10
EPOCHS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="how many, the first to compare with")
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 256, 512], help="widths of two hidden layers")
    parser.add_argument("--batch", type=int, default=4096, help="rows of a step, of all processes together")
    parser.add_argument("--rows", type=int, default=20_000, help="of the table")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, in turn; the median is told")
    parser.add_argument("--write", type=Path, help="write the table there")
    options = parser.parse_args()
    given = ["FILE" if options.write and word == str(options.write) else word for word in sys.argv[1:]]
    lines = [
        "# Training on several processes",
        "",
        f"`python {' '.join(['tests/benchmarks/many_processes.py', *given])}`, "
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, torch {torch.__version__}, Python {platform.python_version()}, "
        f"{platform.machine()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before.",
        "",
        f"Rows in a second of the best epoch, {COLUMNS} columns, batches of {options.batch} rows in all, "
        "`nsf_autoregressive` with two hidden layers in each network; one thread and one core for each process, Gloo.",
        "",
        "| hidden | processes | rows/s | times the first |",
        "| --- | --- | --- | --- |",
    ]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        mixing = np.random.default_rng(1).normal(size=(COLUMNS, COLUMNS))
        values = np.tanh(np.random.default_rng(0).normal(size=(options.rows, COLUMNS)) @ mixing)
        pd.DataFrame(values, columns=[f"x{k}" for k in range(COLUMNS)]).to_csv(table, index=False)
        for width in options.hidden:
            found: dict[int, list[float]] = {count: [] for count in options.processes}
            for repeat in range(options.repeats):
                for count in options.processes:
                    run = Path(folder) / f"{width}-{count}-{repeat}"
                    found[count].append(rows_per_second(table, run, width, count, options))
            base = found[options.processes[0]]
            for count, rates in found.items():
                # Runs that follow each other meet the same load of the machine.
                times = statistics.median(rate / other for rate, other in zip(rates, base, strict=True))
                line = f"| [{width}, {width}] | {count} | {statistics.median(rates):,.0f} | {times:.2f} |"
                lines.append(line)
                print(line, flush=True)
    if options.write:
        options.write.write_text("\n".join(lines) + "\n")


def rows_per_second(table: Path, run: Path, width: int, count: int, options: argparse.Namespace) -> float:
    """The best epoch's, without the first: what else the machine does only makes it slower."""
    transforms = f"[{{spline_autoregressive: {{hidden: [{width}, {width}]}}}}, triangular_affine]"
    fit = ["-m", "flowcli", "fit", str(table), "-q", "-c", "nsf_autoregressive", "-o", str(run)]
    settings = {"flow.transforms": transforms, "train.epochs": EPOCHS, "train.batch_size": options.batch}
    fit += [word for key, value in settings.items() for word in ("-s", f"{key}={value}")]
    start = [sys.executable, *fit]
    if count > 1:
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", *fit]
    cores = sorted(os.sched_getaffinity(0))[:count]

    def on_cores() -> None:
        os.sched_setaffinity(0, cores)

    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(start, check=True, env=env, stdout=subprocess.DEVNULL, preexec_fn=on_cores)
    training = options.rows * 0.8
    return float(training / pd.read_csv(run / "history.csv").seconds[1:].min())


if __name__ == "__main__":
    main()
