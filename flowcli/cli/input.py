"""The tables of DATA, and what is said of columns that nothing is done with."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from flowcli.cli.output import messages

if TYPE_CHECKING:
    from flowcli.tables.columns import Column
    from flowcli.tables.table import Table

MOST_NAMES = 5


def used_names(columns: Sequence[Column]) -> set[str]:
    """The columns of a model that are looked for in its input."""
    return {column.name for column in columns if column.kind != "identifier"}


def chunks(sources: Sequence[str], encoding: str | None, used: Collection[str] | None) -> Iterator[Table]:
    """The sources' rows a chunk at a time; a column not among the ``used`` ones (``None``: all are) is told once.

    Raises:
        DataError: a source cannot be read.
    """
    from flowcli.tables.read import read_chunks

    told: set[str] = set()
    for source in sources:
        for table in read_chunks(source, encoding or "utf-8"):
            tell_ignored(table.names, used, told)
            yield table


def tell_ignored(names: Sequence[str], used: Collection[str] | None, told: set[str]) -> None:
    """Tell of the columns that are not among the ``used`` ones, and of each only once."""
    ignored = [name for name in names if used is not None and name not in used and name not in told]
    if ignored:
        more = f" and {len(ignored) - MOST_NAMES:,} more" if len(ignored) > MOST_NAMES else ""
        messages.note(f"ignored columns: {', '.join(map(repr, ignored[:MOST_NAMES]))}{more}")
        told.update(ignored)
