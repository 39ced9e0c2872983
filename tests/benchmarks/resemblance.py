"""How well a classifier tells samples from rows that the fit has not seen; see README.md."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from fits import flowcli
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_score

HELD_OUT = 0.2
# Name: the file of all rows, or the files of training and held-out ones.
TABLES = {
    "diamonds": ["diamonds.csv"],
    "adult": ["adult_train.csv", "adult_test.csv"],
    "taxis": ["taxis.csv"],
    "penguins": ["penguins.csv"],
    "titanic": ["titanic.csv"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds the tables")
    parser.add_argument("--table", action="append", choices=list(TABLES), help="may be repeated; by default all")
    parser.add_argument("--max-time", help="of each fit; by default none")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not options.folder.is_dir():
        sys.exit(f"{options.folder}: not there; these figures need its tables")
    print(f"{platform.processor() or platform.machine()}, one thread, --max-time {options.max_time}\n")
    print("| table | rows to fit | held-out rows | AUC | fit, s |")
    print("| --- | --- | --- | --- | --- |")
    for name in options.table or TABLES:
        training, held_out = read(options.folder, TABLES[name], options.seed)
        started = time.monotonic()
        samples = fit_and_sample(training, len(held_out), options.max_time)
        seconds = time.monotonic() - started
        scores = auc(samples, held_out, options.seed)
        print(
            f"| {name} | {len(training):,} | {len(held_out):,} | {scores.mean():.3f} ± {scores.std():.3f} "
            f"| {seconds:.0f} |",
            flush=True,
        )


def read(folder: Path, files: list[str], seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to fit and held-out ones, every cell as text, so that it is written as it was."""
    tables = [pd.read_csv(folder / file, dtype=str, keep_default_na=False) for file in files]
    if len(tables) == 1:
        held_out = tables[0].sample(frac=HELD_OUT, random_state=seed)
        return tables[0].drop(held_out.index), held_out
    return tables[0], tables[1]


def fit_and_sample(training: pd.DataFrame, rows: int, max_time: str | None) -> pd.DataFrame:
    """As a user would, with no options but a time limit."""
    with tempfile.TemporaryDirectory() as place:
        training.to_csv(f"{place}/training.csv", index=False)
        run, samples = f"{place}/run", f"{place}/samples.csv"
        limit = ["--max-time", max_time] if max_time else []
        flowcli("fit", f"{place}/training.csv", "-o", run, "-q", *limit, threads=1)
        flowcli("sample", "-m", run, "--n", str(rows), "--seed", "1", "-o", samples, "-q", threads=1)
        return pd.read_csv(samples, dtype=str, keep_default_na=False)


def auc(samples: pd.DataFrame, held_out: pd.DataFrame, seed: int) -> np.ndarray:
    """Of gradient boosting in five folds: 0.5 when the two cannot be told apart."""
    both = pd.concat([samples, held_out[samples.columns]], ignore_index=True)
    features = pd.DataFrame(index=both.index)
    for name in both:
        cells = both[name].replace({"": None, "NA": None})
        numbers = pd.to_numeric(cells, errors="coerce")
        if numbers.isna().sum() > cells.isna().sum():
            times = pd.to_datetime(cells, errors="coerce", format="%Y-%m-%d %H:%M:%S")
            numbers = (times - pd.Timestamp("2000-01-01")).dt.total_seconds()
        held = numbers.notna().sum() == cells.notna().sum()
        features[name] = numbers if held else cells.astype("category")
    # The classifier takes at most so many categories; the rarer ones are one.
    for name in features.select_dtypes("category"):
        common = features[name].value_counts().index[:250]
        features[name] = features[name].astype(object).where(features[name].isin(common), "other").astype("category")
    origin = np.r_[np.zeros(len(samples)), np.ones(len(held_out))]
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    classifier = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=seed)
    return np.asarray(cross_val_score(classifier, features, origin, cv=folds, scoring="roc_auc"))


if __name__ == "__main__":
    main()
