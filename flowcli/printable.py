"""Text from files that a terminal must not obey."""

from __future__ import annotations

import re

# Control characters (ESC begins a terminal's commands), line and paragraph separators, what turns the direction of
# writing round, and halves of surrogate pairs, which UTF-8 has not.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, most: int | None = None) -> str:
    """The text with such characters as ``\\uXXXX``, so in one line; longer than ``most``, it is cut."""
    if most is not None and len(text) > most:
        text = f"{text[:most]}..."
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
