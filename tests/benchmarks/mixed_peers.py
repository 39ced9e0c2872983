"""Peers for a table of labels, counts and amounts that are often zero, which none of them can take as it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
from density_peers import score
from numpy.typing import NDArray

LABELS, COUNTS, AMOUNTS = ["colour", "flag"], ["count"], ["amount"]
# Those that need few rows: of 10,000 some cells have 24.
PEERS = ("full Gaussian", "Gaussian mixture", "kernel estimate")


def score_by_cells(name: str, train: pd.DataFrame, test: pd.DataFrame, seed: int, limit: float) -> NDArray[np.float64]:
    """Frequency of the cell, which is the labels and which amounts are zero, times a density of its other columns.

    A count is spread over its step in training, as flowcli does it, and a positive amount is in logarithms.
    """
    noise = np.random.default_rng(seed)
    scores = np.full(len(test), -np.inf)
    cells, test_cells = _cells(train), _cells(test)
    for cell, frequency in cells.value_counts(normalize=True).items():
        there = (test_cells == cell).to_numpy()
        if there.any():
            rows, _ = _numbers(train[cells == cell])
            rows[:, : len(COUNTS)] += noise.uniform(-0.5, 0.5, (len(rows), len(COUNTS)))
            test_rows, change = _numbers(test[there])
            scores[there] = np.log(frequency) + score(name, rows, test_rows, seed, limit) + change
    return scores


def _cells(table: pd.DataFrame) -> pd.Series:
    return table[LABELS].astype(str).assign(**{name: table[name] == 0 for name in AMOUNTS}).agg(tuple, axis=1)


def _numbers(table: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The columns that a cell leaves open, counts first, and the log-determinant of the logarithms of amounts."""
    positive = [name for name in AMOUNTS if (table[name] > 0).all()]
    others = [name for name in table if name not in {*LABELS, *COUNTS, *AMOUNTS}]
    logs = np.log(table[positive].to_numpy(float))
    return np.hstack([table[COUNTS + others].to_numpy(float), logs]), -logs.sum(axis=1)
