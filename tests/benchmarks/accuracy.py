"""Test log-likelihoods of configs on tables with a fixed split; see README.md beside this file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds NAME/train.csv and NAME/test.csv for each table")
    parser.add_argument("--table", action="append", help="a table's name; may be repeated; by default all")
    parser.add_argument("--config", action="append", help="a preset or file; may be repeated; by default the default")
    parser.add_argument("--max-time", default="100s")
    parser.add_argument("--seed", default="0")
    options = parser.parse_args()
    if not options.folder.is_dir():
        sys.exit(f"{options.folder}: not there; these figures need its tables")
    tables = options.table or sorted(path.parent.name for path in options.folder.glob("*/train.csv"))
    machine = platform.processor() or platform.machine()
    print(f"{machine}, one thread, --max-time {options.max_time}, seed {options.seed}\n")
    print("| table | config | test log-likelihood | full Gaussian | parameters | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for table in tables:
        for config in options.config or [None]:
            metrics = fit(options.folder / table, config, options.max_time, options.seed)
            test, gaussian = metrics["test_log_likelihood"], metrics["baselines"]["gaussian"]
            print(
                f"| {table} | {config or 'default'} | {test['mean']:.3f} ± {test['standard_error']:.3f} "
                f"| {gaussian['mean']:.3f} | {metrics['parameters']:,} | {metrics['seconds']:.0f} |",
                flush=True,
            )


def fit(table: Path, config: str | None, max_time: str, seed: str) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "flowcli", "fit", str(table / "train.csv"), "--test", str(table / "test.csv")]
        command += ["--max-time", max_time, "--seed", seed, "-o", f"{folder}/run", "--json", "-q"]
        command += ["-c", config] if config else []
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


if __name__ == "__main__":
    main()
