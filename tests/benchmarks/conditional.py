"""Negative log-likelihood of y given the other columns, beside published figures; see README.md."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accuracy_report import Report, each, fit_options, holds, parser_of, tables_of, threads
from fits import FitFailed, fit

TARGET = "y"
# Mean negative log-likelihood with its spread, as published: 20 splits of which ours are the first five.
SETS = ("boston", "concrete", "energy", "kin8nm", "power_plant", "yacht")
ENSEMBLES = "deep ensembles"
PUBLISHED = {
    # Gal and Ghahramani, Dropout as a Bayesian approximation, 2016.
    "MC dropout": ((2.46, 0.06), (3.04, 0.02), (1.99, 0.02), (-0.95, 0.01), (2.80, 0.01), (1.55, 0.03)),
    # Lakshminarayanan, Pritzel and Blundell, Simple and scalable predictive uncertainty estimation, 2017.
    ENSEMBLES: ((2.41, 0.25), (3.06, 0.18), (1.38, 0.22), (-1.20, 0.02), (2.79, 0.04), (1.18, 0.21)),
    # Duan et al., NGBoost: natural gradient boosting for probabilistic prediction, 2020.
    "NGBoost": ((2.43, 0.15), (3.04, 0.17), (0.60, 0.45), (-0.49, 0.02), (2.79, 0.11), (0.20, 0.26)),
    # Amini et al., Deep evidential regression, 2020.
    "deep evidential": ((2.35, 0.06), (3.01, 0.02), (1.39, 0.06), (-1.24, 0.01), (2.81, 0.07), (1.03, 0.19)),
    # Matsubara, Wasserstein gradient boosting, 2024; it quotes the columns before it from their papers.
    "W-evidential": ((2.47, 0.16), (2.83, 0.11), (0.53, 0.08), (-0.44, 0.03), (2.60, 0.04), (0.16, 0.24)),
    # Han, Zheng and Zhou, CARD: classification and regression diffusion models, 2022, as are the two columns after it.
    "CARD": ((2.32, 0.17), (2.99, 0.12), (1.12, 0.15), (-1.31, 0.02), (2.82, 0.02), (0.89, 0.07)),
    "GCDS": ((18.7, None), (13.6, None), (1.46, None), (-0.38, None), (2.83, None), (0.61, None)),
    "DE (CARD's run)": ((2.35, 0.16), (2.93, 0.12), (1.40, 0.27), (-1.06, 0.02), (2.89, 0.02), (1.11, 0.18)),
}
# On so many sets at least, ahead of every column.
FIRST_ON = 3


@dataclass(frozen=True)
class Split:
    table: Path
    name: str
    test_rows: frozenset[int]


def main() -> None:
    options = parser_of(__doc__, "NAME/data.csv and NAME/test_rows.json").parse_args()
    tables = tables_of(options, ["data.csv", "test_rows.json"])
    report = Report("Conditional densities", "conditional", options)
    report.tell(
        f"Negative log-likelihood of {TARGET} given all other columns, nats per row in the units of {TARGET}: lower is "
        "better. Mean over the splits ± their standard deviation."
    )

    def measure(split: Split) -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as place:
            train, test, context = write(split, Path(place))
            arguments = (train, "--test", test, "--context", context, *fit_options(options))
            found = fit(*arguments, threads=threads(options))
        return -float(found.scores.mean()), found.seconds

    report.table(["set", "splits", "flowcli", *PUBLISHED, "seconds of a fit"])
    reached, first = [], []
    results = each(measure, [split for table in tables for split in splits(table)], options)
    for table in tables:
        found = [next(results)[1] for _ in splits(table)]
        failed = [each_of for each_of in found if isinstance(each_of, FitFailed)]
        if failed:
            report.row([table.name, "", f"failed: {failed[0]}", *[""] * (len(PUBLISHED) + 1)])
            continue
        values, seconds = np.array(found).T
        ours = float(values.mean())
        theirs = {name: column[SETS.index(table.name)] for name, column in PUBLISHED.items() if table.name in SETS}
        report.row(
            [
                table.name,
                f"{len(values)}",
                text(ours, float(values.std(ddof=1)) if len(values) > 1 else None),
                *(text(*theirs[name]) if name in theirs else "" for name in PUBLISHED),
                f"{seconds.mean():.0f}",
            ]
        )
        if theirs and ours <= theirs[ENSEMBLES][0]:
            reached.append(table.name)
        if theirs and ours < min(value for value, _ in theirs.values()):
            first.append(table.name)
    report.table(["target", "where", "reached"])
    everywhere = f"at least as good as {ENSEMBLES} on all of {', '.join(SETS)}"
    report.row([everywhere, ", ".join(reached) or "nowhere", holds(set(SETS) <= set(reached))])
    report.row([f"ahead of every column on {FIRST_ON}", ", ".join(first) or "nowhere", holds(len(first) >= FIRST_ON)])
    report.close()


def splits(table: Path) -> list[Split]:
    held_out = json.loads((table / "test_rows.json").read_text())
    return [Split(table, name, frozenset(rows)) for name, rows in held_out.items()]


def write(split: Split, place: Path) -> tuple[Path, Path, str]:
    """The rows to fit and those held out, as files, and the names of the columns that are given."""
    header, *lines = (split.table / "data.csv").read_text().splitlines()
    parts = {"train": [header], "test": [header]}
    for number, line in enumerate(lines):
        parts["test" if number in split.test_rows else "train"].append(line)
    for name, part in parts.items():
        (place / f"{name}.csv").write_text("\n".join(part) + "\n")
    context = ",".join(name for name in header.split(",") if name != TARGET)
    return place / "train.csv", place / "test.csv", context


def text(value: float, spread: float | None) -> str:
    return f"{value:.2f}" + ("" if spread is None else f" ± {spread:.2f}")


if __name__ == "__main__":
    main()
