"""Rows of JSON lines, with the values' own types: a text stays a text, whatever it looks like."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from flowcli.errors import DataError
from flowcli.tables.columns import MOST_COLUMNS

# The longest row that can be read, too.
PIECE_BYTES = 4 << 20


def json_cells(text: io.BufferedReader, name: str) -> Iterator[pa.Table]:
    """One object on each line. A key that a line has not is a hole; a piece has every key seen so far.

    Raises:
        DataError: a line is not one object, or a column's values in a piece are of different types.
    """
    keys: dict[str, None] = {}
    first = 1
    while lines := _lines(text, name, first):
        rows = []
        for number, line in enumerate(filter(bytes.strip, lines), first):
            try:
                row = json.loads(line, object_pairs_hook=_no_key_twice)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise DataError(f"{name}: row {number}: not one JSON object on a line, each key once")
            rows.append(row)
        keys |= dict.fromkeys(key for row in rows for key in row)
        if len(keys) > MOST_COLUMNS:
            raise DataError(f"{name}: more than {MOST_COLUMNS:,} different keys")
        yield pa.table({key: _column([row.get(key) for row in rows], name, key, first) for key in keys})
        first += len(rows)


def _lines(text: io.BufferedReader, name: str, first: int) -> list[bytes]:
    """The next lines, a piece of them; none at the end."""
    lines: list[bytes] = []
    size = 0
    while size < PIECE_BYTES and (line := text.readline(PIECE_BYTES + 1)):
        if len(line) > PIECE_BYTES:
            raise DataError(f"{name}: row {first + len(lines)}: has more than {PIECE_BYTES >> 20} MB")
        lines.append(line)
        size += len(line)
    return lines


def _column(values: list[Any], name: str, key: str, first: int) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        raise DataError(
            f"{name}: {_odd_row(values, first)}{key!r}: its values are of different types, or too large"
        ) from None


def _odd_row(values: list[Any], first: int) -> str:
    """The first row whose value is of another type than those before it."""
    kinds = [None if value is None else _kind(value) for value in values]
    usual = next(kind for kind in kinds if kind is not None)
    odd = next((row for row, kind in enumerate(kinds, first) if kind not in (None, usual)), None)
    return "" if odd is None else f"row {odd}: "


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)
