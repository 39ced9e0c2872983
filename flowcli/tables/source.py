"""A table that can be read again and again, a chunk at a time, in memory or on disk."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from flowcli.errors import DataError
from flowcli.tables.read import read_chunks
from flowcli.tables.row_hash import Hashes, row_hashes
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

    ``index`` (m,): the sampled rows' numbers, from 0. ``first``: the number of the first row that this process reads,
    and ``first_in_files`` that in its files, of which some rows may be left out.
    """

    rows: int
    sample: Table
    index: Index
    first: int = field(default=0, kw_only=True)
    first_in_files: int = field(default=0, kw_only=True)

    @property
    def whole(self) -> bool:
        """Whether the sample is the table."""
        return len(self.index) == self.rows


def survey(
    source: TableSource,
    most: int = MOST_ROWS_IN_MEMORY,
    on_rows: Callable[[Table, Index], None] = lambda table, index: None,
    first: int = 0,
    large: bool = False,
) -> Survey:
    """Count the rows and draw the sample, in one pass.

    Args:
        most: how many rows the sample has at the most.
        on_rows: shown all rows, with their numbers, of a table that has more than ``most``; the first time more than
            ``most`` of them.
        first: the number of the first row, where these are a share of all rows; ``Survey.rows`` counts the share.
        large: all of them are more than ``most``, though the share may not be.

    Raises:
        DataError: the source cannot be read.
    """
    kept: list[tuple[Table, Index]] = []
    held = rows = 0
    limit: np.uint64 | None = None
    for chunk in source.chunks():
        index = np.arange(first + rows, first + rows + len(chunk), dtype=np.int64)
        rows += len(chunk)
        if limit is None:
            kept.append((chunk, index))
        else:
            on_rows(chunk, index)
            kept.append(below(limit, chunk, index))
        held += len(kept[-1][1])
        if held > 2 * most:
            if limit is None:
                on_rows(*joined(kept))
            limit, kept = _fewer(kept, most)
            held = most
    if limit is None and (large or held > most):
        on_rows(*joined(kept))
    if held > most:
        _, kept = _fewer(kept, most)
    return Survey(rows, *joined(kept), first=first)


def first_beyond(hashes: Sequence[Hashes], most: int) -> np.uint64:
    """The hash that is the first beyond the ``most`` smallest ones."""
    limit: np.uint64 = np.partition(np.concatenate(hashes), most)[most]
    return limit


def joined(kept: list[tuple[Table, Index]]) -> tuple[Table, Index]:
    """Rows one after the other, and their numbers."""
    tables = [table for table, index in kept if len(index)] or [kept[0][0]]
    return concatenate(tables), np.concatenate([index for _, index in kept])


def _fewer(kept: list[tuple[Table, Index]], most: int) -> tuple[np.uint64, list[tuple[Table, Index]]]:
    """The ``most`` rows of the smallest hashes, and the hash that is the first beyond them."""
    limit = first_beyond([row_hashes(index) for _, index in kept], most)
    return limit, [below(limit, table, index) for table, index in kept]


def below(limit: np.uint64, table: Table, index: Index) -> tuple[Table, Index]:
    """The rows whose hashes are below the limit, and their numbers."""
    chosen = np.flatnonzero(row_hashes(index) < limit)
    return table.take(chosen), index[chosen]
