"""A numeric column's cells as numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flowcli.tables.cells import Numbers, as_numbers
from flowcli.tables.columns import Column
from flowcli.tables.dates import date_numbers
from flowcli.transforms.support import DOMAINS

# In units of a column's scale.
NEXT_TO_BOUND = 1e-5


def column_numbers(column: Column, cells: pa.ChunkedArray) -> Numbers:
    """The cells as numbers; of a date column, as days or seconds since 1970."""
    return date_numbers(cells, column.date_format) if column.kind == "date" else as_numbers(cells)


def within(name: str, u: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What lies on a bound where no training row did has no image under the map: it is taken next to it."""
    above_zero, below_one = DOMAINS[name]
    if above_zero:
        u = np.where(u <= 0, NEXT_TO_BOUND, u)
    return np.where(u >= 1, 1 - NEXT_TO_BOUND, u) if below_one else u
