"""What flowcli is to reach, and whether the figures of a report do."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

COMPILED = "flowcli, compiled"


@dataclass(frozen=True)
class Target:
    """A time of ours that is at most so many times another's in the same line, or a rate at least so many times."""

    line: str
    theirs: str
    limit: float
    ours: str = "flowcli"
    rate: bool = False
    strict: bool = False

    @property
    def name(self) -> str:
        return self.line + (f" ({self.ours})" if self.ours != "flowcli" else "")

    @property
    def wanted(self) -> str:
        if self.rate:
            return f"≥ {self.limit:g} × the rate of {self.theirs}"
        if self.strict:
            return f"faster than {self.theirs}"
        return f"≤ {self.limit:g} × {self.theirs}"


def _targets() -> list[Target]:
    found = []
    step, score, sample = "training step: {}, {:,} rows", "scoring: {}, 1,000,000 rows", "sampling: {}, 100,000 rows"
    maf, wide = "MAF d=6 [64, 64] x 5", "MAF d=43 [512, 512] x 5"
    for ours in ("flowcli", COMPILED):
        found.append(Target(step.format(maf, 512), "Pyro", 0.55, ours))
        found.append(Target(step.format(maf, 512), "FlowJAX", 1, ours, strict=True))
    for rows in (512, 4096):
        found.append(Target(step.format(wide, rows), "Pyro", 0.5))
        found.append(Target(step.format(wide, rows), "products alone", 1.2))
    for columns in (6, 43):
        line = step.format(f"spline coupling d={columns} [64, 64] x 5", 512)
        found.append(Target(line, "zuko", 0.35, COMPILED))
        found.append(Target(line, "zuko", 0.75))
        found += [Target(line, theirs, 1, COMPILED, strict=True) for theirs in ("FlowJAX", "pzflow")]
    for columns in (6, 43):
        line = step.format(f"spline autoregressive d={columns} [64, 64] x 5", 512)
        found.append(Target(line, "zuko", 0.5, COMPILED))
        found.append(Target(line, "FlowJAX", 1, COMPILED, strict=True))
    for flow, times in ((maf, 4), ("MAF d=16 [128, 128] x 5", 7), (wide, 35)):
        found += [Target(sample.format(flow), theirs, times, rate=True) for theirs in ("Pyro", "zuko")]
    for columns, times in ((6, 4), (43, 15)):
        line = sample.format(f"spline autoregressive d={columns} [64, 64] x 5")
        found.append(Target(line, "zuko", times, rate=True))
    for flow in (maf, "spline coupling d=6 [64, 64] x 5"):
        found.append(Target(score.format(flow), "the best PyTorch peer", 2, rate=True))
    return found


TARGETS = _targets()
TORCH_PEERS = ("Pyro", "zuko", "nflows", "normflows")
# Whole processes, in seconds, and what they must do without.
SECONDS = {"flowcli score, one row": 0.35, "flowcli sample --n 1": 0.35, "flowcli --help": 0.2}
WITHOUT_TORCH = ("flowcli score, one row", "flowcli sample --n 1")
MOST_OVER_THE_SUM = 1.3
MOST_OVERHEAD = 0.05
# By so much of their number may the parameters of a model differ that has others by its design.
MOST_DIFFERENT = 0.1


def judge(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Each target with its figure and whether it holds; ``None`` where it was not measured."""
    lines = {line["name"]: line for line in report["lines"]}
    verdicts = [_of_a_line(target, lines.get(target.line)) for target in TARGETS]
    processes = report.get("processes", {})
    for name, most in SECONDS.items():
        figure = processes[name]["seconds"][1] if name in processes else None
        wanted, holds, told = f"≤ {most:g} s", figure is not None and figure <= most, ""
        if name in WITHOUT_TORCH:
            wanted += ", without torch"
            if figure is not None:
                holds = holds and not processes[name]["torch"]
                told = ", with torch" if processes[name]["torch"] else ", without torch"
        verdicts.append(
            _verdict(f"whole process: {name}", wanted, figure, f"{figure:.2f} s{told}" if figure else "", holds)
        )
    for name, parts in report.get("sums", {}).items():
        ratio = parts["ratio"]
        verdicts.append(
            _verdict(name, f"≤ {MOST_OVER_THE_SUM:g} × the sum", ratio, f"{ratio:.2f} ×", ratio <= MOST_OVER_THE_SUM)
        )
    for line in report.get("fits", []):
        over = line["results"]["Training.run, an epoch"]["times_flowcli"][1] - 1
        verdicts.append(
            _verdict(line["name"], f"≤ {MOST_OVERHEAD:.0%} over it", over, f"{over:.0%}", over <= MOST_OVERHEAD)
        )
    return verdicts


def _of_a_line(target: Target, line: dict[str, Any] | None) -> dict[str, Any]:
    theirs = target.theirs
    if line is not None and theirs == "the best PyTorch peer":
        peers = {name: line["results"][name]["seconds"][1] for name in TORCH_PEERS if name in line["results"]}
        theirs = min(peers, key=peers.__getitem__, default="")
    if line is None or target.ours not in line["results"] or theirs not in line["results"]:
        return _verdict(target.name, target.wanted, None, "", False)
    figure = _figure(target, line, theirs, "rounds")
    holds = (
        figure >= target.limit if target.rate else figure < target.limit if target.strict else figure <= target.limit
    )
    of_processor = _figure(target, line, theirs, "rounds_of_processor")
    told = f"{_three(figure)} × (of the processor's time: {_three(of_processor)} ×)"
    ours, its = line["parameters"][target.ours], line["parameters"].get(theirs)
    if its is not None and its != ours:
        holds = holds and abs(its - ours) <= MOST_DIFFERENT * ours
        told += f", with {its:,} parameters to {ours:,}"
    if line.get("samples_correct") is False:
        holds = False
        told += ", not correct to 1e-5"
    return _verdict(target.name, target.wanted, figure, told, holds)


def _figure(target: Target, line: dict[str, Any], theirs: str, kind: str) -> float:
    """The median over rounds of the ratio of times, or of rates."""
    ours, other = (line["results"][name][kind] for name in (target.ours, theirs))
    ratio = statistics.median(mine / its for mine, its in zip(ours, other, strict=True))
    return 1 / ratio if target.rate else ratio


def _three(figure: float) -> str:
    return f"{float(f'{figure:.3g}'):g}"


def _verdict(name: str, wanted: str, figure: float | None, told: str, holds: bool) -> dict[str, Any]:
    measured = figure is not None and math.isfinite(figure)
    return {"name": name, "target": wanted, "figure": figure, "told": told, "holds": holds if measured else None}
