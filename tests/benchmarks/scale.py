"""What training and scoring a billion rows, or a hundred, would take: see flowcli/docs/scale.md.

`--measure` measures what one process costs here and keeps it in scale.json, `--validate` compares what the simulation
says with training on several processes, and `--write` writes the page's tables anew from the file.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scale_costs import COLUMNS, USUAL, VALIDATED, measure, measure_data, step_of, validate
from step_model import Network, daly, in_one_piece, step_seconds, young

HERE = Path(__file__).resolve().parent
FILE = HERE / "scale.json"
PAGE = HERE.parents[1] / "flowcli" / "docs" / "scale.md"
MARKER = "<!-- From here on this page is written by python tests/benchmarks/scale.py --write -->\n"
# As flowcli has them, in flowcli/training/batches.py and trainer.py; the page says what they do.
BLOCKS, BLOCK_ROWS = 64, 4096
CHECKPOINT_SECONDS, CHECKPOINT_SHARE, CHECKPOINT_NUMBERS = 10.0, 0.03, 5


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure what one process costs, on --device")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="what is measured")
    parser.add_argument("--validate", type=int, nargs="*", metavar="WIDTH", help="train with 1 and 2 processes, too")
    parser.add_argument("--json", type=Path, default=FILE, help="where measured costs are kept")
    parser.add_argument("--write", action="store_true", help="write the page's tables")
    plan = parser.add_argument_group("assumptions")
    for name, value, text in ASSUMPTIONS:
        plan.add_argument(f"--{name}", type=type(value), default=value, help=text)
    return parser.parse_args(words)


ASSUMPTIONS: tuple[tuple[str, float, str], ...] = (
    ("batch", 65536, "rows of a step, of all processes together"),
    ("passes", 1.0, "how often each row is learned from"),
    ("held-out", 1_000_000, "rows for validation after each pass, and as many for the test"),
    ("cpu-cores", 32, "cores of a node without GPUs, a process on each"),
    ("cuda-gpus", 8, "GPUs of a node with them, a process on each"),
    ("cpu-price", 1.5, "dollars for an hour of a node without GPUs"),
    ("cuda-price", 25.0, "dollars for an hour of a node with GPUs"),
    ("cpu-network", 25.0, "Gbit/s between nodes without GPUs"),
    ("cuda-network", 400.0, "Gbit/s between nodes with GPUs"),
    ("cpu-inside", 80.0, "Gbit/s between processes of a node without GPUs"),
    ("cuda-inside", 2400.0, "Gbit/s between GPUs of a node"),
    ("cpu-latency", 50.0, "microseconds for a message between processes on processors"),
    ("cuda-latency", 15.0, "microseconds for a message between GPUs"),
    ("storage", 10.0, "Gbit/s that a node reads the tables with"),
    ("disk", 8.0, "Gbit/s of a node's own disk"),
    ("failures", 5000.0, "hours between the failures of a node"),
)


def main() -> None:
    chosen = options()
    known = json.loads(chosen.json.read_text()) if chosen.json.exists() else {}
    if chosen.measure:
        known[chosen.device] = measure(chosen.device)
        if chosen.device == "cpu" or "data" not in known:
            known["data"] = measure_data()
    if chosen.validate is not None:
        known["validation"] = validate(chosen.validate or list(VALIDATED))
    if chosen.measure or chosen.validate is not None:
        chosen.json.write_text(json.dumps(known, indent=1) + "\n")
    text = tables(known, chosen)
    if chosen.write:
        head = PAGE.read_text().partition(MARKER)[0]
        PAGE.write_text(head + MARKER + text)
    else:
        print(text)


class Plan:
    """One architecture on nodes of one kind."""

    def __init__(self, device: str, costs: dict[str, Any], data: dict[str, Any], given: argparse.Namespace) -> None:
        self.device, self.costs, self.data, self.given = device, costs, data, given
        step, self.delay = step_of(costs, costs.get("compiled", costs["plain"]))
        self.step = step.slower(costs["crowding"])
        # With even parts each process also draws the noise of its own rows alone.
        whole = [seconds + step.own_batch * rows for seconds, rows in zip(step.seconds, step.rows, strict=True)]
        self.even = replace(step, seconds=whole, own_batch=0.0).slower(costs["crowding"])
        self.per_node = int(self._of("cores" if device == "cpu" else "gpus"))

    def _of(self, name: str) -> float:
        return float(getattr(self.given, f"{self.device}_{name}"))

    def network(self, processes: int) -> Network:
        slowest = self._of("network") if processes > self.per_node else self._of("inside")
        return Network(slowest * 1e9 / 8, self._of("latency") * 1e-6)

    def a_step(self, processes: int, blocks: int) -> float:
        """Seconds of a step of rows from so many blocks; without blocks each process has an even part."""
        step = self.step if blocks else self.even
        return step_seconds(step, self.network(processes), self.given.batch, processes, self.delay, blocks)

    def reading(self, rows: float, nodes: int) -> float:
        """Seconds to read all rows, twice, from Parquet, and to write them for training."""
        computing = rows * self.data["parquet_reading"] * self.costs["crowding"] / (nodes * self.readers)
        arriving = 2 * rows * self.data["parquet_bytes"] / (nodes * self.given.storage * 1e9 / 8)
        return max(computing, arriving) + rows * self.data["training_bytes"] / (nodes * self.given.disk * 1e9 / 8)

    @property
    def readers(self) -> int:
        """Processes of a node that read: as many as train."""
        return self.per_node

    def training(self, rows: float, nodes: int, blocks: int) -> float:
        """Seconds of all passes, without failures."""
        processes = nodes * self.per_node
        validating = self.given.held_out * self.costs["validation_per_row"] / processes
        disk = rows * self.data["training_bytes"] / (nodes * self.given.disk * 1e9 / 8)
        return float(self.given.passes) * (rows / self.given.batch * self.a_step(processes, blocks) + disk + validating)

    @property
    def saving(self) -> float:
        """Seconds of a checkpoint: what the optimiser has, and three sets of weights."""
        return 0.05 + CHECKPOINT_NUMBERS * self.step.gradient / (self.given.disk * 1e9 / 8)

    @property
    def interval(self) -> float:
        """Seconds between two checkpoints, as flowcli takes them."""
        return max(CHECKPOINT_SECONDS, self.saving / CHECKPOINT_SHARE)

    def between_failures(self, nodes: int) -> float:
        return float(self.given.failures) * 3600 / nodes

    def whole(self, rows: float, nodes: int, blocks: int, rereads: bool = True) -> float:
        """Expected seconds, with failures: after each one all is read again, as flowcli does, or not."""
        reading, between = self.reading(rows, nodes), self.between_failures(nodes)
        restart = self.data["start"] + (reading if rereads else 0.0)
        work = self.training(rows, nodes, blocks)
        return in_one_piece(reading, between) + daly(work, self.interval, self.saving, restart, between)

    def dollars(self, seconds: float, nodes: int) -> float:
        return seconds / 3600 * nodes * self._of("price")


def tables(known: dict[str, Any], given: argparse.Namespace) -> str:
    """The page's tables."""
    lines: list[str] = []
    devices = [device for device in ("cpu", "cuda") if device in known]
    lines += ["", "## What was measured", ""]
    for device in devices:
        facts = known[device]["machine"]
        lines.append(
            f"- {'One core' if device == 'cpu' else 'One GPU'}: {facts['device']}, {facts['date']}, torch "
            f"{facts['torch']}, Python {facts['python']}, {facts['cores']} cores, load average {facts['load']}."
        )
    lines += ["", f"Training and scoring, {COLUMNS} columns, for each core or GPU:", ""]
    head = ["", "network", "parameters", "bytes sent a step", "rows/s in training", "compiled", "rows/s scored"]
    rows = []
    for device in devices:
        for name, costs in known[device]["architectures"].items():
            usual = USUAL[device]
            rates = [
                _count(usual / costs[kind]["seconds"][costs[kind]["rows"].index(usual)] / (1 + costs[kind]["delay"]))
                if kind in costs
                else ""
                for kind in ("plain", "compiled")
            ]
            size = _count(4 * costs["parameters"])
            scored = _count(1 / costs["scoring_per_row"])
            rows.append([device, name, f"{costs['parameters']:,}", size, *rates, scored])
    lines += _table(head, rows)
    lines += ["", f"Steps of {', '.join(f'{USUAL[d]:,} rows ({d})' for d in devices)}; scores are in float64.", ""]
    if data := known.get("data"):
        lines += _table(
            ["a row", ""],
            [
                ["bytes as CSV", f"{data['csv_bytes']:.0f}"],
                ["bytes as Parquet", f"{data['parquet_bytes']:.0f}"],
                ["bytes on disk, and mapped, in training", f"{data['training_bytes']}"],
                ["bytes in memory, held out", f"{data['held_out_bytes']}"],
                ["rows/s a core reads, twice, of CSV", _count(1 / data["csv_reading"])],
                ["rows/s a core reads, twice, of Parquet", _count(1 / data["parquet_reading"])],
                ["seconds to start a process", f"{data['start']:.1f}"],
            ],
        )
    lines += ["", "## What is assumed", "", "Each is an option of the script.", ""]
    assumed = [[f"`--{name}`", f"{getattr(given, name.replace('-', '_')):,g}", text] for name, _, text in ASSUMPTIONS]
    lines += _table(["option", "", "what it is"], assumed)
    plans = [
        (device, name, Plan(device, costs, known["data"], given))
        for device in devices
        for name, costs in known[device]["architectures"].items()
    ]
    lines += _time_and_money(plans, given) + _scaling(plans) + _failures(plans) + _scoring(plans)
    lines += _validation(known.get("validation", []))
    return "\n".join(lines) + "\n"


