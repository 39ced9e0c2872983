"""Training rows of which each process holds a part."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from flowcli.flows.rows import Rows
from flowcli.training.processes import current


@dataclass(frozen=True)
class SharedRows:
    """The rows with the numbers from ``first`` on, of ``total``: each process holds those behind the last one's."""

    here: Rows
    first: int
    total: int

    def __len__(self) -> int:
        return self.total

    @classmethod
    def of(cls, here: Rows) -> SharedRows:
        """Every process has come here with its own rows."""
        counts = current().every(len(here))
        return cls(here, sum(counts[: current().rank]), sum(counts))


def some_of(rows: Rows | SharedRows, most: int) -> Rows:
    """At most so many rows, at equal distances; of shared ones the same in every process."""
    step = max(1, math.ceil(len(rows) / most))
    if isinstance(rows, Rows):
        return rows.take(torch.arange(0, len(rows), step, device=rows.numbers.device))
    own = rows.here.take(torch.arange(-rows.first % step, len(rows.here), step))
    return Rows.concatenated(current().every(own))
