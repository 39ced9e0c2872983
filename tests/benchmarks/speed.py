"""The speed of flowcli beside Pyro, zuko, nflows and normflows; see README.md beside this file."""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from peers import LIBRARIES, PACKAGES, Architecture, Model, build, flowcli_flow, installed, perturb
from torch import Tensor

IRIS = Path(__file__).parents[2] / "data" / "iris.csv"
# Each library is timed for at least so long in each round, or for one call.
SECONDS = 0.1
BATCH = 512
ROWS = 4096
# The largest difference, absolute or relative, of flowcli's float32 from its float64.
TOLERANCE = 1e-4
# The share of the time that others may take before it is told.
BUSY = 0.1
PROCESS_ROUNDS = 7
FLOAT64, PRODUCTS = "flowcli, float64", "products alone"


@dataclass(frozen=True)
class Line:
    """One row of the table: what is done, with which flow, how many rows at a time."""

    task: str
    architecture: Architecture
    rows: int

    @property
    def name(self) -> str:
        return f"{self.task}: {self.architecture.name}, {self.rows} rows"


@dataclass
class Timed:
    """Seconds of each library's call, by round: on the clock, and of the processor."""

    seconds: dict[str, list[float]]
    processor: dict[str, list[float]]
    # The share of the time in which this process did not run.
    lost: float | None = None


