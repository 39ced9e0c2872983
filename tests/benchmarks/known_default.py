"""How far the default fit stays behind the truth, in nats, on densities in closed form; see README.md."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import mixed_peers
import numpy as np
from accuracy_report import Report, add_peers, each, fit_options, holds, parser_of, tables_of, threads
from fits import FitFailed, fit
from numpy.typing import NDArray
from paired import Mean
from peer_scores import PeerScores

# The largest gap, in nats.
TARGETS = {
    "moons": 0.02,
    "circles": 0.02,
    "rings": 0.02,
    "pinwheel": 0.02,
    "8gaussians": 0.02,
    "checkerboard": 0.05,
    "cond4": 0.02,
}
CONTEXT = {"cond4": "x1,x2,x3"}
# Their gaps stand beside those of the peers; of a table with labels, of those that can be made to take it.
BESIDE_PEERS = ("funnel10", "banana6", "mixed6")
MIXED = "mixed6"


def main() -> None:
    parser = parser_of(__doc__, "NAME/train.csv, test.csv and test_true_log_prob.csv")
    add_peers(parser)
    options = parser.parse_args()
    tables = tables_of(options, ["test_true_log_prob.csv", "train.csv", "test.csv"])
    report = Report("Gaps of the default fit to the truth", "known_default", options)
    report.tell(
        "Mean of the true minus the modelled log-density of test.csv, in nats: lower is better, 0 is the truth."
    )

    def measure(table: Path) -> tuple[Mean, float]:
        context = ["--context", CONTEXT[table.name]] if table.name in CONTEXT else []
        files = (table / "train.csv", "--test", table / "test.csv")
        found = fit(*files, *context, *fit_options(options), threads=threads(options))
        return Mean.of(truth(table) - found.scores), found.seconds

    gaps = {}
    report.table(["density", "gap", "target", "reached", "seconds"])
    for table, found in each(measure, tables, options):
        if isinstance(found, FitFailed):
            report.row([table.name, f"failed: {found}", "", "", ""])
            continue
        gaps[table.name], seconds = found
        target = TARGETS.get(table.name)
        reached = ["", ""] if target is None else [f"≤ {target}", holds(gaps[table.name].value <= target)]
        report.row([table.name, gaps[table.name].text(), *reached, f"{seconds:.0f}"])
    beside = [table for table in tables if table.name in BESIDE_PEERS]
    if beside:
        compare(beside, gaps, options, report)
    report.close()


def compare(tables: list[Path], gaps: dict[str, Mean], options: argparse.Namespace, report: Report) -> None:
    """The gaps of the peers, and how ours is to the smallest of them."""
    peers = PeerScores(options.peers, options.peer_time, options.jobs)
    report.tell(
        "",
        f"Gaps of the peers, whose flows train at most {options.peer_time:g} s. None takes {MIXED} as "
        "it is: those that need few rows are fitted in each cell of labels and zeros, times the frequency of the cell.",
    )
    report.table(["density", *peers.names, "best peer", "flowcli / best peer"])

    def measure(table: Path) -> dict[str, Mean]:
        names = [name for name in peers.names if table.name != MIXED or name in mixed_peers.PEERS]
        return {name: Mean.of(truth(table) - peers.of(name, table)) for name in names}

    for table, found in each(measure, tables, options):
        known = {name: gap for name, gap in found.items() if math.isfinite(gap.value)}
        best = min(known, key=lambda name: known[name].value)
        ratio = gaps[table.name].value / known[best].value if table.name in gaps else math.nan
        cells = [found[name].text() if name in found else "-" for name in peers.names]
        report.row([table.name, *cells, best, f"{ratio:.2f}"])
    report.tell("", f"The peers were computed on {' and '.join(sorted(peers.processors))}.")


def truth(table: Path) -> NDArray[np.float64]:
    return np.loadtxt(table / "test_true_log_prob.csv", skiprows=1)


if __name__ == "__main__":
    main()
