"""Input columns that go into the output, beside what is computed."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from flowcli.errors import DataError
from flowcli.tables.columns import describe_missing
from flowcli.tables.table import Table


class KeptColumns:
    """The named columns of a table that comes in pieces, as they are."""

    def __init__(self, names: Sequence[str], whole: bool = False) -> None:
        """``whole``: they are all that the first piece has, and no other may have more."""
        self.names = names
        self.whole = whole

    def beside(self, table: Table, name: str, values: pa.Array) -> pa.Table:
        """A piece's kept columns, and behind them the computed one.

        Raises:
            DataError: a kept column is missing or has the computed one's name, or, where all are kept, a piece
                has a column that the first had not.
        """
        if name in self.names:
            raise DataError(f"{table.source()}: has a column {name!r} already; rename it, or keep others with --keep")
        missing = [kept for kept in self.names if kept not in table.names]
        if missing:
            raise DataError(describe_missing(missing, table.names, table.source()))
        more = [other for other in table.names if other not in self.names]
        if self.whole and more:
            place = table.locate(0) if len(table) else table.source()
            raise DataError(
                f"{place}: has columns that were not there before: {', '.join(map(repr, more))}; "
                "name those to be copied with --keep"
            )
        return pa.table({**{kept: table.column(kept) for kept in self.names}, name: values})
