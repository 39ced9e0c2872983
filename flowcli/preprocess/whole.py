"""What only all rows can say of a column, gathered chunk by chunk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from flowcli.preprocess.numbers import column_numbers
from flowcli.tables.arrays import flags
from flowcli.tables.cells import as_text, hole_mask
from flowcli.tables.columns import Column
from flowcli.tables.infer import MOST_LABELS
from flowcli.tables.split import TRAINING, Split
from flowcli.tables.table import Table


@dataclass
class Whole:
    """Missing cells of all rows; of the training rows, the smallest and the largest number, and all labels."""

    missing: int = 0
    low: float = math.inf
    high: float = -math.inf
    categories: set[str] = field(default_factory=set)

    @classmethod
    def merged(cls, parts: Sequence[Whole]) -> Whole:
        """What all rows say, of which each part has said what its own rows do: exactly, in any order."""
        return cls(
            sum(part.missing for part in parts),
            min(part.low for part in parts),
            max(part.high for part in parts),
            set().union(*(part.categories for part in parts)),
        )


class Statistics:
    """What all rows say of each column that varies, by name, added up chunk by chunk."""

    def __init__(self, columns: Sequence[Column], split: Split | None = None) -> None:
        """Without a ``split``, all rows are for training."""
        self.columns = {column.name: column for column in columns if column.kind not in ("constant", "identifier")}
        self.split = split
        self.found = {name: Whole() for name in self.columns}

    def add(self, table: Table, index: npt.NDArray[np.int64]) -> None:
        """Take in rows with these numbers."""
        training = np.ones(len(table), dtype=bool) if self.split is None else self.split.parts(index) == TRAINING
        for name, column in self.columns.items():
            whole, cells = self.found[name], table.column(name)
            whole.missing += int(hole_mask(cells).sum())
            if column.kind == "label":
                if len(whole.categories) <= MOST_LABELS:
                    labels = as_text(cells).filter(flags(training)).unique().drop_null()
                    whole.categories.update(labels.to_pylist())
                continue
            values = column_numbers(column, cells).values[training]
            values = values[np.isfinite(values)]
            if len(values):
                whole.low, whole.high = min(whole.low, float(values.min())), max(whole.high, float(values.max()))

    def read_alike(self, column: Column) -> bool:
        """Whether the column was read as what it is now known to be."""
        read_as = self.columns.get(column.name)
        return read_as is not None and (read_as.kind, read_as.date_format) == (column.kind, column.date_format)
