"""What each column is: inferred once, in a fit, from all rows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flowcli.errors import ConfigError, DataError
from flowcli.tables.arrays import flags
from flowcli.tables.cells import (
    Numbers,
    advice_on_numbers,
    as_numbers,
    as_text,
    decimals,
    hole_mask,
    is_number_type,
    is_text,
    looks_like_codes,
)
from flowcli.tables.columns import LARGEST_WHOLE, Cells, Column, describe_missing
from flowcli.tables.dates import advice_on_dates, date_format, date_numbers, is_date_type, nearest_format
from flowcli.tables.table import Table

if TYPE_CHECKING:
    from flowcli.config.schema import ColumnConfig

# A text column is a label when its values come back: on average this often, and no more of them than this.
LEAST_ROWS_PER_LABEL = 5
MOST_LABELS = 1000
# A column that is different in each of so many rows can be an identifier.
LEAST_IDENTIFIERS = 20
# Values are on a grid when its step is no smaller than this share of their standard deviation, or when no more than
# this share of them are different.
FINEST_STEP = 1e-3
MOST_DISTINCT = 0.8
# More rows than this share with one value say nothing of the others' grid.
MOST_OF_ONE_VALUE = 0.2
# A coarser grid counts when so many of the values are on it.
LEAST_ON_GRID = 0.95
MOST_TOLD = 10
ASKED = "data.kinds says so"
LEFT_OUT = ": left out"
NO_HOLES = "missing cells, which an ordinal cannot have; data.missing=impute, or drop"

_IDENTIFIER = re.compile(r"(?i:(^|[\s_.-])(id|idx|index|key|uuid|guid|no|nr|row|rownum|unnamed: 0)$)|[a-z](Id|ID)$|^#$")


def infer_columns(
    table: Table,
    context: Sequence[str] = (),
    drop: Sequence[str] = (),
    kinds: Mapping[str, ColumnConfig] | None = None,
    missing: str = "model",
) -> list[Column]:
    """Decide what each column is, from all rows.

    Args:
        kinds: what the config says of columns.
        missing: what becomes of missing cells: ``error`` refuses them.

    Raises:
        ConfigError: ``context``, ``drop`` or ``kinds`` names a column that the table has not.
        DataError: columns that cannot be modelled, all of them named, with the ways out.
    """
    kinds = kinds or {}
    for key, names in (("data.context", context), ("data.drop", drop), ("data.kinds", list(kinds))):
        unknown = [name for name in names if name not in table.names]
        if unknown:
            raise ConfigError([f"{key}: {describe_missing(unknown, table.names, table.source())}"])
    both = [name for name in context if name in drop]
    if both:
        raise ConfigError([f"data.context and data.drop both name {', '.join(map(repr, both))}"])
    if not len(table):
        raise DataError(f"{table.source()}: has no rows")
    columns: list[Column] = []
    refused: list[str] = []
    for name in table.names:
        if name in drop:
            continue
        try:
            wanted = kinds.get(name)
            column = _infer(name, table, wanted if wanted and wanted.tells_kind else None)
            if column.missing and missing == "error":
                holes = int(hole_mask(table.column(name)).sum())
                raise DataError(f"{name!r} ({holes:,} of {len(table):,} cells are missing)")
            if column.missing and column.kind == "ordinal" and missing == "model":
                raise DataError(f"{name!r} ({NO_HOLES})")
            if name in context and column.kind == "identifier":
                raise DataError(f"{name!r} (cannot be given: {column.reason})")
            unit = (wanted and wanted.unit) or ""
            columns.append(replace(column, context=name in context, unit=unit))
        except DataError as error:
            refused.append(str(error))
    if refused:
        raise DataError(
            f"{table.source()}: these columns cannot be modelled: {_told(refused)}. "
            "Leave them out (--drop NAME,NAME, or data.drop), or mend them"
        )
    if not any(not column.context and column.kind not in ("constant", "identifier") for column in columns):
        why = _told([f"{c.name!r} ({'given' if c.context else c.reason.removesuffix(LEFT_OUT)})" for c in columns])
        if len(table.names) == 1 and columns and columns[0].reason.startswith("text"):
            why += "; is it one column? The cells of CSV are separated by , ; | or tabs"
        raise DataError(f"{table.source()}: no column is left to model: {why or 'all are dropped'}")
    return columns


def _told(columns: Sequence[str]) -> str:
    more = f"; and {len(columns) - MOST_TOLD:,} more" if len(columns) > MOST_TOLD else ""
    return "; ".join(columns[:MOST_TOLD]) + more


def _infer(name: str, table: Table, wanted: ColumnConfig | None) -> Column:
    cells = table.column(name)
    kind = None if wanted is None else wanted.kind or "number"
    if is_date_type(cells) and kind in (None, "date"):
        return _date(name, cells, date_format(cells))
    if not (is_text(cells) or is_number_type(cells) or pa.types.is_null(cells.type)):
        raise DataError(f"{name!r} (holds {cells.type})")
    text = as_text(cells) if is_text(cells) else None
    numbers = as_numbers(cells)
    holes = bool(numbers.missing.any())
    if numbers.missing.all():
        return Column(name=name, kind="constant", reason="every cell is missing")
    there = (text if text is not None else cells).drop_null()
    distinct = pc.count_distinct(there).as_py()
    if distinct == 1 and not holes:
        value = str(there[0].as_py())
        typed = _cells(cells, (value,)) if not is_text(cells) or pa.types.is_boolean(cells.type) else "text"
        return Column(name=name, kind="constant", reason="one value in every row", value=value, cells=typed)
    if kind in ("number", "continuous", "integer", "ordinal"):
        _require_numbers(name, table, numbers, kind)
    if kind == "ordinal":
        return Column(name=name, kind="ordinal", missing=holes, reason=ASKED, decimals=0)
    categorical = pa.types.is_dictionary(cells.type)
    as_words = kind == "label" or (kind is None and (categorical or looks_like_codes(cells)))
    if not numbers.invalid.any() and not as_words and kind != "date":
        return _number(name, table, numbers, distinct, wanted)
    labels = distinct <= MOST_LABELS and distinct * LEAST_ROWS_PER_LABEL <= len(there)
    if kind == "date" or (kind is None and is_text(cells)):
        form = date_format(cells)
        if form:
            return _date(name, cells, form)
        form = nearest_format(cells)
        if form:
            _refuse_mistakes(name, table, date_numbers(cells, form), ("date", f" as {form}"), labels and kind is None)
        if kind == "date":
            raise DataError(f"{name!r} (data.kinds says date, and it is in no format of dates that is known)")
    if not as_words:
        _refuse_mistakes(name, table, numbers, ("number", ""), labels)
    advice = _advice(there.filter(flags(numbers.invalid[~numbers.missing])), there) if text is not None else ""
    if distinct > MOST_LABELS and kind == "label":
        raise DataError(f"{name!r} (text with {distinct:,} different values; labels have at most {MOST_LABELS:,})")
    if not labels and kind != "label":
        told = "different in every row" if distinct == len(there) else f"{distinct:,} values in {len(there):,} rows"
        return Column(name=name, kind="identifier", reason=f"text, {told}{advice}{LEFT_OUT}")
    return _label(name, cells, distinct, holes, kind, advice)


def _refuse_mistakes(name: str, table: Table, read: Numbers, what: tuple[str, str], labels: bool) -> None:
    """Refuse a few cells that are odd among the others.

    A word that comes back ("3+" among counts) makes a label column; where it cannot, the word stands for something.
    """
    strays = as_text(table.column(name)).filter(flags(read.invalid))
    there = len(read.missing) - int(read.missing.sum())
    comes_back = len(strays) >= LEAST_ROWS_PER_LABEL * pc.count_distinct(strays).as_py()
    if not 0 < len(strays) < there or (labels if comes_back else len(strays) >= there / 5):
        return
    place = _place(table, int(np.flatnonzero(read.invalid)[0]))
    kind, form = what
    told = f"{len(strays):,} cells are not {kind}s{form}, the first is" if len(strays) > 1 else f"not a {kind}{form}:"
    hint = "; where it means missing, leave the cell empty" if comes_back else ""
    raise DataError(f"{name!r} ({told} {strays[0].as_py()!r} in {place}{hint})")


def _advice(strays: pa.ChunkedArray, there: pa.ChunkedArray) -> str:
    """What to do about text that was meant as numbers or dates."""
    advice = advice_on_numbers(strays) or advice_on_dates(there)
    return f"; {advice}" if advice else ""


def _label(name: str, cells: pa.ChunkedArray, distinct: int, holes: bool, wanted: str | None, advice: str) -> Column:
    categories = tuple(sorted(as_text(cells).unique().drop_null().to_pylist()))
    reason = f"text with {distinct} value{'' if distinct == 1 else 's'}{advice}" if wanted is None else ASKED
    return Column(
        name=name, kind="label", missing=holes, reason=reason, categories=categories, cells=_cells(cells, categories)
    )


def _cells(cells: pa.ChunkedArray, categories: Sequence[str]) -> Cells:
    """What labels are when they are written where types are kept: as they came, and whole numbers as such."""
    kind = cells.type.value_type if pa.types.is_dictionary(cells.type) else cells.type
    if pa.types.is_boolean(kind):
        return "boolean"
    if all(re.fullmatch(r"-?[1-9][0-9]{0,17}|0", category) for category in categories):
        return "integer"
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return "number" if numeric else "text"


def _number(name: str, table: Table, numbers: Numbers, distinct: int, wanted: ColumnConfig | None) -> Column:
    cells = table.column(name)
    kind = None if wanted is None else wanted.kind or "number"
    infinite = np.flatnonzero(np.isinf(numbers.values))
    if len(infinite):
        raise DataError(f"{name!r} (infinite in {_place(table, int(infinite[0]))})")
    values = numbers.values[~numbers.missing]
    holes = bool(numbers.missing.any())
    different = np.unique(values)
    if len(different) < MOST_DISTINCT * distinct and np.abs(different).max() > LARGEST_WHOLE:
        raise DataError(f"{name!r} (numbers beyond 2^53, too close to be told apart; take one number off them all)")
    if (
        kind is None
        and different.tolist() == [0.0, 1.0]
        and set(as_text(cells).unique().to_pylist()) <= {"0", "1", None}
    ):
        reason = "0 and 1 alone are taken for no and yes"
        return Column(name=name, kind="label", missing=holes, reason=reason, categories=("0", "1"), cells="integer")
    places = decimals(cells)
    if kind is None and _is_identifier(name, values, different):
        return Column(name=name, kind="identifier", reason=f"whole numbers, different in every row{LEFT_OUT}")
    step = None if wanted is None else wanted.step
    if step is None and kind == "integer":
        step = 1.0
    if step is None and kind != "continuous":
        step = _grid_step(different, places)
        if step is not None and step < FINEST_STEP * values.std() and distinct > MOST_DISTINCT * len(values):
            step = None
    origin = float(different[0]) if step is not None else 0.0
    share = 1.0
    if step is not None and (wanted is None or wanted.step is None) and kind != "integer":
        step, origin, share = _coarser(values, step, origin)
    bounds: dict[str, Any] = {}
    if wanted is not None:
        bounds = {"lower": wanted.lower, "upper": wanted.upper, "spikes": tuple(sorted(set(wanted.spikes)))}
        _require_declared(name, table, numbers, wanted)
    if kind is not None:
        reason = ASKED
    elif step is None:
        reason = "numbers"
    elif share < 1:
        reason = f"{100 * share:.0f}% are multiples of {step:g}"
    elif step == 1:
        reason = "whole numbers"
    else:
        reason = f"multiples of {step:g}" if _whole(origin / step) else f"numbers {step:g} apart"
    return Column(
        name=name, kind="number", missing=holes, reason=reason, decimals=places, step=step, origin=origin, **bounds
    )


def _require_declared(name: str, table: Table, numbers: Numbers, wanted: ColumnConfig) -> None:
    """Refuse numbers beyond the bounds, or off the grid, that the config says they have."""
    values = numbers.values[~numbers.missing]
    rows = np.flatnonzero(~numbers.missing)
    wrong = {
        f"below {wanted.lower}": values < (-np.inf if wanted.lower is None else wanted.lower),
        f"above {wanted.upper}": values > (np.inf if wanted.upper is None else wanted.upper),
    }
    if wanted.step is not None:
        wrong[f"off the grid of steps of {wanted.step:g}"] = _off_grid(values, wanted.step, float(values.min()))
    for what, where in wrong.items():
        if where.any():
            at = int(where.argmax())
            raise DataError(f"{name!r} ({values[at]:g} in {_place(table, int(rows[at]))} is {what}, by data.kinds)")


def _is_identifier(name: str, values: npt.NDArray[np.float64], different: npt.NDArray[np.float64]) -> bool:
    """Whole numbers, each once, by a name like ``id`` or counting the rows from 0 or 1."""
    if len(different) < max(len(values), LEAST_IDENTIFIERS) or (np.rint(different) != different).any():
        return False
    counts_rows = different[0] in (0, 1) and (np.diff(values) == 1).all()
    return bool(counts_rows or _IDENTIFIER.search(name.strip()))


def _grid_step(different: npt.NDArray[np.float64], places: int | None) -> float | None:
    """The largest step of which all differences are multiples, where there is one: a decimal one, or a part of two."""
    if len(different) < 2:
        return None
    for denominator in [10**places] if places is not None else [2**power for power in range(1, 11)]:
        with np.errstate(over="ignore"):
            scaled = different * denominator
        if np.abs(scaled).max() > 2**52:
            return None
        whole = np.rint(scaled)
        if np.abs(whole - scaled).max() <= 1e-4:
            step: float = int(np.gcd.reduce(np.diff(whole.astype(np.int64)))) / denominator
            return step or None
    return None


def _coarser(values: npt.NDArray[np.float64], step: float, origin: float) -> tuple[float, float, float]:
    """A coarser step that nearly all values are multiples of, where there is one: step, origin, and their share.

    Ages are whole years, though some of infants are not.
    """
    different, counts = np.unique(values, return_counts=True)
    # Many zeros are no sign of a grid.
    values = values[~np.isin(values, different[counts > MOST_OF_ONE_VALUE * len(values)])]
    if not len(values):
        return step, origin, 1.0
    power = math.floor(math.log10(max(values.std(), step)))
    for exponent in range(power, math.floor(math.log10(step)) - 1, -1):
        for factor in (5.0, 2.5, 1.0):
            coarse = factor * 10.0**exponent
            if coarse > 1.5 * step:
                on_it = ~_off_grid(values, coarse, 0.0)
                if on_it.mean() >= LEAST_ON_GRID:
                    return coarse, 0.0, float(on_it.mean())
    return step, origin, 1.0


def _off_grid(values: npt.NDArray[np.float64], step: float, origin: float) -> npt.NDArray[np.bool_]:
    steps = (values - origin) / step
    return np.abs(np.rint(steps) - steps) > 1e-2


def numbers_of_rows(table: Table) -> list[str]:
    """The typed number columns that are taken for identifiers of the rows, by their numbers or their names."""
    found = []
    for name in table.names:
        if is_number_type(table.column(name)):
            numbers = as_numbers(table.column(name))
            values = numbers.values[~numbers.missing]
            if _is_identifier(name, values, np.unique(values)):
                found.append(name)
    return found


def _whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-6


def _date(name: str, cells: pa.ChunkedArray, form: str) -> Column:
    numbers = date_numbers(cells, form)
    values = numbers.values[~numbers.missing]
    holes = bool(numbers.missing.any())
    if not len(values):
        return Column(name=name, kind="constant", reason="every cell is missing")
    different = np.unique(values)
    if len(different) == 1 and not holes:
        return Column(name=name, kind="constant", reason="one value in every row", value=str(cells[0].as_py()))
    whole = bool((np.rint(different) == different).all())
    step = _grid_step(different, 0 if whole else 6)
    return Column(
        name=name,
        kind="date",
        missing=holes,
        reason=f"every cell is a date, as {form}" if "%" in form else "typed dates",
        date_format=form,
        decimals=0 if whole else None,
        step=step if step is not None and step > FINEST_STEP * values.std() else None,
        origin=float(different[0]),
    )


def _require_numbers(name: str, table: Table, numbers: Numbers, wanted: str) -> None:
    """Refuse a column that the config calls numbers, or whole numbers, and that holds something else."""
    wrong = numbers.invalid
    whole = wanted in ("ordinal", "integer")
    if whole:
        with np.errstate(invalid="ignore"):
            wrong = wrong | np.isinf(numbers.values) | (np.rint(numbers.values) != numbers.values) & ~numbers.missing
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        what = "a whole number" if whole else "a number"
        cell = table.column(name)[row].as_py()
        raise DataError(f"{name!r} (data.kinds says {wanted}, and {cell!r} in {_place(table, row)} is not {what})")


def _place(table: Table, index: int) -> str:
    """The row, and the file too where there are several."""
    return table.locate(index).removeprefix(f"{table.source()}: ")
