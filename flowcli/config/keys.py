"""Dotted keys, as ``--set`` and the section ``tune`` have them."""

from __future__ import annotations

import re
from typing import Any

from flowcli.errors import UsageError

# The keys of this section are dotted keys themselves.
TUNE = "tune"


def path_of(key: str) -> list[str]:
    """The steps of a dotted key; what is behind ``tune.`` is one step."""
    first, dot, rest = key.partition(".")
    return [first, rest] if first == TUNE and dot else key.split(".")


def set_key(value: dict[str, Any], key: str, new: Any, label: str) -> tuple[str | int, ...]:
    """Set one dotted key; return its path. Items of a list are named by their number from 0.

    Raises:
        UsageError: there is no such item, or what it would be in is no section; the message begins with ``label``.
    """
    path: list[str | int] = []
    here: Any = value
    parts = path_of(key)
    for index, part in enumerate(parts):
        step: str | int = part
        if isinstance(here, list):
            if not re.fullmatch("[0-9]{1,6}", part) or int(part) >= len(here):
                raise UsageError(f"{label}: the list '{'.'.join(parts[:index])}' has no item '{part}'")
            step = int(part)
        elif not isinstance(here, dict):
            raise UsageError(f"{label}: '{'.'.join(parts[:index])}' is not a section")
        path.append(step)
        if index == len(parts) - 1:
            here[step] = new
        elif isinstance(here, list):
            here = here[int(step)]
        else:
            if here.get(part) is None:
                here[part] = {}
            here = here[part]
    return tuple(path)
