"""What each column is: inferred once, in a fit, and kept with the model."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, model_validator

from flowcli.errors import ConfigError, DataError
from flowcli.tables.cells import Numbers, as_numbers, as_text, decimals, is_number_type, is_text, looks_like_codes
from flowcli.tables.table import Table

# A text column is a label when its values come back: on average this often, and no more of them than this.
LEAST_ROWS_PER_LABEL = 5
MOST_LABELS = 1000
ASKED = "data.kinds says so"


class Column(BaseModel):
    """One column of the model. What depends on the data comes from the training rows alone.

    ``number``: standardised by ``mean`` and ``scale`` (standard deviation), written with ``decimals``
    digits after the point. ``ordinal``: whole numbers around ``mean`` (their median), of this spread, each with a
    probability.
    ``label``: one of ``categories``. ``constant``: always ``value``, and no part of the density. A
    ``context`` column is given, not modelled.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Literal["number", "ordinal", "label", "constant"]
    reason: str
    context: bool = False
    decimals: int | None = None
    mean: float = 0.0
    scale: float = 1.0
    categories: tuple[str, ...] = ()
    value: str = ""

    @model_validator(mode="after")
    def _usable(self) -> Column:
        if not (np.isfinite(self.mean) and np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"column {self.name!r} has no usable mean and scale")
        if (self.kind == "label") != bool(self.categories):
            raise ValueError(f"column {self.name!r}: labels have categories, other columns have none")
        return self


def infer_columns(
    table: Table, context: Sequence[str] = (), drop: Sequence[str] = (), kinds: Mapping[str, str] | None = None
) -> list[Column]:
    """Decide what each column is, from all rows; ``kinds`` says it for some of them.

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
            columns.append(_infer(name, table, name in context, kinds.get(name)))
        except DataError as error:
            refused.append(str(error))
    if refused:
        raise DataError(
            f"{table.source()}: these columns cannot be modelled: {'; '.join(refused)}. "
            "Leave them out with --drop NAME,NAME, or mend them"
        )
    if not any(not column.context and column.kind != "constant" for column in columns):
        raise DataError(f"{table.source()}: no column is left to model")
    return columns


def _infer(name: str, table: Table, context: bool, wanted: str | None) -> Column:
    """``wanted`` is the kind that the config asks for, if any."""
    cells = table.column(name)
    if not (is_text(cells) or is_number_type(cells) or pa.types.is_null(cells.type)):
        raise DataError(f"{name!r} (holds {cells.type})")
    text = as_text(cells) if is_text(cells) else None
    numbers = as_numbers(cells)
    missing = int(numbers.missing.sum())
    if missing == len(cells):
        raise DataError(f"{name!r} (every cell is missing)")
    if missing:
        raise DataError(f"{name!r} ({missing:,} of {len(cells):,} cells are missing)")
    distinct = pc.count_distinct(text if text is not None else cells).as_py()
    if distinct == 1:
        value = str((text if text is not None else cells)[0].as_py())
        return Column(name=name, kind="constant", context=context, reason="one value in every row", value=value)
    if wanted in ("number", "ordinal"):
        _require_numbers(name, table, numbers, wanted)
    if wanted == "ordinal":
        return Column(name=name, kind="ordinal", context=context, reason=ASKED, decimals=0)
    as_words = wanted == "label" or (wanted is None and looks_like_codes(cells))
    if not numbers.invalid.any() and not as_words:
        infinite = np.flatnonzero(np.isinf(numbers.values))
        if len(infinite):
            raise DataError(f"{name!r} (infinite in {_place(table, int(infinite[0]))})")
        reason = "every cell is a number" if wanted is None else ASKED
        return Column(name=name, kind="number", context=context, reason=reason, decimals=decimals(cells))
    strays = pc.filter(cells if text is None else text, pa.array(numbers.invalid))
    # A word that comes back ("3+" among counts) makes a label column; a few odd cells are mistakes.
    odd = 0 < len(strays) < min(len(cells) / 2, LEAST_ROWS_PER_LABEL * pc.count_distinct(strays).as_py())
    if odd and not as_words:
        place = _place(table, int(np.flatnonzero(numbers.invalid)[0]))
        told = f"{len(strays):,} cells are not numbers, the first is" if len(strays) > 1 else "not a number:"
        raise DataError(f"{name!r} ({told} {strays[0].as_py()!r} in {place})")
    few = distinct * LEAST_ROWS_PER_LABEL <= len(cells) or wanted == "label"
    if distinct > MOST_LABELS or not few:
        example = cells[0].as_py()
        raise DataError(f"{name!r} (text with {distinct:,} different values in {len(cells):,} rows, like {example!r})")
    categories = tuple(sorted(as_text(cells).unique().to_pylist()))
    reason = f"text with {distinct} values" if wanted is None else ASKED
    return Column(name=name, kind="label", context=context, reason=reason, categories=categories)


def _require_numbers(name: str, table: Table, numbers: Numbers, wanted: str) -> None:
    """Refuse a column that the config calls numbers, or whole numbers, and that holds something else."""
    wrong = numbers.invalid
    if wanted == "ordinal":
        wrong = wrong | np.isinf(numbers.values) | (np.rint(numbers.values) != numbers.values)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        what = "a whole number" if wanted == "ordinal" else "a number"
        cell = table.column(name)[row].as_py()
        raise DataError(f"{name!r} (data.kinds says {wanted}, and {cell!r} in {_place(table, row)} is not {what})")


def _place(table: Table, index: int) -> str:
    """The row, and the file too where there are several."""
    return table.locate(index).removeprefix(f"{table.source()}: ")


def describe_missing(missing: Sequence[str], present: Sequence[str], source: str) -> str:
    """``file has no column 'a' (did you mean 'A'?), 'b'``."""
    described = []
    for name in missing:
        close = difflib.get_close_matches(name, present, n=1) or [
            other for other in present if other.strip().casefold() == name.strip().casefold()
        ]
        described.append(f"{name!r}" + (f" (did you mean {close[0]!r}?)" if close else ""))
    return f"{source} has no column {', '.join(described)}; it has {', '.join(map(repr, present))}"


def fit_columns(columns: Sequence[Column], training: Table) -> list[Column]:
    """The columns with means, scales and categories of the training rows.

    A column that varies in the whole table but not in the training rows becomes a constant.
    """
    fitted = []
    for column in columns:
        if column.kind in ("number", "ordinal"):
            values = as_numbers(training.column(column.name)).values
            update: dict[str, Any]
            with np.errstate(over="ignore", invalid="ignore"):
                mean, scale = float(values.mean()), float(values.std())
            if column.kind == "ordinal" and np.isfinite(scale) and scale > 0:
                mean, scale = _middle(values, scale)
            if not (np.isfinite(mean) and np.isfinite(scale)):
                raise DataError(
                    f"{training.source()}: column {column.name!r}: its numbers are too large for a mean and a scale"
                )
            if scale == 0:
                update = {
                    "kind": "constant",
                    "value": _as_written(values[0]),
                    "reason": "one value in the training rows",
                }
            else:
                update = {"mean": mean, "scale": scale}
            column = column.model_copy(update=update)
        elif column.kind == "label":
            categories = tuple(sorted(as_text(training.column(column.name)).unique().to_pylist()))
            column = column.model_copy(update={"categories": categories})
        fitted.append(column)
    return fitted


def _middle(values: np.ndarray, deviation: float) -> tuple[float, float]:
    """Median and spread of counts, whose few large ones would hide the small ones: a normal's of the same quartiles."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float(np.rint(median)), float(high - low) / 1.349 or min(deviation, 1.0)


def _as_written(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(float(number))
