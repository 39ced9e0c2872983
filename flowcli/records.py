"""Checks of plain values, as JSON has them: what pydantic does for configs, for the few records of every model file.

A check takes a value and returns it, or what stands for it; ``ValueError`` says what is wrong. Within lists and
mappings it says where, too (:class:`MisplacedError`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], Any]


class MisplacedError(ValueError):
    """What is wrong with a part of a value; ``place`` is the way to it, from outside."""

    def __init__(self, place: tuple[Any, ...], message: str) -> None:
        super().__init__(message)
        self.place = place


def _within(place: Any, check: Check, value: Any) -> Any:
    try:
        return check(value)
    except MisplacedError as error:
        raise MisplacedError((place, *error.place), str(error)) from None
    except ValueError as error:
        raise MisplacedError((place,), str(error)) from None


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError("is no text")
    return value


def name(value: Any) -> str:
    """A text that is not empty."""
    if not text(value):
        raise ValueError("is empty")
    return str(value)


def flag(value: Any) -> bool:
    """A truth value."""
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")
    return value


def number(value: Any) -> float:
    """A finite number, as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("is no number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ValueError("is not a finite number")
    return found


def positive(value: Any) -> float:
    """A finite number above zero."""
    if number(value) <= 0:
        raise ValueError("is not above 0")
    return number(value)


def whole(least: int, most: int) -> Check:
    """A whole number in this range."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"is no whole number from {least:,} to {most:,}")
        return int(value)

    return check


def one_of(*words: str) -> Check:
    """One of these texts."""

    def check(value: Any) -> str:
        if value not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return str(value)

    return check


def optional(check: Check) -> Check:
    """Nothing, or what the check takes."""
    return lambda value: None if value is None else check(value)


def list_of(check: Check, most: int) -> Check:
    """A list of at most so many items."""

    def check_all(value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise ValueError("is no list")
        if len(value) > most:
            raise ValueError(f"has more than {most:,} items")
        return [_within(at, check, item) for at, item in enumerate(value)]

    return check_all


def tuple_of(check: Check, most: int) -> Check:
    """A list of at most so many items, as a tuple."""
    check_all = list_of(check, most)
    return lambda value: tuple(check_all(value))


def mapping_of(check: Check) -> Check:
    """A mapping from texts."""

    def check_all(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError("is no mapping")
        return {text(key): _within(key, check, item) for key, item in value.items()}

    return check_all


def anything(value: Any) -> Any:
    """Any value."""
    return value


def parts(checks: Mapping[str, Check], *, more: bool = False, missing: Mapping[str, Any] | None = None) -> Check:
    """A mapping with these keys; others are mistakes, or with ``more`` left out. ``missing``: what absent ones are."""
    missing = missing or {}

    def check_all(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError("is no mapping")
        unknown = value.keys() - checks.keys()
        if unknown and not more:
            raise MisplacedError((next(key for key in value if key in unknown),), "is not known")
        found = {}
        for key, check in checks.items():
            if key in value:
                found[key] = _within(key, check, value[key])
            elif key in missing:
                found[key] = missing[key]
            else:
                raise MisplacedError((key,), "is missing")
        return found

    return check_all
