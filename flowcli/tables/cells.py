"""Cells to numbers and labels: what is a number, what is missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flowcli.tables import compute as pc
from flowcli.tables.arrays import flags_of, floats_of, scalar, texts

# Besides the empty cell, these words stand for a missing one. "None" does not: it is a word like any other.
MISSING_WORDS = ("NA", "N/A", "n/a", "NaN", "nan", "null", "NULL")

# More decimals than this are a measurement's noise, not a way of writing.
MOST_DECIMALS = 6

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(?i:inf|infinity)$"
_CODE = r"^[+-]?0[0-9]"
_PLAIN_DECIMAL = r"^[+-]?[0-9]*\.?[0-9]*$"
# Ways of writing numbers that are not read, and what to do about them.
_OTHER_NUMBERS = {
    r"^[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?$": "write its numbers without commas between the thousands",
    r"^[+-]?[0-9.]*,[0-9]+$": "write its numbers with a decimal point, not a comma",
    r"^[+-]?[0-9]+(_[0-9]+)+$": "write its numbers without underscores",
}
_WITH_SIGN_OR_UNIT = r"^[^\pL0-9]{0,3}[0-9][0-9.,]*[^0-9]{0,5}$"


@dataclass(frozen=True)
class Numbers:
    """A column's cells as numbers ``(n,)``; NaN where a cell is missing or is not a number."""

    values: npt.NDArray[np.float64]
    missing: npt.NDArray[np.bool_]
    invalid: npt.NDArray[np.bool_]


def is_text(column: pa.ChunkedArray) -> bool:
    """Whether the cells are text (CSV's always are), booleans or categories, rather than typed numbers."""
    kind = column.type
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_dictionary(kind)
        or pa.types.is_boolean(kind)
    )


def is_number_type(column: pa.ChunkedArray) -> bool:
    """Whether the cells are typed numbers."""
    kind = column.type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The cells as trimmed text, null where a cell is missing."""
    if pa.types.is_null(column.type):
        return column.cast(pa.string())
    text = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    missing = pc.is_in(text, value_set=texts(["", *MISSING_WORDS]))
    return pc.if_else(missing, scalar(None), text)


def as_numbers(column: pa.ChunkedArray) -> Numbers:
    """The cells as float64."""
    if pa.types.is_null(column.type):
        everywhere = np.ones(len(column), dtype=bool)
        return Numbers(np.full(len(column), np.nan), everywhere, ~everywhere)
    if is_number_type(column):
        values = floats_of(pc.cast(column, pa.float64(), safe=False))
        return Numbers(values, np.isnan(values), np.zeros(len(values), dtype=bool))
    plain = _plain_numbers(column)
    if plain is not None:
        nowhere = np.zeros(len(plain), dtype=bool)
        return Numbers(plain, nowhere, nowhere)
    text = as_text(column)
    missing = flags_of(pc.is_null(text))
    try:
        values = floats_of(pc.cast(text, pa.float64()))
        # Arrow reads more spellings of "not a number" than MISSING_WORDS has.
        return Numbers(values, missing, np.isnan(values) & ~missing)
    except pa.ArrowInvalid:
        matches = pc.match_substring_regex(text, _NUMBER)
        valid = pc.if_else(matches, pc.utf8_ltrim(text, "+"), scalar(None))
        return Numbers(floats_of(valid.cast(pa.float64())), missing, ~flags_of(matches.fill_null(scalar(True))))


def _plain_numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64] | None:
    """The numbers of a column of text that has nothing else, as most have; ``None`` if there is anything else."""
    if not pa.types.is_string(column.type) or column.null_count:
        return None
    try:
        values = floats_of(pc.cast(column, pa.float64()))
    except pa.ArrowInvalid:
        return None
    return None if np.isnan(values).any() else values


def looks_like_codes(column: pa.ChunkedArray) -> bool:
    """Whether some cell has a leading zero, as in ``00501``: such a column is text, not a number."""
    return is_text(column) and bool(pc.any(pc.match_substring_regex(as_text(column), _CODE)).as_py())


def advice_on_numbers(text: pa.ChunkedArray) -> str:
    """What to do about cells of text that are numbers all written in one other way (``3,14``, ``$5``), or ``""``."""
    for pattern, advice in _OTHER_NUMBERS.items():
        if _all_match(text, pattern):
            return advice
    if not _all_match(text, _WITH_SIGN_OR_UNIT):
        return ""
    rest = pc.utf8_trim_whitespace(pc.replace_substring_regex(text, "[0-9.,+-]+", "")).unique().to_pylist()
    return f"write its numbers without {rest[0]!r}" if len(rest) == 1 and rest[0] else ""


def _all_match(text: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(text, pattern)).as_py())


def decimals(column: pa.ChunkedArray) -> int | None:
    """The most digits after the point in a column of numbers; ``None`` for exponents and for very many."""
    if pa.types.is_integer(column.type):
        return 0
    if not is_text(column):
        values = as_numbers(column).values
        values = values[np.isfinite(values)]
        tolerance = 2 * np.spacing(np.abs(values))
        fits = (d for d in range(MOST_DECIMALS + 1) if (np.abs(np.round(values, d) - values) <= tolerance).all())
        return next(fits, None)
    text = as_text(column).drop_null()
    if not bool(pc.all(pc.match_substring_regex(text, _PLAIN_DECIMAL), min_count=0).as_py()):
        return None
    fractions = pc.replace_substring_regex(text, r"^[^.]*\.?", "")
    digits = int(pc.max(pc.utf8_length(fractions)).as_py() or 0)
    return digits if digits <= MOST_DECIMALS else None


def hole_mask(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Which cells are missing."""
    if is_text(column) or pa.types.is_null(column.type):
        return flags_of(as_text(column).is_null())
    return as_numbers(column).missing if is_number_type(column) else flags_of(column.is_null())
