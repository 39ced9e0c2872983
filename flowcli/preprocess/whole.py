"""What only all rows can say of a column, gathered chunk by chunk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flowcli.preprocess.numbers import column_numbers
from flowcli.tables.cells import as_text, hole_mask
from flowcli.tables.columns import Column
from flowcli.tables.table import Table


@dataclass
class Whole:
    """Missing cells of all rows; of the training rows, the smallest and the largest number, and all labels."""

    missing: int = 0
    low: float = math.inf
    high: float = -math.inf
    categories: set[str] = field(default_factory=set)


def whole_of(
    chunks: Iterable[Table], columns: Sequence[Column], in_training: npt.NDArray[np.bool_]
) -> dict[str, Whole]:
    """Of each column that varies, by name."""
    found = {column.name: Whole() for column in columns if column.kind not in ("constant", "identifier")}
    seen = 0
    for chunk in chunks:
        training = in_training[seen : seen + len(chunk)]
        seen += len(chunk)
        for column in columns:
            if column.name not in found:
                continue
            whole, cells = found[column.name], chunk.column(column.name)
            whole.missing += int(hole_mask(cells).sum())
            if column.kind == "label":
                labels = as_text(cells).filter(pa.array(training)).unique().drop_null()
                whole.categories.update(labels.to_pylist())
                continue
            values = column_numbers(column, cells).values[training]
            values = values[np.isfinite(values)]
            if len(values):
                whole.low, whole.high = min(whole.low, float(values.min())), max(whole.high, float(values.max()))
    return found
