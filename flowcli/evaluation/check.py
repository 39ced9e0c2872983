"""One thing that was looked at, and what to make of many of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flowcli.evaluation.p_values import holm

# The chance, at most, that a model without fault fails any of its checks.
LEVEL = 0.05


@dataclass(frozen=True)
class Check:
    """A test of one hypothesis that holds if the model is right.

    ``kind``: which family it belongs to. ``columns``: those that it is about. ``place``: what it looked at, in words.
    ``statistic``: the name of ``value``. ``detail``: what was found, for people.
    """

    kind: str
    columns: tuple[str, ...]
    place: str
    statistic: str
    value: float
    p: float
    detail: str = ""


@dataclass(frozen=True)
class Verdict:
    """A check, its p-value corrected for all those made with it, and whether it fails."""

    check: Check
    corrected_p: float

    @property
    def failed(self) -> bool:
        """Whether so small a p-value is no chance."""
        return self.corrected_p < LEVEL

    def as_json(self) -> dict[str, Any]:
        """The verdict as JSON has it."""
        check = self.check
        return {
            "check": check.kind,
            "columns": list(check.columns),
            "place": check.place,
            "statistic": check.statistic,
            "value": check.value,
            "p": check.p,
            "corrected_p": self.corrected_p,
            "failed": self.failed,
            "detail": check.detail,
        }


def judge(checks: Sequence[Check]) -> list[Verdict]:
    """The verdicts on checks that are made together: with chance ``LEVEL`` at most, one that holds fails (Holm)."""
    return [Verdict(check, float(p)) for check, p in zip(checks, holm([check.p for check in checks]), strict=True)]
