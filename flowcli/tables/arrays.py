"""Between Arrow and NumPy, by way of the buffers: Arrow's own conversions import pandas, which takes long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def numbers(values: npt.NDArray[np.float64], missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Floats; null where ``missing``."""
    return _of_buffer(pa.float64(), values.astype(np.float64), missing)


def integers(values: npt.NDArray[np.int64], missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Whole numbers; null where ``missing``."""
    return _of_buffer(pa.int64(), values.astype(np.int64), missing)


def flags(values: npt.NDArray[np.bool_]) -> pa.Array:
    """Truth values."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def scalar(value: str | bool | None) -> Any:
    """A text, a truth value, or no text, as Arrow's functions take it; of the plain value they make one by pandas."""
    return (flags(np.array([value])) if isinstance(value, bool) else texts([value]))[0]


def texts(values: Sequence[str | None]) -> pa.Array:
    """Texts; null for ``None``.

    Raises:
        UnicodeEncodeError: a text is half of a surrogate pair.
    """
    encoded = [b"" if value is None else value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)])
    kind, offsets = (pa.string(), ends.astype(np.int32)) if ends[-1] < 2**31 else (pa.large_string(), ends)
    there = np.array([value is not None for value in values], dtype=bool)
    validity = None if there.all() else _bits(there)
    buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(kind, len(encoded), buffers)


def floats_of(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.float64]:
    """Cells of float64 as NumPy's; NaN for null."""
    found = [np.zeros(0)]
    for chunk in _chunks(column):
        validity, values = chunk.buffers()
        numbers_of = np.frombuffer(values, np.float64, len(chunk), 8 * chunk.offset)
        found.append(np.where(_unpacked(validity, chunk), numbers_of, np.nan) if chunk.null_count else numbers_of)
    return np.concatenate(found)


def flags_of(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.bool_]:
    """Truth values as NumPy's; false for null."""
    found = [np.zeros(0, dtype=bool)]
    for chunk in _chunks(column):
        validity, values = chunk.buffers()
        true = _unpacked(values, chunk)
        found.append(true & _unpacked(validity, chunk) if chunk.null_count else true)
    return np.concatenate(found)


def _chunks(column: pa.ChunkedArray | pa.Array) -> list[pa.Array]:
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    # What is empty may have no buffers.
    return [chunk for chunk in chunks if len(chunk)]


def _unpacked(bits: pa.Buffer, chunk: pa.Array) -> npt.NDArray[np.bool_]:
    end = chunk.offset + len(chunk)
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=end, bitorder="little")[chunk.offset :].astype(bool)


def _of_buffer(kind: pa.DataType, values: np.ndarray, missing: npt.NDArray[np.bool_] | None) -> pa.Array:
    validity = None if missing is None or not missing.any() else _bits(~missing)
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(np.ascontiguousarray(values))])


def _bits(values: npt.NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
