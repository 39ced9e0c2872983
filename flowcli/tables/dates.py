"""Dates and times: how they are written, as numbers, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flowcli.tables import compute as pc
from flowcli.tables.arrays import flags_of, floats_of, integers, scalar
from flowcli.tables.cells import Numbers, as_text

# Ways of writing, tried in this order; the first that every cell fits is taken.
DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y")
TIMES = tuple(
    f"{date}{between}{time}" for date in DATES for time in ("%H:%M:%S", "%H:%M", "%H:%M:%SZ") for between in (" ", "T")
)
# Arrow's own columns of dates and times, by the name of their type.
TYPED = "typed:"
SECONDS_A_DAY = 86400

_YEAR, _PART, _MONTH = "[12][0-9]{3}", "[0-9]{1,2}", "[A-Za-z]{3,9}"
_OTHER_DATE = (
    rf"^({_YEAR}[-/.]{_PART}([-/.]{_PART})?|{_PART}[-/.]{_PART}[-/.]{_YEAR}|{_PART}/{_PART}/[0-9]{{2}}"
    rf"|{_PART}[- .]{{1,2}}{_MONTH}[- .,]{{1,2}}[0-9]{{2,4}}|{_MONTH}\.? {_PART},? [0-9]{{4}})($|[T ,])"
)


def is_date_type(column: pa.ChunkedArray) -> bool:
    """Whether the cells are typed dates or times."""
    return bool(pa.types.is_date(column.type) or pa.types.is_timestamp(column.type))


def date_format(column: pa.ChunkedArray) -> str:
    """How every cell that is there is written, or ``""`` if they are no dates; ``typed:...`` for typed ones.

    ``03/04/2020`` is read month first, unless some cell can only be read day first.
    """
    if is_date_type(column):
        return f"{TYPED}{column.type}"
    text = as_text(column).drop_null()
    if not len(text) or not _maybe_date(text[0].as_py()):
        return ""
    for form in (*DATES, *TIMES):
        if _parsed(text.slice(0, 100), form).null_count == 0 and _parsed(text, form).null_count == 0:
            return form
    return ""


def nearest_format(column: pa.ChunkedArray) -> str:
    """How most of the first cells are written, though not all are dates; ``""`` where they are no dates."""
    text = as_text(column).drop_null().slice(0, 100)
    if 2 * sum(map(_maybe_date, text.to_pylist())) < len(text):
        return ""
    wrong = {form: _parsed(text, form).null_count for form in (*DATES, *TIMES)}
    form = min(wrong, key=wrong.__getitem__)
    return form if 2 * wrong[form] < len(text) else ""


def advice_on_dates(text: pa.ChunkedArray) -> str:
    """What to do about cells of text that look like dates written in other ways, or ``""``."""
    looks = pc.all(pc.match_substring_regex(text, _OTHER_DATE)).as_py()
    return "write its dates like 2024-01-31 or 2024-01-31 12:30:00" if looks else ""


def _maybe_date(cell: str) -> bool:
    """A cheap look at one cell before all are parsed."""
    return 8 <= len(cell) <= 20 and sum(character.isdigit() for character in cell) >= 6 and not cell.isdigit()


def _parsed(text: pa.ChunkedArray, form: str) -> pa.ChunkedArray:
    """Timestamps in seconds; null where the text is not written that way."""
    # Arrow's parser takes "1:2" for "%H:%M" too; what comes back differently was not written that way.
    stamps = pc.strptime(text, format=form, unit="s", error_is_null=True)
    same = pc.equal(_strftime(stamps, form), text)
    return pc.if_else(same.fill_null(scalar(False)), stamps, scalar(None).cast(stamps.type))


def _strftime(stamps: pa.ChunkedArray, form: str) -> pa.ChunkedArray:
    return pc.strftime(stamps, format=form)


def unit(form: str) -> float:
    """Seconds in the unit in which such dates are counted: a day for dates, a second for times."""
    day = form in DATES or form.startswith(f"{TYPED}date")
    return float(SECONDS_A_DAY) if day else 1.0


def date_numbers(column: pa.ChunkedArray, form: str) -> Numbers:
    """Days or seconds since 1970, NaN where a cell is missing or written otherwise."""
    if is_date_type(column):
        missing = flags_of(column.is_null())
        seconds = _since_1970(column)
        return Numbers(seconds / unit(form), missing, np.zeros(len(column), dtype=bool))
    text = as_text(column)
    missing = flags_of(text.is_null())
    # A table of another type may hold the same dates: ISO is how they come as text.
    forms = (form,) if not form.startswith(TYPED) else (*DATES[:1], *TIMES)
    seconds = np.full(len(column), np.nan)
    for each in forms:
        seconds = np.where(np.isnan(seconds), _since_1970(_parsed(text, each)), seconds)
    return Numbers(seconds / unit(form), missing, np.isnan(seconds) & ~missing)


def _since_1970(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    stamps = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)))
    return floats_of(stamps.cast(pa.int64()).cast(pa.float64(), safe=False)) / 1e6


def written_dates(values: npt.NDArray[np.float64], form: str) -> pa.Array:
    """Numbers of :func:`date_numbers` as cells; null for NaN."""
    missing = ~np.isfinite(values)
    with np.errstate(over="ignore"):
        seconds = np.where(missing, 0, values) * unit(form)
    micros = np.rint(seconds.clip(-6e10, 2.5e11) * 1e6).astype(np.int64)
    stamps: Any = integers(micros, missing).cast(pa.timestamp("us"))
    if not form.startswith(TYPED):
        return pc.strftime(stamps.cast(pa.timestamp("s"), safe=False), format=form)
    name = form.removeprefix(TYPED)
    if name.startswith("date"):
        return stamps.cast(pa.date32()) if name.startswith("date32") else stamps.cast(pa.date64(), safe=False)
    precision, zone = name.removeprefix("timestamp[").rstrip("]").partition(", tz=")[::2]
    kind = pa.timestamp(precision, tz=zone or None)
    return stamps.cast(pa.timestamp(precision), safe=False).cast(pa.int64()).cast(kind)
