"""Interleaved timing, and how busy the machine was, for speed.py."""

from __future__ import annotations

import math
import os
import platform
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from architecture import Call

# Each thing is timed for at least so long in each round, or for one call.
SECONDS = 0.1
# For figures; fewer are a trial.
FEWEST_ROUNDS = 7
# The share of the time that others may take before it is told.
BUSY = 0.1


@dataclass
class Work:
    """A call that does ``rows`` rows, and how many of them a round is to do at least."""

    call: Call
    rows: int
    least: int = 0
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Timed:
    """Seconds of each work for the same number of rows, by round: on the clock, and of the processor."""

    seconds: dict[str, list[float]]
    processor: dict[str, list[float]]
    # The share of the time in which this process did not run.
    lost: float | None = None


def interleaved(
    works: dict[str, Work],
    rows: int,
    rounds: int,
    threads: int,
    synchronize: Callable[[], None] | None = None,
) -> Timed:
    """Time every work in every round, each round beginning with another; seconds are those for ``rows`` rows."""
    finish = synchronize or (lambda: None)
    repeats = {
        name: max(math.ceil(SECONDS / quickest(work.call, finish)), math.ceil(work.least / work.rows))
        for name, work in works.items()
    }
    timed = Timed({name: [] for name in works}, {name: [] for name in works})
    names = list(works)
    wall = cpu = 0.0
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            call, times = works[name].call, repeats[name]
            finish()
            wall_before, cpu_before = time.perf_counter(), time.process_time()
            for _ in range(times):
                call()
            finish()
            seconds, of_processor = time.perf_counter() - wall_before, time.process_time() - cpu_before
            wall += seconds
            cpu += of_processor
            scale = rows / (times * works[name].rows)
            timed.seconds[name].append(seconds * scale)
            timed.processor[name].append(of_processor * scale)
    # Several threads wait for each other, too, and for a device: what they do not run says nothing of others.
    timed.lost = max(0.0, 1 - cpu / wall) if threads == 1 and synchronize is None else None
    return timed


def quickest(call: Call, finish: Callable[[], None]) -> float:
    """Seconds of one call, after it has warmed up."""
    best = math.inf
    started = time.perf_counter()
    for _ in range(3):
        before = time.perf_counter()
        call()
        finish()
        best = min(best, time.perf_counter() - before)
        if time.perf_counter() - started > 10 * SECONDS:
            break
    return best


def summary(name: str, timed: Timed, rows: int, beside: str) -> dict[str, Any]:
    """Seconds for the rows, and as a multiple of another's in the same round, each with quartiles."""

    def ratios(times: dict[str, list[float]]) -> list[float]:
        return quartiles([theirs / ours for theirs, ours in zip(times[name], times[beside], strict=True)])

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


def machine(packages: list[str], device: torch.device | None) -> dict[str, Any]:
    """What the figures depend on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": date.today().isoformat(),
        "processor": processor(),
        "device": device and (torch.cuda.get_device_name(device) if device.type == "cuda" else device.type),
        "cores": cores,
        "versions": {"Python": platform.python_version(), **{name: version(name) for name in packages}},
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


def busy(report: dict[str, Any]) -> list[str]:
    """How busy the machine was, and warnings where others had a good part of the time."""
    lines = [line for line in report["lines"] if line["lost"] is not None]
    loads = [value for value in (report["load_average_before"], report["load_average_after"]) if value is not None]
    told = f"Load average before and after: {', '.join(f'{value:.1f}' for value in loads)}."
    warnings = []
    if lines:
        shares = [line["lost"] for line in lines]
        told += f" Share of the time in which the benchmark did not run: {min(shares):.0%} to {max(shares):.0%}."
        if max(shares) > BUSY:
            worst = max(lines, key=lambda line: line["lost"])["name"]
            warnings.append(
                f"Warning: the machine was busy; other processes took {max(shares):.0%} of the time of '{worst}'."
            )
    # The benchmark itself is one of the processes, at the end.
    if loads and max(loads) > report["cores"] + 0.5:
        warnings.append(
            f"Warning: the machine was busy; {max(loads):.1f} processes wanted its {report['cores']} cores."
        )
    return [told, *warnings]
