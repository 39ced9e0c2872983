"""How flowcli's time and memory grow with rows, columns, depth and width; for speed.py."""

from __future__ import annotations

import math
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from architecture import Architecture

Task = Literal["training", "sampling"]
BATCH, DRAWN = 512, 4096
SECONDS, TIMES = 0.15, 5
MOST_ROWS = {"training": 100_000, "sampling": 1_000_000}
VALUES = {
    "rows": (1_000, 10_000, 100_000, 1_000_000),
    "columns": (2, 4, 8, 16, 32, 64),
    "depth": (1, 2, 4, 8, 16),
    "width": (16, 64, 256, 1024),
}
KINDS = ("MAF", "spline coupling")


@dataclass(frozen=True)
class Point:
    """One measurement: an architecture of which one size is not the usual one, in training or in sampling."""

    kind: str
    task: Task
    axis: str
    value: int
    columns: int = 6
    depth: int = 5
    width: int = 64
    # Of the whole table; 0: a few batches.
    rows: int = 0

    @property
    def architecture(self) -> Architecture:
        return Architecture(self.kind, self.columns, self.width, self.depth)


def points() -> Iterator[Point]:
    for axis, values in VALUES.items():
        for kind in KINDS if axis != "rows" else KINDS[:1]:
            for task in MOST_ROWS:
                for value in values:
                    if axis != "rows" or value <= MOST_ROWS[task]:
                        yield replace(Point(kind, task, axis, value), **{axis: value})


def measure(threads: int) -> dict[str, Any]:
    """Every point, each in a process of its own, forked from one that has imported torch and done nothing."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch._dynamo", "growth", "lines", "flowcli.training.trainer"])
    measured = []
    for point in points():
        with context.Pool(1) as pool:
            measured.append(asdict(point) | pool.apply(run, (point, threads)))
    curves: dict[tuple[str, Task, str], list[dict[str, Any]]] = {}
    for each in measured:
        curves.setdefault((each["axis"], each["task"], each["kind"]), []).append(each)
    return {
        "points": measured,
        "curves": [
            {"axis": axis, "task": task, "kind": kind, "values": [each["value"] for each in curve]}
            | {name: [each[name] for each in curve] for name in ("seconds", "memory")}
            | {
                f"exponent_of_{name}": exponents([(e["value"], e[name]) for e in curve])
                for name in ("seconds", "memory")
            }
            for (axis, task, kind), curve in curves.items()
        ],
    }


def exponents(curve: list[tuple[float, float]]) -> list[float]:
    """The slopes on logarithmic axes: of the line through all points, and between the last two."""
    places, heights = (np.log([max(number, 1e-12) for number in numbers]) for numbers in zip(*curve, strict=True))
    return [float(np.polyfit(places, heights, 1)[0]), float(np.diff(heights)[-1] / np.diff(places)[-1])]


def run(point: Point, threads: int) -> dict[str, float]:
    """Seconds, and the most memory in MB beyond what the process had before.

    Of a whole table, where rows grow; otherwise of one row in a step of training, or in sampling.
    """
    torch.set_num_threads(threads)
    task = training if point.task == "training" else sampling
    # What the first use of a library takes is not the model's.
    task(replace(point, columns=2, depth=1, width=8, rows=min(point.rows, BATCH)))[0]()
    before = peak()
    work, rows = task(point)
    seconds = []
    started = time.perf_counter()
    while not seconds or (not point.rows and (len(seconds) < TIMES or time.perf_counter() - started < SECONDS)):
        at = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - at)
    # The first call warms up.
    typical = statistics.median(seconds[1:] or seconds)
    return {"seconds": typical / (1 if point.rows else rows), "memory": max(peak() - before, 0.1)}


def peak() -> float:
    """Of this process, in MB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**20 if sys.platform == "darwin" else 2**10)


