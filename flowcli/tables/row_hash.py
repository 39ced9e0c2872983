"""Row numbers as evenly spread numbers: chance that depends on nothing but a row's place and a seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]


def row_hashes(rows: npt.NDArray[np.int64], seed: int | None = None) -> Hashes:
    """A number from 0 to 2^64 - 1 for each row, no two the same.

    The finaliser of SplitMix64 (Steele, Lea & Flood 2014); a seed gives another order than any other, or than none.
    """
    x = rows.astype(np.uint64)
    return _spread(x if seed is None else x ^ _spread(np.array([seed], dtype=np.uint64)))


def _spread(x: Hashes) -> Hashes:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
