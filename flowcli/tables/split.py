"""Which rows are for training, for validation and for the final test."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flowcli.errors import DataError

# One row has no spread.
LEAST_TRAINING_ROWS = 2

Indices = npt.NDArray[np.int64]


def split_rows(rows: int, validation: float, test: float, seed: int) -> tuple[Indices, Indices, Indices]:
    """Disjoint random indices for training, validation and test, each in the table's order.

    A share above zero is at least one row.

    Raises:
        DataError: fewer than two rows would be left for training.
    """
    order = np.random.default_rng(seed).permutation(rows)
    tested = max(1, round(test * rows)) if test else 0
    validated = max(1, round(validation * rows)) if validation else 0
    if tested + validated > rows - LEAST_TRAINING_ROWS:
        raise DataError(
            f"{rows} rows are too few to keep {validated} for validation and {tested} for the test; "
            "data.validation=0 and data.test=0 keep none"
        )
    parts = np.split(order, [tested, tested + validated])
    test_rows, validation_rows, training_rows = (np.sort(part) for part in parts)
    return training_rows, validation_rows, test_rows
