"""What a model knows of each column."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, get_args

from flowcli import records
from flowcli.records import flag, number, one_of, optional, parts, positive, text, tuple_of, whole

Kind = Literal["number", "date", "ordinal", "label", "constant", "identifier"]
Map = Literal["none", "log", "softplus", "logit", "arcsinh"]
Cells = Literal["text", "integer", "number", "boolean"]

MOST_NAMES = 10
# Far beyond what any table has; Arrow takes ten kilobytes for each column of text.
MOST_COLUMNS = 50_000
MOST_CATEGORIES = 100_000
MOST_SPIKES = 1000
# Beyond it, float64 does not hold every whole number.
LARGEST_WHOLE = 2.0**53
YES_OR_NO = ({"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"}, {"0", "1"})


@dataclass(frozen=True)
class Column:
    """One column of the model. What depends on the data comes from the training rows alone.

    ``number``, and ``date`` (days or seconds since 1970, written as ``date_format``): ``u = (x - mean) / scale`` is
    taken to the real line by ``map`` (:mod:`flowcli.transforms.supports`), and there standardised by ``center`` and
    ``spread``. ``step``: the grid that the values lie on, through ``origin``. ``lower`` and ``upper``: bounds beyond
    which the density is zero. ``spikes``: values with a probability of their own, the commonest first.
    ``decimals``: digits written after the point. ``unit``: what the numbers are in, as the config says.

    ``ordinal``: whole numbers around ``mean`` (their median), of this spread, each with a probability.
    ``label``: one of ``categories``, written as ``cells``. ``constant``: always ``value``, written likewise, and no
    part of the density. ``identifier``: left out.

    ``missing``: whether a cell may be missing, which then has a probability. ``fill``: what stands in for a missing
    cell instead. A ``context`` column is given, not modelled.

    Raises:
        ValueError: a value is not of its kind, or those of the column do not go together.
    """

    name: str
    kind: Kind
    reason: str
    context: bool = False
    missing: bool = False
    fill: str | None = None
    decimals: int | None = None
    date_format: str = ""
    step: float | None = None
    origin: float = 0.0
    lower: float | None = None
    upper: float | None = None
    map: Map = "none"
    mean: float = 0.0
    scale: float = 1.0
    center: float = 0.0
    spread: float = 1.0
    spikes: tuple[float, ...] = ()
    cells: Cells = "text"
    categories: tuple[str, ...] = ()
    value: str = ""
    unit: str = ""

    def __post_init__(self) -> None:
        for fact, value in _checked(vars(self)).items():
            object.__setattr__(self, fact, value)
        # Below an upper bound, u grows as x falls.
        falls = self.scale < 0 and self.map in ("log", "softplus")
        if not (self.scale > 0 or falls):
            raise ValueError(f"column {self.name!r} has no usable mean and scale")
        if self.kind == "ordinal" and max(abs(self.mean), self.scale) > LARGEST_WHOLE:
            raise ValueError(f"column {self.name!r}: its whole numbers are beyond 2^53")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"column {self.name!r}: its lower bound is not below the upper one")
        if (self.kind == "label") != bool(self.categories):
            raise ValueError(f"column {self.name!r}: labels have categories, other columns have none")
        if any(len(set(values)) < len(values) for values in (self.categories, self.spikes)):
            raise ValueError(f"column {self.name!r}: a category or a spike is there twice")
        written = _WRITTEN[self.cells]
        if not all(written.fullmatch(category) for category in self.categories):
            raise ValueError(f"column {self.name!r}: its categories are not all of the type {self.cells}")
        if self.kind == "constant" and self.value and not written.fullmatch(self.value):
            raise ValueError(f"column {self.name!r}: its value is not of the type {self.cells}")
        if self.kind == "date" and not _is_date_format(self.date_format):
            raise ValueError(f"column {self.name!r}: its dates are in no format that is known")

    @classmethod
    def of(cls, value: Any) -> Column:
        """A column from its JSON.

        Raises:
            ValueError: it is none.
        """
        return cls(**_written(value))

    def as_json(self) -> dict[str, Any]:
        """The column as JSON has it."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {fact: list(value) if isinstance(value, tuple) else value for fact, value in values}

    @property
    def numeric(self) -> bool:
        """Whether the density is over its numbers: a number or a date."""
        return self.kind in ("number", "date")

    @property
    def partial(self) -> bool:
        """Whether some rows have no number of a density here: a hole or a spike stands in its place."""
        return self.numeric and (self.missing or bool(self.spikes))

    @property
    def states(self) -> int:
        """Of a partial column: how many states a cell can be in. 0: a number; then the spikes; then missing."""
        return 1 + len(self.spikes) + self.missing

    @property
    def codes(self) -> int:
        """Of a label column: how many categories there are, a missing cell among them."""
        return len(self.categories) + self.missing

    @property
    def nature(self) -> str:
        """What a person would call it: integer, steps of 0.1, positive, ..."""
        if self.kind == "label":
            words = {category.casefold() for category in self.categories}
            return "boolean" if any(words <= pair for pair in YES_OR_NO) and len(words) == 2 else "label"
        if self.kind != "number":
            return self.kind
        words_of_it = [_grid(self.step, self.decimals)]
        if self.lower is not None and self.upper is not None:
            words_of_it.append(f"from {self.lower:g} to {self.upper:g}")
        elif self.lower is not None:
            words_of_it.append("positive" if self.lower == 0 else f"from {self.lower:g}")
        elif self.upper is not None:
            words_of_it.append(f"up to {self.upper:g}")
        if self.spikes[:1] == (0.0,):
            words_of_it.append("zero-inflated")
        if self.map == "arcsinh":
            words_of_it.append("heavy-tailed")
        return ", ".join(words_of_it)


