"""Test log-likelihoods of the default fit, beside peers on the same rows; see README.md beside this file."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import accuracy_checks
import numpy as np
from accuracy_report import Report, add_peers, each, fit_options, holds, parser_of, shape, tables_of, threads
from fits import FitFailed, fit
from paired import Mean
from peer_scores import PeerScores

from flowcli.config.schema import parse_duration

# Of rows in train.csv, and in how many seconds a fit without a limit is to end.
TIMES = ((1_000, 60), (20_000, 300), (50_000, 600))
# A fit may take so much of its limit, from the start of the process to its end.
KEPT = 1.05
# The mean over tables of the difference to the best peer: without a limit, and with one.
AHEAD, AHEAD_WITH_LIMIT = 0.2, 0.0


@dataclass(frozen=True)
class Line:
    """What came of one table."""

    name: str
    rows: int
    columns: int
    ours: Mean
    peers: dict[str, Mean]
    best: str
    difference: Mean
    seconds: float


def main() -> None:
    parser = parser_of(__doc__, "NAME/train.csv and NAME/test.csv, of numbers alone")
    add_peers(parser)
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--honesty", action="store_true", help="the score that a fit tells, beside that of test.csv")
    other.add_argument("--seeds", type=int, metavar="N", help="the spread of the score over seeds, on small tables")
    options = parser.parse_args()
    tables = tables_of(options, ["train.csv", "test.csv"])
    if options.honesty:
        accuracy_checks.honesty(tables, options)
    elif options.seeds:
        accuracy_checks.seeds(tables, options)
    else:
        compare(tables, options)


def compare(tables: list[Path], options: argparse.Namespace) -> None:
    report = Report("Accuracy", "accuracy", options)
    peers = PeerScores(options.peers, options.peer_time, options.jobs)
    report.tell(
        f"Nats per row of test.csv, higher is better; flows of other libraries train at most {options.peer_time:g} s."
    )
    if peers.missing:
        report.tell("", f"Not installed, and left out: {', '.join(peers.missing)}.")
    report.table(["table", "n", "d", "flowcli", *peers.names, "best peer", "difference to it", "verdict", "seconds"])
    lines, failed = [], []
    for table, line in each(lambda table: measure(table, peers, options), tables, options):
        if isinstance(line, FitFailed):
            failed.append(table.name)
            report.row([table.name, "", "", f"failed: {line}", *[""] * (len(peers.names) + 4)])
            continue
        lines.append(line)
        report.row(
            [
                line.name,
                f"{line.rows:,}",
                f"{line.columns}",
                line.ours.text(),
                *(f"{line.peers[name].value:.2f}" for name in peers.names),
                line.best,
                line.difference.text(signed=True),
                line.difference.verdict,
                f"{line.seconds:.0f}",
            ]
        )
    summarize(lines, failed, options, report)
    report.tell("", f"The peers were computed on {' and '.join(sorted(peers.processors))}.")
    report.close()


def measure(table: Path, peers: PeerScores, options: argparse.Namespace) -> Line:
    scores = {name: peers.of(name, table) for name in peers.names}
    means = {name: Mean.of(values) for name, values in scores.items()}
    best = max((name for name in means if not math.isnan(means[name].value)), key=lambda name: means[name].value)
    ours = fit(table / "train.csv", "--test", table / "test.csv", *fit_options(options), threads=threads(options))
    rows, columns = shape(table / "train.csv")
    difference = Mean.of(ours.scores - scores[best])
    return Line(table.name, rows, columns, Mean.of(ours.scores), means, best, difference, ours.seconds)


def summarize(lines: Sequence[Line], failed: list[str], options: argparse.Namespace, report: Report) -> None:
    """How often ahead and behind, and which targets hold."""
    verdicts = {name: [line.name for line in lines if line.difference.verdict == name] for name in VERDICTS}
    report.tell(
        "", *(f"{VERDICTS[name]}: {len(tables)} ({', '.join(tables) or 'none'})  " for name, tables in verdicts.items())
    )
    mean = float(np.mean([line.difference.value for line in lines])) if lines else math.nan
    behind, ahead = verdicts["behind"] + failed, verdicts["ahead"]
    wanted = AHEAD_WITH_LIMIT if options.max_time else AHEAD
    report.table(["target", "reached", ""])
    report.row(["behind by more than one standard error: nowhere", ", ".join(behind) or "nowhere", holds(not behind)])
    count = len(lines) + len(failed)
    report.row(
        ["ahead by more than one standard error: on half", f"{len(ahead)} of {count}", holds(2 * len(ahead) >= count)]
    )
    report.row([f"mean difference ≥ {wanted:+.2f}", f"{mean:+.3f}", holds(mean >= wanted and not failed)])
    if options.max_time:
        share = max((line.seconds for line in lines), default=math.nan) / parse_duration(options.max_time)
        report.row([f"the whole process within {KEPT:.0%} of --max-time", f"{share:.1%}", holds(share <= KEPT)])
        return
    for fewest, (most, seconds) in zip((0, *(rows for rows, _ in TIMES)), TIMES, strict=False):
        times = [line.seconds for line in lines if fewest < line.rows <= most]
        if times:
            report.row([f"n ≤ {most:,}: within {seconds} s", f"{max(times):.0f} s", holds(max(times) <= seconds)])


VERDICTS = {
    "ahead": "Ahead of the best peer by more than one standard error",
    "within": "Within one standard error of it",
    "behind": "Behind by more than one",
}

if __name__ == "__main__":
    main()