LINES = [
    Line("training step", Architecture("MAF", 6, 64), BATCH),
    Line("training step", Architecture("MAF", 43, 512), BATCH),
    Line("training step", Architecture("spline coupling", 6, 64), BATCH),
    Line("training step", Architecture("spline coupling", 43, 64), BATCH),
    Line("training step", Architecture("spline autoregressive", 6, 64), BATCH),
    Line("training step", Architecture("spline autoregressive", 43, 64), BATCH),
    Line("scoring", Architecture("MAF", 6, 64), ROWS),
    Line("scoring", Architecture("spline coupling", 6, 64), ROWS),
    Line("sampling", Architecture("MAF", 6, 64), ROWS),
    Line("sampling", Architecture("MAF", 16, 128), ROWS),
    Line("sampling", Architecture("MAF", 43, 512), ROWS),
    Line("sampling", Architecture("spline autoregressive", 6, 64), ROWS),
    # Where others take some ten seconds for 4096.
    Line("sampling", Architecture("spline autoregressive", 43, 64), BATCH),
]
COMMANDS = {
    "import torch": ["-c", "import torch"],
    "flowcli --help": ["-m", "flowcli", "--help"],
    "flowcli score, one row": ["-m", "flowcli", "score", "{row}", "-m", "{run}", "-q"],
    "flowcli sample --n 1": ["-m", "flowcli", "sample", "--n", "1", "-m", "{run}", "-q"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", metavar="PATTERN", default="", help="the lines whose names a regular expression finds"
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds, in each of which every library is timed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    options = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != str(options.threads):
        # Read once, when torch is loaded.
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    torch.set_num_threads(options.threads)
    lines = [line for line in LINES if re.search(options.only, line.name)]
    commands = {name: command for name, command in COMMANDS.items() if re.search(options.only, name)}
    if not lines and not commands:
        sys.exit(
            f"--only {options.only}: no line; there are\n" + "\n".join([line.name for line in LINES] + [*COMMANDS])
        )
    report: dict[str, Any] = {**machine(), "threads": options.threads, "rounds": options.rounds}
    print_machine(report)
    check_against_float64(lines)
    report["lines"] = time_lines(lines, options)
    if commands:
        report["processes"] = time_processes(commands, max(options.rounds, PROCESS_ROUNDS), options.threads)
        print_head(["whole process", "s"])
        for name, result in report["processes"].items():
            print(f"| {name} | {spread(result['seconds'], '.2f')} |")
    report["load_average_after"] = load()
    print_busy(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def time_lines(lines: list[Line], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Two tables, of training and of what comes after, a line printed as soon as it is measured."""
    results: list[dict[str, Any]] = []
    notes: list[str] = []
    libraries = [*installed(), PRODUCTS]
    for unit, tasks, columns in (
        ("ms", ("training step",), libraries),
        ("thousand rows a second", ("scoring", "sampling"), ["flowcli", FLOAT64, *libraries[1:]]),
    ):
        chosen = [line for line in lines if line.task in tasks]
        if chosen:
            print_head([unit, *columns, "parameters", "lost"])
        for line in chosen:
            results.append(measure(line, options, notes))
            print_line(results[-1], columns)
    for note in notes:
        print(f"\nNote: {note}.")
    return results


def measure(line: Line, options: argparse.Namespace, notes: list[str]) -> dict[str, Any]:
    """Time one line; what is to be said of it is added to the notes."""
    models = {library: build(library, line.architecture) for library in installed()}
    if line.task == "training step":
        calls = {library: training_step(model, line) for library, model in models.items()}
        calls[PRODUCTS] = products(line, backward=True)
    else:
        calls = {library: use(model, line, torch.float32) for library, model in models.items()}
        calls[FLOAT64] = use(in_float64(line.architecture), line, torch.float64)
        calls[PRODUCTS] = products(line, backward=False)
    timed = interleaved(calls, options.rounds, options.threads)
    notes += [note for model in models.values() for note in model.notes if note not in notes]
    return {
        "name": line.name,
        "task": line.task,
        "rows": line.rows,
        "parameters": {name: sum(p.numel() for p in model.parameters) for name, model in models.items()},
        "results": {name: summary(name, timed, line.rows) for name in calls},
        "lost": timed.lost,
    }


def training_step(model: Model, line: Line) -> Callable[[], None]:
    """Loss, backward and a step of Adam, of the same kind for all: the one that flowcli trains with."""
    optimizer = torch.optim.Adam(model.parameters, lr=1e-4, fused=True)
    generator = torch.Generator().manual_seed(1)
    # One batch after the other: the flow stays near its start, and Pyro, which knows a tensor again, computes.
    rows = torch.randn(64 * line.rows, line.architecture.features, generator=generator)
    batches = endless(rows, line.rows)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = -model.log_prob(next(batches)).mean()
        loss.backward()
        optimizer.step()

    return step


def endless(rows: Tensor, size: int) -> Iterator[Tensor]:
    """Slices of the rows, over and over; each is a tensor of its own."""
    while True:
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


def use(model: Model, line: Line, dtype: torch.dtype) -> Callable[[], None]:
    """Scoring or sampling, without gradients."""
    if line.task == "scoring":
        generator = torch.Generator().manual_seed(1)
        rows = torch.randn(16 * line.rows, line.architecture.features, generator=generator).to(dtype)
        chunks = endless(rows, line.rows)

    @torch.no_grad()
    def call() -> None:
        if line.task == "scoring":
            model.log_prob(next(chunks))
        else:
            model.sample(line.rows)

    return call


def in_float64(architecture: Architecture) -> Model:
    """What flowcli's commands score and sample with."""
    flow = perturbed(architecture).double()
    features = architecture.features
    return Model(flow.log_prob, lambda n: flow.sample(torch.rand(n, features, dtype=torch.float64)), [])


def perturbed(architecture: Architecture) -> Any:
    """flowcli's flow with the weights that are timed."""
    torch.manual_seed(0)
    flow = flowcli_flow(architecture)
    perturb(list(flow.parameters()), 0)
    return flow


def products(line: Line, backward: bool) -> Callable[[], None]:
    """The matrix products of one pass alone, and those of its gradients by inputs and weights: below this, nobody gets.

    A masked network could do with about half of them.
    """
    tasks: list[tuple[Tensor, Tensor, Tensor]] = []
    for layer in range(line.architecture.layers):
        sizes = line.architecture.sizes(layer)
        for inputs, outputs in pairwise(sizes):
            value, weight, result = (
                torch.randn(line.rows, inputs),
                torch.randn(outputs, inputs),
                torch.randn(line.rows, outputs),
            )
            tasks.append((value, weight.T, result))
            if backward:
                tasks.append((result.clone(), weight, value.clone()))
                tasks.append((result.clone().T, value, weight.clone()))

    def call() -> None:
        for left, right, out in tasks:
            torch.mm(left, right, out=out)

    return call


def interleaved(calls: dict[str, Callable[[], None]], rounds: int, threads: int) -> Timed:
    """Time every call in every round, each round beginning with another."""
    repeats = {name: math.ceil(SECONDS / quickest(call)) for name, call in calls.items()}
    timed = Timed({name: [] for name in calls}, {name: [] for name in calls})
    names = list(calls)
    wall = cpu = 0.0
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            wall_before, cpu_before = time.perf_counter(), time.process_time()
            for _ in range(repeats[name]):
                calls[name]()
            seconds, of_processor = time.perf_counter() - wall_before, time.process_time() - cpu_before
            wall += seconds
            cpu += of_processor
            timed.seconds[name].append(seconds / repeats[name])
            timed.processor[name].append(of_processor / repeats[name])
    # Several threads wait for each other, too: what they do not run says nothing of others.
    timed.lost = max(0.0, 1 - cpu / wall) if threads == 1 else None
    return timed


def quickest(call: Callable[[], None]) -> float:
    """Seconds of one call, after it has warmed up."""
    best = math.inf
    started = time.perf_counter()
    for _ in range(3):
        before = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - before)
        if time.perf_counter() - started > 10 * SECONDS:
            break
    return best


def summary(name: str, timed: Timed, rows: int) -> dict[str, Any]:
    """Seconds of a call, and as a multiple of flowcli's in the same round, each with quartiles."""

    def ratios(times: dict[str, list[float]]) -> list[float]:
        return quartiles([theirs / ours for theirs, ours in zip(times[name], times["flowcli"], strict=True)])

    return {
        "seconds": quartiles(timed.seconds[name]),
        "rows_per_second": rows / statistics.median(timed.seconds[name]),
        "times_flowcli": ratios(timed.seconds),
        "times_flowcli_of_processor": ratios(timed.processor),
        "rounds": timed.seconds[name],
        "rounds_of_processor": timed.processor[name],
    }


def quartiles(values: list[float]) -> list[float]:
    """The lower quartile, the median and the upper quartile."""
    places = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    return [float(quartile) for quartile in torch.tensor(values, dtype=torch.float64).quantile(places)]


def check_against_float64(lines: list[Line]) -> None:
    """Leave if flowcli's float32 is not its float64: a figure of a wrong result says nothing."""
    wrong = []
    for architecture in dict.fromkeys(line.architecture for line in lines):
        flow = perturbed(architecture)
        exact = copy.deepcopy(flow).double()
        value = torch.randn(BATCH, architecture.features, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            pairs = {
                "log_prob": (flow.log_prob(value), exact.log_prob(value.double())),
                "sample": (flow.decode(value), exact.decode(value.double())),
            }
        for what, (got, expected) in pairs.items():
            error = float(((got - expected).abs() / expected.abs().clamp_min(1)).max())
            if not error <= TOLERANCE:
                wrong.append(f"{architecture.name}: {what} in float32 is {error:.1g} off that in float64")
    if wrong:
        sys.exit("\n".join(wrong))
    if lines:
        print(f"\nflowcli's log_prob and samples in float32 are those in float64, within {TOLERANCE:g}.")


def time_processes(commands: dict[str, list[str]], rounds: int, threads: int) -> dict[str, Any]:
    """Seconds of whole commands, interleaved, after one call of each that fills the caches of files."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}

    def seconds(command: list[str]) -> float:
        before = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, env=environment, capture_output=True)
        return time.perf_counter() - before

    with model_folder() as (run, row):
        filled = {
            name: [part.format(run=run, row=row) if "{" in part else part for part in command]
            for name, command in commands.items()
        }
        times: dict[str, list[float]] = {name: [] for name in filled}
        for turn in range(rounds + 1):
            for name, command in filled.items():
                took = seconds(command)
                if turn:
                    times[name].append(took)
    return {name: {"seconds": quartiles(values), "rounds": values} for name, values in times.items()}


@contextmanager
def model_folder() -> Iterator[tuple[str, str]]:
    """A run folder of a small fit, and a file with one row."""
    with tempfile.TemporaryDirectory() as folder:
        run, row = f"{folder}/run", Path(folder) / "row.csv"
        fit = [sys.executable, "-m", "flowcli", "fit", str(IRIS), "-o", run, "-q", "-s", "train.epochs=2"]
        subprocess.run(fit, check=True, capture_output=True)
        row.write_text("".join(IRIS.read_text().splitlines(keepends=True)[:2]))
        yield run, str(row)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = ["torch", *(PACKAGES.get(name, (name, ""))[0] for name in installed())]
    return {
        "date": date.today().isoformat(),
        "processor": processor(),
        "cores": cores,
        "versions": {"Python": platform.python_version(), **{name: version(name) for name in packages}},
        "missing": [name for name in LIBRARIES if name not in installed()],
        "load_average_before": load(),
    }


def processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", information.read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def load() -> float | None:
    """Processes that ran or wanted to, over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def print_machine(report: dict[str, Any]) -> None:
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    print(
        f"{report['date']}, {report['processor']}, {report['cores']} cores, threads: {report['threads']}; {versions}."
    )
    print(
        f"\n{report['rounds']} interleaved rounds, float32. Median (quartiles) ×time over flowcli's in the same round."
    )
    print("lost: the share of the time in which the benchmark did not run, because others did.")
    for name in report["missing"]:
        print(f"{name} is not installed, and left out.")


def print_head(columns: list[str]) -> None:
    print(f"\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}", flush=True)


def print_line(line: dict[str, Any], columns: list[str]) -> None:
    cells = []
    for name in columns:
        result = line["results"][name]
        if line["task"] == "training step":
            cell = spread([1e3 * value for value in result["seconds"]], ".3g")
        else:
            cell = spread([line["rows"] / value / 1e3 for value in reversed(result["seconds"])], ".3g")
        cells.append(cell if name == "flowcli" else f"{cell} ×{result['times_flowcli'][1]:.2f}")
    counts = line["parameters"]
    same = len({*counts.values()}) == 1
    parameters = f"{counts['flowcli']:,}" if same else "; ".join(f"{name} {count:,}" for name, count in counts.items())
    lost = "" if line["lost"] is None else f"{line['lost']:.0%}"
    print(f"| {' | '.join([line['name'], *cells, parameters, lost])} |", flush=True)


def spread(values: list[float], form: str) -> str:
    """The median with the quartiles."""
    lower, median, upper = (format(number(value), form) for value in values)
    return f"{median} ({lower}–{upper})"


def number(value: float) -> float:
    """Three digits, so that no exponent is printed."""
    return float(f"{value:.3g}")


def print_busy(report: dict[str, Any]) -> None:
    """Warn where others had a good part of the time."""
    shares = [line["lost"] for line in report["lines"] if line["lost"] is not None]
    loads = [value for value in (report["load_average_before"], report["load_average_after"]) if value is not None]
    print("\nLoad average before and after: " + ", ".join(f"{value:.1f}" for value in loads) + ".", end="")
    if shares:
        print(f" Share of the time in which the benchmark did not run: {min(shares):.0%} to {max(shares):.0%}.", end="")
    print()
    if shares and max(shares) > BUSY:
        worst = max(report["lines"], key=lambda line: line["lost"])["name"]
        print(f"Warning: the machine was busy; other processes took {max(shares):.0%} of the time of '{worst}'.")
    if loads and max(loads) > report["cores"] + 0.5:
        print(f"Warning: the machine was busy; {max(loads):.1f} processes wanted its {report['cores']} cores.")


if __name__ == "__main__":
    main()
