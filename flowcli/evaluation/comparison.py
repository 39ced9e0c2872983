"""Models side by side on the same rows: paired differences, and whether they may be compared at all."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flowcli.evaluation.likelihood import Tally
from flowcli.tables.columns import Column

# What :func:`modelled` says of a column.
PARTS = ("kind", "date format", "spikes", "missing cells", "filled cells")


class Paired:
    """Log-likelihoods of the same rows by several models, a part of the rows at a time."""

    def __init__(self, models: int) -> None:
        self.each = [Tally() for _ in range(models)]
        self._differences = {pair: Tally() for pair in itertools.combinations(range(models), 2)}

    def add(self, log_probs: Sequence[npt.NDArray[np.float64]]) -> None:
        """Take in the log-likelihoods ``(n,)`` of each model."""
        for tally, log_prob in zip(self.each, log_probs, strict=True):
            tally.add(log_prob)
        for (i, j), tally in self._differences.items():
            with np.errstate(invalid="ignore"):
                tally.add(log_probs[i] - log_probs[j])

    @property
    def best(self) -> int:
        """The model of the largest mean; the first of several."""
        return int(np.argmax([tally.mean for tally in self.each]))

    def difference(self, model: int, other: int) -> dict[str, float | None]:
        """The mean over rows of the model's log-likelihood less the other's, and its standard error."""
        if model == other:
            return {"mean": 0.0, "standard_error": 0.0}
        found = self._differences[min(model, other), max(model, other)].difference()
        if model > other and found["mean"] is not None:
            found["mean"] = -found["mean"]
        return found


def modelled(columns: Sequence[Column]) -> dict[str, tuple[Any, ...]]:
    """Of each column that a model is over, what its likelihood is with respect to.

    Likelihoods may be compared when all of it is the same: a density of a number is no probability of a label, and a
    cell that has a density for one model may be a spike, or a hole, with a probability for another.
    """
    return {
        column.name: (
            "numbers" if column.numeric else "whole numbers" if column.kind == "ordinal" else "labels",
            column.date_format,
            tuple(sorted(column.spikes)),
            column.missing,
            column.fill is not None,
        )
        for column in columns
        if not column.context and column.kind not in ("constant", "identifier")
    }


def difference(one: Sequence[Column], other: Sequence[Column]) -> str | None:
    """Why the likelihoods of two models cannot be compared; ``None`` if they can."""
    ours, theirs = modelled(one), modelled(other)
    for name in {**ours, **theirs}:
        if name not in ours or name not in theirs:
            return f"only one of them models {name!r}"
        if ours[name] != theirs[name]:
            differing = (part for part, a, b in zip(PARTS, ours[name], theirs[name], strict=True) if a != b)
            return f"they differ in the {next(differing)} of {name!r}"
    return None


def differing_keys(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The dotted keys whose values are not the same in all configs, and the values; ``None`` where there is none."""
    flat = [dict(_flat(config)) for config in configs]
    keys = dict.fromkeys(key for config in flat for key in config)
    values = {key: [config.get(key) for config in flat] for key in keys}
    return {key: its for key, its in values.items() if any(value != its[0] for value in its)}


def _flat(config: Mapping[str, Any], within: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{within}{key}.")
        else:
            found.append((within + key, value))
    return found