def _time_and_money(plans: list[tuple[str, str, Plan]], given: argparse.Namespace) -> list[str]:
    lines = ["", "## Time and money of training", ""]
    lines.append(
        f"Passes: {given.passes:g}, from Parquet. `now` is flowcli as it is. `even`: each process has an equal part"
    )
    lines.append("of each batch, draws the noise of that alone, and does not read again after a failure.")
    head = ["", "network", "rows", "nodes", "reading", "training, now", "all, now", "dollars", "all, even", "dollars"]
    rows = []
    for device, name, plan in plans:
        for count in (1e9, 1e11):
            for nodes in (1, 8, 64):
                now, even = plan.whole(count, nodes, BLOCKS), plan.whole(count, nodes, 0, rereads=False)
                rows.append(
                    [
                        *(device, name, f"{count:.0e}".replace("e+", "e").replace("e0", "e"), str(nodes)),
                        *(_time(plan.reading(count, nodes)), _time(plan.training(count, nodes, BLOCKS))),
                        *(_time(now), _count(plan.dollars(now, nodes))),
                        *(_time(even), _count(plan.dollars(even, nodes))),
                    ]
                )
    return [*lines, "", *_table(head, rows)]


def _scaling(plans: list[tuple[str, str, Plan]]) -> list[str]:
    lines = ["", "## Where it stops", ""]
    lines.append("Rows/s of a step on so many processes, as a share of as many times one process's; `now`, and with")
    lines.append("even parts. `most` is the number that gives the most rows/s, of powers of two up to 4,096.")
    counts = [2**k for k in range(13)]
    shown = [2, 8, 32, 128, 512, 2048]
    rows = []
    for device, name, plan in plans:
        for blocks, how in ((BLOCKS, "now"), (0, "even")):
            seconds = {count: plan.a_step(count, blocks) for count in counts}
            cells = [f"{100 * seconds[1] / (count * seconds[count]):.0f} %" for count in shown]
            rows.append([device, name, how, *cells, f"{min(counts, key=seconds.__getitem__):,}"])
    return [*lines, "", *_table(["", "network", "", *(f"{count:,}" for count in shown), "most"], rows)]


