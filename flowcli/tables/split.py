"""Which rows are for training, for validation and for the final test: by the hash of a row's number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flowcli.errors import DataError
from flowcli.tables.row_hash import row_hashes

# One row has no spread.
LEAST_TRAINING_ROWS = 2
TRAINING, VALIDATION, TEST = range(3)


class Split:
    """A part for each row, at random but fixed by the seed: a row need not know of the others."""

    def __init__(self, validation: float, test: float, seed: int, rows: int | None = None) -> None:
        """``validation`` and ``test`` are shares of the rows.

        Args:
            rows: how many there are, where that is known: the parts then have the rows that their shares ask for,
                at least one each, rather than about as many.

        Raises:
            DataError: fewer than two rows would be left for training.
        """
        self.seed = seed
        if rows is None:
            ends = [int(share * 2.0**64) for share in (test, test + validation)]
        else:
            ends = self._exact(validation, test, rows)
        # A float's rounding can reach 2^64.
        self._test_end, self._validation_end = (np.uint64(min(end, 2**64 - 1)) for end in ends)

    def _exact(self, validation: float, test: float, rows: int) -> list[int]:
        """The hashes below which as many rows lie as the shares ask for."""
        tested = max(1, round(test * rows)) if test else 0
        validated = max(1, round(validation * rows)) if validation else 0
        if tested + validated > rows - LEAST_TRAINING_ROWS:
            raise DataError(
                f"{rows} rows are too few to keep {validated} for validation and {tested} for the test; "
                "data.validation=0 and data.test=0 keep none"
            )
        hashes = np.sort(row_hashes(np.arange(rows), self.seed))
        return [int(hashes[tested]), int(hashes[tested + validated])]

    def parts(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
        """Of rows with these numbers, from 0: ``TRAINING``, ``VALIDATION`` or ``TEST``."""
        hashes = row_hashes(rows, self.seed)
        part = np.full(len(rows), TRAINING, dtype=np.int8)
        part[hashes < self._validation_end] = VALIDATION
        part[hashes < self._test_end] = TEST
        return part
