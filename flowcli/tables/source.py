"""A table that can be read again and again, a chunk at a time, in memory or on disk."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from flowcli.errors import DataError
from flowcli.tables.read import read_chunks
from flowcli.tables.row_hash import row_hashes
from flowcli.tables.streams import STDIN, kept_stdin
from flowcli.tables.table import Table, concatenate

Index = npt.NDArray[np.int64]

# A table with no more rows is kept in memory; of a larger one, a sample of this many rows is.
MOST_ROWS_IN_MEMORY = 200_000


class TableSource(Protocol):
    """Where a table's rows come from; each call of ``chunks`` gives all of them, in the same order."""

    def chunks(self) -> Iterator[Table]:
        """The rows, a chunk at a time; at least one chunk."""


@dataclass(frozen=True)
class InMemory:
    """A table that is there."""

    table: Table

    def chunks(self) -> Iterator[Table]:
        yield self.table


@dataclass
class InFiles:
    """Files that are one table; standard input, which comes only once, is kept on disk."""

    files: Sequence[str]
    encoding: str = "utf-8"
    kept: io.FileIO | None = None

    def close(self) -> None:
        """Let go of what is kept."""
        if self.kept is not None:
            self.kept.close()

    def chunks(self) -> Iterator[Table]:
        if STDIN in self.files and self.kept is None:
            self.kept = kept_stdin()
        first: Table | None = None
        for file in self.files:
            for number, chunk in enumerate(read_chunks(file, self.encoding, self.kept)):
                if first is None:
                    first = chunk
                elif number == 0 and chunk.names != first.names:
                    differ = sorted(set(chunk.names) ^ set(first.names))
                    raise DataError(
                        f"{chunk.source()}: its columns differ from those of {first.source()}: "
                        f"{', '.join(differ) or 'their order'}"
                    )
                yield chunk


@dataclass(frozen=True)
class Survey:
    """How many rows a source has, and a sample of them, in order: all of them, if they are few enough.

    ``index`` (m,): the sampled rows' numbers, from 0.
    """

    rows: int
    sample: Table
    index: Index

    @property
    def whole(self) -> bool:
        """Whether the sample is the table."""
        return len(self.index) == self.rows


def survey(
    source: TableSource,
    most: int = MOST_ROWS_IN_MEMORY,
    on_rows: Callable[[Table, Index], None] = lambda table, index: None,
) -> Survey:
    """Count the rows and draw the sample, in one pass.

    Args:
        most: how many rows the sample has at the most.
        on_rows: shown all rows, with their numbers, of a table that has more than ``most``; the first time more than
            ``most`` of them.

    Raises:
        DataError: the source cannot be read.
    """
    kept: list[tuple[Table, Index]] = []
    held = rows = 0
    limit: np.uint64 | None = None
    for chunk in source.chunks():
        index = np.arange(rows, rows + len(chunk), dtype=np.int64)
        rows += len(chunk)
        if limit is None:
            kept.append((chunk, index))
        else:
            on_rows(chunk, index)
            kept.append(_below(limit, chunk, index))
        held += len(kept[-1][1])
        if held > 2 * most:
            if limit is None:
                on_rows(*_joined(kept))
            limit, kept = _fewer(kept, most)
            held = most
    if held > most:
        if limit is None:
            on_rows(*_joined(kept))
        _, kept = _fewer(kept, most)
    return Survey(rows, *_joined(kept))


def _joined(kept: list[tuple[Table, Index]]) -> tuple[Table, Index]:
    tables = [table for table, index in kept if len(index)] or [kept[0][0]]
    return concatenate(tables), np.concatenate([index for _, index in kept])


def _fewer(kept: list[tuple[Table, Index]], most: int) -> tuple[np.uint64, list[tuple[Table, Index]]]:
    """The ``most`` rows of the smallest hashes, and the hash that is the first beyond them."""
    limit = np.partition(np.concatenate([row_hashes(index) for _, index in kept]), most)[most]
    return limit, [_below(limit, table, index) for table, index in kept]


def _below(limit: np.uint64, table: Table, index: Index) -> tuple[Table, Index]:
    chosen = np.flatnonzero(row_hashes(index) < limit)
    return table.take(chosen), index[chosen]
