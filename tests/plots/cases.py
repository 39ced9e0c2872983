"""What the tests of pictures share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowcli.tables.columns import Column


def number(name: str = "height", **known: Any) -> Column:
    return Column(name=name, kind="number", reason="", **known)


def label(name: str = "species", categories: tuple[str, ...] = ("a", "b", "c")) -> Column:
    return Column(name=name, kind="label", reason="", categories=categories)


def cells(*values: Any) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values)])


def table(rows: int = 300, seed: int = 0) -> pa.Table:
    """A height on a grid, a weight that is bimodal, and a species."""
    noise = np.random.default_rng(seed)
    kind = noise.integers(0, 3, rows)
    return pa.table(
        {
            "height": np.round(noise.normal(170, 10, rows)),
            "weight": np.where(kind == 0, noise.normal(40, 3, rows), noise.normal(70, 5, rows)),
            "species": [("a", "b", "c")[k] for k in kind],
        }
    )


COLUMNS = [number("height", step=1.0, decimals=0, unit="cm"), number("weight", unit="kg"), label()]


def line(axes: Axes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The places and heights of the line with this label."""
    (found,) = [line for line in axes.get_lines() if line.get_label() == name]
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


def panels(figure: Figure) -> np.ndarray:
    """The panels of a square matrix."""
    count = round(len(figure.axes) ** 0.5)
    assert len(figure.axes) == count * count
    return np.array(figure.axes).reshape(count, count)
