"""The speed of flowcli beside other libraries of flows; see README.md beside this file."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import growth
import processes
import report as tables
import torch
from lines import FITS, LINES, Setting, measure, measure_fit
from peers import COMPILING, LIBRARIES, installed, package
from targets import judge
from timing import busy, load, machine

FOLDER = Path(__file__).parent
PICTURE = "growth.svg"
GROWTH = "growth with rows, columns, depth and width"


def main() -> None:
    options = arguments()
    # Read once, when torch is loaded.
    if os.environ.get("OMP_NUM_THREADS") != str(options.threads):
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as cache:
        # So that what compiling takes is not told of what was compiled before.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        Benchmark(options).run()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", metavar="PATTERN", default="", help="the lines whose names a regular expression finds"
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds, in each of which every library is timed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FOLDER",
        nargs="?",
        const=FOLDER,
        help="write speed.md and the picture, beside this",
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        help="only training, scoring and sampling, on this device, beside zuko, nflows and normflows",
    )
    parser.add_argument("--no-compile", action="store_true", help="leave out steps under torch.compile")
    options = parser.parse_args()
    if options.only and options.write == FOLDER:
        parser.error("--write here takes all lines: leave out --only, or name another folder")
    return options


class Benchmark:
    """One run: what was measured, and the tables, which are printed as they come."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device = options.device and torch.device(options.device)
        self.setting = Setting(options.rounds, options.threads, self.device, not options.no_compile)
        self.libraries = [name for name in installed(self.device) if self.setting.compiles or "compiled" not in name]
        self.text: list[str] = []
        others = ["numpy", "pyarrow", *(name for name in ("polars", "jax") if self.device is None and find_spec(name))]
        packages = ["torch", *dict.fromkeys(package(name)[0] for name in self.libraries), *others]
        known = dict.fromkeys(name.removesuffix(", compiled") for name in (*LIBRARIES, *COMPILING))
        self.report: dict[str, Any] = {
            **machine(packages, self.device),
            "threads": options.threads,
            "rounds": options.rounds,
            "missing": [] if self.device else [name for name in known if name not in self.libraries],
            "lines": [],
        }

    def run(self) -> None:
        options, report = self.options, self.report
        if not any(self.wanted(name) for name in self.names()):
            sys.exit("\n".join([f"--only {options.only}: no line; there are", *self.names()]))
        self.tell(tables.head(report))
        self.time_lines("ms", ("training step",))
        self.tell(tables.compiling(report["lines"]))
        self.time_lines("thousand rows a second", ("scoring", "sampling"))
        self.tell(tables.notes(report["lines"]))
        if self.device is None:
            self.time_the_rest()
        report["load_average_after"] = load()
        report["targets"] = judge(report) if self.device is None else []
        # Where lines were picked, only their targets.
        self.tell(tables.targets([each for each in report["targets"] if not options.only or each["told"]]))
        self.tell(["", *busy(report)])
        if options.json:
            options.json.write_text(json.dumps(report, indent=1) + "\n")
        if options.write:
            name = "speed.md" if self.device is None else f"speed_{self.device.type}.md"
            command = " ".join(["python tests/benchmarks/speed.py", *sys.argv[1:]])
            title = ["# Speed", "", f"`{command}`; what the columns are is told in [README.md](README.md).", ""]
            (options.write / name).write_text("\n".join([*title, *self.text]) + "\n")

    def names(self) -> list[str]:
        found = [line.name for line in LINES]
        if self.device is None:
            found += [*(line.name for line in FITS), *processes.COMMANDS, GROWTH]
        return found

    def wanted(self, name: str) -> bool:
        return re.search(self.options.only, name) is not None

    def tell(self, text: list[str]) -> None:
        if text:
            print("\n".join(text), flush=True)
        self.text += text

    def time_lines(self, unit: str, tasks: tuple[str, ...]) -> None:
        """A table, a line printed as soon as it is measured."""
        columns = tables.columns_of(tasks[0], self.libraries)
        chosen = [line for line in LINES if line.task in tasks and self.wanted(line.name)]
        if chosen:
            self.tell(tables.line_head(unit, columns))
        for line in chosen:
            self.report["lines"].append(measure(line, self.setting))
            self.tell([tables.line_row(self.report["lines"][-1], columns)])

    def time_the_rest(self) -> None:
        """The loop of a fit, whole processes, and how cost grows."""
        options, report = self.options, self.report
        both = (False,) if options.no_compile else (False, True)
        chosen = [line for line in FITS if self.wanted(line.name)]
        report["fits"] = [measure_fit(line, self.setting, compiled) for line in chosen for compiled in both]
        self.tell(tables.fits(report["fits"]))
        report["processes"] = processes.measure(self.wanted, options.rounds, options.threads)
        report["sums"] = processes.sums(report["processes"])
        self.tell(tables.processes(report["processes"], report["sums"]))
        if self.wanted(GROWTH):
            report["growth"] = growth.measure(options.threads)
            self.tell(tables.growing(growth.lines(report["growth"])))
            if options.write and find_spec("matplotlib"):
                growth.draw(report["growth"], options.write / PICTURE)
                self.text += ["", f"![Time and memory as they grow]({PICTURE})"]


if __name__ == "__main__":
    main()