_CHECKS = {
    "name": records.name,
    "kind": one_of(*get_args(Kind)),
    "reason": text,
    "context": flag,
    "missing": flag,
    "fill": optional(text),
    "decimals": optional(whole(0, 20)),
    "date_format": text,
    "step": optional(positive),
    "origin": number,
    "lower": optional(number),
    "upper": optional(number),
    "map": one_of(*get_args(Map)),
    "mean": number,
    "scale": number,
    "center": number,
    "spread": positive,
    "spikes": tuple_of(number, MOST_SPIKES),
    "cells": one_of(*get_args(Cells)),
    "categories": tuple_of(text, MOST_CATEGORIES),
    "value": text,
    "unit": text,
}
_checked = parts(_CHECKS)
_written = parts(_CHECKS, missing={f.name: f.default for f in fields(Column) if f.default is not MISSING})

# How categories of each type of cells are written.
_WRITTEN: dict[Cells, re.Pattern[str]] = {
    "text": re.compile(r".*", re.DOTALL),
    "integer": re.compile(r"-?[0-9]{1,18}"),
    "number": re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?|-?inf"),
    "boolean": re.compile("true|false"),
}
_TYPED_DATE = re.compile(r"typed:(date32\[day\]|date64\[ms\]|timestamp\[(s|ms|us|ns)(, tz=(?P<zone>[^\]]+))?\])")
_OFFSET = re.compile(r"[+-][0-9]{2}:[0-9]{2}")


def _is_date_format(form: str) -> bool:
    """Whether :mod:`flowcli.tables.dates` can write dates so."""
    # Here, not above: most models have no dates, and to say what they are needs no Arrow.
    import zoneinfo

    from flowcli.tables.dates import DATES, TIMES

    if form in (*DATES, *TIMES):
        return True
    typed = _TYPED_DATE.fullmatch(form)
    if typed is None:
        return False
    zone = typed["zone"]
    if zone is None or _OFFSET.fullmatch(zone):
        return True
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _grid(step: float | None, decimals: int | None) -> str:
    if step is None:
        return "integer" if decimals == 0 else "continuous"
    if decimals != 0:
        return f"steps of {step:g}"
    return "integer" if step == 1 else f"integer, steps of {step:g}"


def describe_missing(missing: Sequence[str], present: Sequence[str], source: str) -> str:
    """``file has no column 'a' (did you mean 'A'?), 'b'``."""
    described = []
    for name in missing[:MOST_NAMES]:
        close = difflib.get_close_matches(name, present, n=1) or [
            other for other in present if other.strip().casefold() == name.strip().casefold()
        ]
        described.append(f"{name!r}" + (f" (did you mean {close[0]!r}?)" if close else ""))
    lacking = _listed(described, len(missing))
    return f"{source} has no column {lacking}; it has {_listed([*map(repr, present[:MOST_NAMES])], len(present))}"


def _listed(names: Sequence[str], count: int) -> str:
    return ", ".join(names) + (f" and {count - len(names):,} more" if count > len(names) else "")
