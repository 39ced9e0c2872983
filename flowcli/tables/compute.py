"""Arrow's functions on columns, as :mod:`pyarrow.compute` has them.

Those that every table needs are here, and called by their names: :mod:`pyarrow.compute` wraps all of Arrow's when it is
imported, which takes as long as reading a small table. The others come from there.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

try:
    from pyarrow._compute import CastOptions, MatchSubstringOptions, SetLookupOptions, call_function
except ImportError:  # where it comes from is pyarrow's own affair
    from pyarrow.compute import CastOptions, MatchSubstringOptions, SetLookupOptions, call_function


def __getattr__(name: str) -> Any:
    import pyarrow.compute

    return getattr(pyarrow.compute, name)


def cast(column: Any, kind: pa.DataType, safe: bool = True) -> Any:
    """The cells as another type."""
    if column.type == kind:
        return column
    return call_function("cast", [column], CastOptions.safe(kind) if safe else CastOptions.unsafe(kind))


def is_null(column: Any) -> Any:
    """Which cells are null."""
    return call_function("is_null", [column])


def take(column: Any, index: pa.Array) -> Any:
    """The rows at these indices, of a column or a table."""
    return call_function("take", [column, index])


def utf8_trim_whitespace(text: Any) -> Any:
    """Text without spaces at its ends."""
    return call_function("utf8_trim_whitespace", [text])


def is_in(column: Any, value_set: pa.Array) -> Any:
    """Which cells are among these values."""
    return call_function("is_in", [column], SetLookupOptions(value_set=value_set))


def index_in(column: Any, value_set: pa.Array) -> Any:
    """Where each cell stands among these values; null where it does not."""
    return call_function("index_in", [column], SetLookupOptions(value_set=value_set))


def if_else(condition: Any, one: Any, other: Any) -> Any:
    """Cells of one where the condition holds, else of the other."""
    return call_function("if_else", [condition, one, other])


def match_substring_regex(text: Any, pattern: str) -> Any:
    """In which texts the pattern is found."""
    return call_function("match_substring_regex", [text], MatchSubstringOptions(pattern))


def any(flags: Any) -> Any:  # noqa: A001
    """Whether one of them is true."""
    return call_function("any", [flags])