def training(point: Point) -> tuple[Callable[[], Any], int]:
    """An epoch of flowcli's training over the rows, or one bare step of Adam."""
    from lines import epoch_of_fit, perturbed
    from peers import TorchModel

    flow = perturbed(point.architecture)
    if not point.rows:
        return TorchModel(flow.log_prob, torch.rand, flow).training_step(
            torch.randn(BATCH, point.columns), BATCH
        ), BATCH

    return epoch_of_fit(flow, torch.randn(point.rows, point.columns), BATCH), point.rows


def sampling(point: Point) -> tuple[Callable[[], Any], int]:
    """A chunk, or so many that all rows are there in the end."""
    from lines import perturbed

    flow = perturbed(point.architecture)

    @torch.inference_mode()
    def draw() -> None:
        for _ in range(max(1, math.ceil(point.rows / DRAWN))):
            drawn.append(flow.sample(torch.rand(DRAWN, point.columns)))
        if not point.rows:
            drawn.clear()

    drawn: list[torch.Tensor] = []
    return draw, point.rows or DRAWN


def lines(growth: dict[str, Any]) -> list[list[str]]:
    """A row of text for each curve: what grows, from where to where, and the exponents."""
    table = []
    for curve in growth["curves"]:
        first, last = curve["values"][0], curve["values"][-1]
        unit, scale = ("s", 1) if curve["axis"] == "rows" else ("µs a row", 1e6)
        cells = [f"{curve['axis']}, {first:,} to {last:,}", f"{curve['task']}, {curve['kind']}"]
        for name, times, of in (("seconds", scale, unit), ("memory", 1, "MB")):
            of_all, at_last = curve[f"exponent_of_{name}"]
            low, high = (float(f"{times * curve[name][at]:.3g}") for at in (0, -1))
            cells += [f"{low:,g} to {high:,g} {of}", f"{of_all:.2f}, {at_last:.2f}"]
        table.append(cells)
    return table


# Told apart by colour (of Okabe and Ito's, which all can tell), by marker and by line.
COLOURS = {"MAF": "#0072B2", "spline coupling": "#D55E00"}
STYLES = {"training": "o-", "sampling": "s--"}
TITLES = {"depth": "layers", "width": "hidden units"}


def draw(growth: dict[str, Any], path: Path) -> None:
    """Time above memory, on logarithmic axes, for each thing that grows; the exponents stand at the curves' ends."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure, panels = plt.subplots(2, len(VALUES), figsize=(12, 5.6), sharex="col", layout="constrained")
    for column, axis in enumerate(VALUES):
        curves = [curve for curve in growth["curves"] if curve["axis"] == axis]
        for panel, name in zip(panels[:, column], ("seconds", "memory"), strict=True):
            scale = 1e6 if name == "seconds" and axis != "rows" else 1
            panel.set(xscale="log", yscale="log")
            for curve in curves:
                heights = [scale * value for value in curve[name]]
                colour, style = COLOURS[curve["kind"]], STYLES[curve["task"]]
                label = f"{curve['task']}, {curve['kind']}"
                panel.plot(curve["values"], heights, style, color=colour, markersize=4, linewidth=1.4, label=label)
                end = (curve["values"][-1], heights[-1])
                exponent = f" {curve[f'exponent_of_{name}'][0]:.2f}"
                panel.annotate(
                    exponent, end, color=colour, fontsize=7, va="center", xytext=(2, 0), textcoords="offset points"
                )
            values = max((curve["values"] for curve in curves), key=len)
            panel.set_xticks(values, [f"{value:,}" for value in values], fontsize=8)
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
            panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            for at in (panel.xaxis, panel.yaxis):
                at.set_minor_formatter(NullFormatter())
            panel.minorticks_off()
            panel.margins(x=0.14)
            panel.tick_params(labelsize=8)
            panel.grid(True, color="#dddddd", linewidth=0.6)
            panel.spines[["top", "right"]].set_visible(False)
        panels[0, column].set_title("time, s" if axis == "rows" else "time, µs a row", fontsize=9)
        panels[1, column].set_title("memory, MB", fontsize=9)
        panels[1, column].set_xlabel(TITLES.get(axis, axis), fontsize=9)
    figure.legend(
        *panels[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False
    )
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "flowcli"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=100)
    plt.close(figure)
