"""What the tests of the commands share."""

import io

import numpy as np
import pandas as pd

NUMBERS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
COLUMNS = [*NUMBERS, "species"]
GIVEN = ["--given", "sepal_length=5.8", "--given", "sepal_width=3.0", "--given", "species=virginica"]


def frame(text: str, **options) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), **options)


def scores(done) -> np.ndarray:
    assert done.status == 0, done.err
    assert done.lines[0] == "log_prob"
    return np.array([float(line) for line in done.lines[1:]])


def normal_rows(n=80, seed=3):
    """A header and rows of two correlated numbers."""
    generator = np.random.default_rng(seed)
    rows = generator.multivariate_normal([10, -3], [[4, 1.5], [1.5, 1]], n)
    return [["x", "y"], *[[repr(float(x)), repr(float(y))] for x, y in rows]]


def alike(one, other):
    """Whether two tables of text have the same cells, numbers to the last digits: with torch, and without."""
    cells = [[line.split(",") for line in text.splitlines()] for text in (one, other)]
    return [len(line) for line in cells[0]] == [len(line) for line in cells[1]] and all(
        a == b or abs(float(a) - float(b)) <= 1e-9 * (1 + abs(float(b)))
        for mine, its in zip(*cells, strict=True)
        for a, b in zip(mine, its, strict=True)
    )
