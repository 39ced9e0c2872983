"""Whole commands for speed.py, beside the floor: starting torch, and the fastest readers and writers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import torch
from peers import COMPILING, LIBRARIES, package
from timing import FEWEST_ROUNDS, quartiles

IRIS = Path(__file__).parents[2] / "data" / "iris.csv"
ROWS, COLUMNS = 1_000_000, 6
SCORED = f"flowcli score, {ROWS:,} x {COLUMNS}, CSV to CSV"
CONFIG = """
flow:
  repeat: 5
  transforms:
    - affine_autoregressive: {hidden: [64, 64]}
    - permute: {order: reverse}
train: {epochs: 1}
"""
FLOWCLI = ["-m", "flowcli"]
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    **{
        f"import {module}": ["-c", f"import {module}"]
        for module in dict.fromkeys(["torch", *(package(name)[1] for name in (*LIBRARIES, *COMPILING))])
        if module != "flowcli" and find_spec(module)
    },
    "flowcli --help": [*FLOWCLI, "--help"],
    "flowcli score, one row": [*FLOWCLI, "score", "{row}", "-m", "{run}", "-q"],
    "flowcli sample --n 1": [*FLOWCLI, "sample", "--n", "1", "-m", "{run}", "-q"],
    "flowcli fit iris.csv, 2 epochs": [
        *FLOWCLI,
        "fit",
        str(IRIS),
        "-o",
        "{new}",
        "--force",
        "-q",
        "-s",
        "train.epochs=2",
    ],
    f"flowcli sample --n 100000, {COLUMNS} columns": [
        *FLOWCLI,
        "sample",
        "--n",
        "100000",
        "-m",
        "{maf}",
        "-q",
        "-o",
        "{out}",
        "--force",
    ],
    SCORED: [*FLOWCLI, "score", "{table}", "-m", "{maf}", "-q", "-o", "{out}", "--force"],
}
# In this process: the CSV of SCORED read, a column as long written, each by several libraries, and its rows scored.
READING, WRITING, SCORING, IN_FLOAT32 = (
    "read the CSV, ",
    "write a CSV of scores, ",
    "score in memory",
    "score in memory, float32",
)


@dataclass
class Files:
    """What the commands are given."""

    folder: Path

    @property
    def names(self) -> dict[str, str]:
        names = {"row": "row.csv", "run": "run", "new": "new", "maf": "maf", "table": "table.csv", "out": "out.csv"}
        return {key: str(self.folder / name) for key, name in names.items()}


def measure(pattern: Callable[[str], bool], rounds: int, threads: int) -> dict[str, Any]:
    """Seconds of the commands whose names the pattern finds, interleaved; one call before fills the caches of files."""
    chosen = {name: command for name, command in COMMANDS.items() if pattern(name)}
    if not chosen:
        return {}
    if SCORED in chosen:
        chosen["import torch"] = COMMANDS["import torch"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with files(SCORED in chosen or any("{maf}" in command for command in chosen.values())) as given:
        commands = {
            name: [part.format(**given.names) if part.startswith("{") else part for part in command]
            for name, command in chosen.items()
        }

        def process(command: list[str], *flags: str) -> str:
            done = subprocess.run(
                [sys.executable, *flags, *command], check=True, env=environment, capture_output=True, text=True
            )
            return done.stderr

        results: dict[str, dict[str, Any]] = {name: {"rounds": []} for name in commands}
        calls: dict[str, Callable[[], Any]] = {name: lambda c=command: process(c) for name, command in commands.items()}
        if SCORED in chosen:
            floor = dict(floor_of(given, rounds))
            results |= {name: {"rounds": []} for name in floor}
            calls |= floor
        for name, command in commands.items():
            if command[0] == "-m":
                told = process(command, "-X", "importtime")
                results[name]["torch"] = any(line.rpartition("|")[2].strip() == "torch" for line in told.splitlines())
        for turn in range(rounds + 1):
            for name, call in calls.items():
                before = time.perf_counter()
                call()
                if turn:
                    results[name]["rounds"].append(time.perf_counter() - before)
    for name in (SCORING, IN_FLOAT32):
        if name in results:
            # A round does its share of the rows.
            results[name]["rounds"] = [seconds * share_of(rounds) for seconds in results[name]["rounds"]]
    return {name: {**result, "seconds": quartiles(result["rounds"])} for name, result in results.items()}


def share_of(rounds: int) -> int:
    """In so many rounds all rows are done; one that is only tried does no more."""
    return max(rounds, FEWEST_ROUNDS)


def sums(processes: dict[str, Any]) -> dict[str, Any]:
    """What scoring a table costs at least: starting torch, reading, scoring and writing, added up."""
    if SCORED not in processes:
        return {}
    whole = processes[SCORED]["seconds"][1]
    fixed = processes["import torch"]["seconds"][1]
    for begin in (READING, WRITING):
        fixed += min(result["seconds"][1] for name, result in processes.items() if name.startswith(begin))
    found = {}
    for scoring, name in ((SCORING, SCORED), (IN_FLOAT32, f"{SCORED}, beside scoring in float32")):
        total = fixed + processes[scoring]["seconds"][1]
        found[name] = {"whole": whole, "sum": total, "ratio": whole / total}
    return found


def floor_of(given: Files, rounds: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Reading, writing, and a round's share of scoring the same rows with the same model."""
    from flowcli.chunks import CHUNK
    from flowcli.flows.rows import Rows
    from flowcli.model import Model
    from flowcli.tables.read import read_table

    table, out = given.names["table"], given.names["out"]
    scores = np.random.default_rng(1).normal(size=ROWS)
    column = pa.table({"log_prob": scores})
    yield READING + "pyarrow", lambda: pa.csv.read_csv(table)
    yield WRITING + "pyarrow", lambda: pa.csv.write_csv(column, out)
    if find_spec("polars"):
        import polars

        frame = polars.DataFrame({"log_prob": scores})
        yield READING + "polars", lambda: polars.read_csv(table)
        yield WRITING + "polars", lambda: frame.write_csv(out)
    model = Model.load(given.names["maf"], "cpu")
    some = given.folder / "some.csv"
    share = ROWS // share_of(rounds)
    pa.csv.write_csv(pa.csv.read_csv(table).slice(0, share), some)
    encoded = model.encoder.encode(read_table([str(some)]))
    rows = Rows.of(encoded, torch.device("cpu"), torch.float32)
    single = Model.load(given.names["maf"], "cpu").density.float()

    @torch.inference_mode()
    def in_float32() -> None:
        for part in rows.chunks(CHUNK):
            single.log_prob(part)

    yield SCORING, lambda: model.score_encoded(encoded)
    yield IN_FLOAT32, in_float32


@contextmanager
def files(large: bool) -> Iterator[Files]:
    """A run folder of a small fit, a file with one row, and where they are needed a large table and a run of it."""
    with tempfile.TemporaryDirectory() as folder:
        given = Files(Path(folder))
        names = given.names
        fit = [sys.executable, *FLOWCLI, "fit", "-q"]
        subprocess.run([*fit, str(IRIS), "-o", names["run"], "-s", "train.epochs=2"], check=True, capture_output=True)
        Path(names["row"]).write_text("".join(IRIS.read_text().splitlines(keepends=True)[:2]))
        if large:
            generator = np.random.default_rng(0)
            mixed = generator.normal(size=(ROWS, COLUMNS)) @ generator.normal(size=(COLUMNS, COLUMNS))
            table = pa.table({f"x{column}": mixed[:, column] for column in range(COLUMNS)})
            pa.csv.write_csv(table, names["table"])
            small, config = Path(folder) / "small.csv", Path(folder) / "maf.yaml"
            pa.csv.write_csv(table.slice(0, 5000), small)
            config.write_text(CONFIG)
            subprocess.run([*fit, small, "-c", config, "-o", names["maf"]], check=True, capture_output=True)
        yield given
