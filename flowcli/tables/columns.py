"""What a model knows of each column."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

Kind = Literal["number", "date", "ordinal", "label", "constant", "identifier"]
Map = Literal["none", "log", "softplus", "logit", "arcsinh"]
Cells = Literal["text", "integer", "number", "boolean"]

MOST_NAMES = 10
YES_OR_NO = ({"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"}, {"0", "1"})


class Column(BaseModel):
    """One column of the model. What depends on the data comes from the training rows alone.

    ``number``, and ``date`` (days or seconds since 1970, written as ``date_format``): ``u = (x - mean) / scale`` is
    taken to the real line by ``map`` (:mod:`flowcli.transforms.supports`), and there standardised by ``center`` and
    ``spread``. ``step``: the grid that the values lie on, through ``origin``. ``lower`` and ``upper``: bounds beyond
    which the density is zero. ``spikes``: values with a probability of their own, the commonest first.
    ``decimals``: digits written after the point.

    ``ordinal``: whole numbers around ``mean`` (their median), of this spread, each with a probability.
    ``label``: one of ``categories``, written as ``cells``. ``constant``: always ``value``, and no part of the
    density. ``identifier``: left out.

    ``missing``: whether a cell may be missing, which then has a probability. ``fill``: what stands in for a missing
    cell instead. A ``context`` column is given, not modelled.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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

    @model_validator(mode="after")
    def _usable(self) -> Column:
        facts = (self.mean, self.scale, self.center, self.spread, self.origin, self.step or 1.0, *self.spikes)
        # Below an upper bound, u grows as x falls.
        falls = self.scale < 0 and self.map in ("log", "softplus")
        if not np.isfinite(facts).all() or not (self.scale > 0 or falls) or min(self.spread, self.step or 1.0) <= 0:
            raise ValueError(f"column {self.name!r} has no usable mean and scale")
        if (self.kind == "label") != bool(self.categories):
            raise ValueError(f"column {self.name!r}: labels have categories, other columns have none")
        return self

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