def _failures(plans: list[tuple[str, str, Plan]]) -> list[str]:
    lines = ["", "## Failures", ""]
    lines.append("Seconds between checkpoints, as flowcli takes them and as Young has them, and what failures and")
    lines.append("checkpoints add to a training of 1e11 rows on so many nodes: if all rows are read again after each")
    lines.append("failure, as now, and if they are kept.")
    rows = []
    for device, name, plan in plans:
        for nodes in (8, 64):
            between = plan.between_failures(nodes)
            alone = plan.reading(1e11, nodes) + plan.training(1e11, nodes, 0)
            added = [plan.whole(1e11, nodes, 0, rereads) / alone - 1 for rereads in (True, False)]
            best = young(plan.saving, between)
            told = [
                f"{plan.saving:.2f}",
                f"{plan.interval:.0f}",
                f"{best:.0f}",
                *(f"{100 * each:.1f} %" for each in added),
            ]
            rows.append([device, name, str(nodes), f"{between / 3600:.0f}", *told])
    head = ["", "network", "nodes", "hours between failures", "saving, s", "flowcli, s", "Young, s", "now", "kept"]
    return [*lines, "", *_table(head, rows)]


def _scoring(plans: list[tuple[str, str, Plan]]) -> list[str]:
    lines = ["", "## Scoring", "", "Each node scores its own files; nothing is sent.", ""]
    rows = []
    for device, name, plan in plans:
        for count in (1e9, 1e11):
            cells = []
            for nodes in (1, 8, 64):
                computing = count * plan.costs["scoring_per_row"] * plan.costs["crowding"]
                computing += count * plan.data["parquet_reading"] / 2 * plan.costs["crowding"]
                arriving = count * plan.data["parquet_bytes"] / (nodes * plan.given.storage * 1e9 / 8)
                seconds = max(computing / (nodes * plan.per_node), arriving)
                cells += [_time(seconds), _count(plan.dollars(seconds, nodes))]
            rows.append([device, name, f"{count:.0e}".replace("e+", "e").replace("e0", "e"), *cells])
    head = ["", "network", "rows", "1 node", "dollars", "8 nodes", "dollars", "64 nodes", "dollars"]
    return [*lines, *_table(head, rows)]


def _validation(found: list[dict[str, Any]]) -> list[str]:
    if not found:
        return []
    lines = ["", "## The simulation beside what was measured", ""]
    lines.append("Rows/s of training, as `many_processes.py` measures them, and from the costs of one process.")
    rows = [
        [
            f"[{each['hidden']}, {each['hidden']}]",
            str(each["processes"]),
            _count(each["measured"]),
            _count(each["predicted"]),
            f"{each['predicted'] / each['measured']:.2f}",
        ]
        for each in found
    ]
    return [*lines, "", *_table(["hidden", "processes", "measured", "simulated", "simulated / measured"], rows)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _count(value: float) -> str:
    """Three digits of a number."""
    if value < 1 or not math.isfinite(value):
        return f"{value:.2g}"
    digits = max(0, 2 - math.floor(math.log10(value)))
    return f"{round(value, 2 - math.floor(math.log10(value))):,.{digits}f}"


def _time(seconds: float) -> str:
    """A time in the unit that suits it."""
    if not math.isfinite(seconds):
        return "never"
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{_count(seconds / size)} {unit}"
    return f"{_count(seconds)} s"


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
