"""Whether a fit's own test score can be believed, and how much it depends on the seed; modes of accuracy.py."""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
from accuracy_report import Report, each, fit_options, holds, shape, threads
from fits import FitFailed, fit, score
from paired import Mean

# Tables with fewer rows are fitted with several seeds.
FEW_ROWS = 1_500


def honesty(tables: list[Path], options: argparse.Namespace) -> None:
    """Fits of train.csv alone: the score on the tenth that they held out themselves, and that of test.csv."""
    report = Report("Honesty", "accuracy_honesty", options)
    report.tell("The score that a fit of train.csv tells, on rows that it held out, beside that of test.csv, in nats.")
    report.table(["table", "told by the fit", "test.csv", "told - test.csv", "in standard errors"])

    def measure(table: Path) -> tuple[Mean, Mean]:
        with tempfile.TemporaryDirectory() as place:
            run = Path(place) / "run"
            told = fit(table / "train.csv", *fit_options(options), run=run, threads=threads(options)).told
            return told, Mean.of(score(table / "test.csv", run))

    ratios = []
    for table, found in each(measure, tables, options):
        if isinstance(found, FitFailed):
            report.row([table.name, f"failed: {found}", "", "", ""])
            continue
        told, tested = found
        # Of different rows.
        difference = Mean(told.value - tested.value, math.hypot(told.error, tested.error))
        ratios.append(difference.value / difference.error)
        report.row([table.name, told.text(), tested.text(), difference.text(signed=True), f"{ratios[-1]:+.1f}"])
    if ratios:
        report.tell(
            "",
            f"Mean of the last column: {np.mean(ratios):+.2f}, its root mean square: "
            f"{np.sqrt(np.mean(np.square(ratios))):.2f}; 0 and 1 are what chance gives honest scores.",
        )
    report.close()


def seeds(tables: list[Path], options: argparse.Namespace) -> None:
    """The same table fitted with several seeds: how far apart its test scores are."""
    report = Report("Seeds", "accuracy_seeds", options)
    small = [table for table in tables if shape(table / "train.csv")[0] < FEW_ROWS]
    report.tell(f"Test log-likelihood with each of {options.seeds} seeds, on tables of fewer than {FEW_ROWS:,} rows.")
    first = int(options.seed)
    report.table(["table", *(f"seed {first + k}" for k in range(options.seeds)), "spread", "standard error", "smaller"])

    def measure(table: Path) -> list[Mean]:
        found = []
        for seed in range(first, first + options.seeds):
            with_seed = argparse.Namespace(**{**vars(options), "seed": str(seed)})
            arguments = [table / "train.csv", "--test", table / "test.csv", *fit_options(with_seed)]
            found.append(Mean.of(fit(*arguments, threads=threads(options)).scores))
        return found

    for table, means in each(measure, small, options):
        if isinstance(means, FitFailed):
            report.row([table.name, f"failed: {means}", *[""] * (options.seeds + 2)])
            continue
        spread = float(np.std([mean.value for mean in means], ddof=1)) if options.seeds > 1 else math.nan
        error = float(np.mean([mean.error for mean in means]))
        scores = [f"{mean.value:.3f}" for mean in means]
        report.row([table.name, *scores, f"{spread:.3f}", f"{error:.3f}", holds(spread < error)])
    report.close()
