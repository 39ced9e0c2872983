"""A table that can be read again and again, a chunk at a time, in memory or on disk."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from flowcli.errors import DataError
from flowcli.tables.read import read_chunks
from flowcli.tables.streams import STDIN, kept_stdin
from flowcli.tables.table import Table, concatenate

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
    index: npt.NDArray[np.int64]

    @property
    def whole(self) -> bool:
        """Whether the sample is the table."""
        return len(self.index) == self.rows


def survey(source: TableSource, most: int = MOST_ROWS_IN_MEMORY) -> Survey:
    """Count the rows and draw the sample, in one pass.

    Raises:
        DataError: the source cannot be read.
    """
    kept: list[tuple[Table, npt.NDArray[np.int64]]] = []
    held = rows = 0
    limit = np.uint64(2**64 - 1)
    for chunk in source.chunks():
        index = np.arange(rows, rows + len(chunk), dtype=np.int64)
        rows += len(chunk)
        if len(chunk) and limit < np.uint64(2**64 - 1):
            chosen = np.flatnonzero(_hashed(index) < limit)
            chunk, index = chunk.take(chosen), index[chosen]
        kept.append((chunk, index))
        held += len(index)
        if held > 2 * most:
            hashes = np.concatenate([_hashed(each) for _, each in kept])
            limit = np.partition(hashes, most)[most]
            kept = [_below(limit, *each) for each in kept]
            held = sum(len(each) for _, each in kept)
    if held > most:
        limit = np.sort(np.concatenate([_hashed(each) for _, each in kept]))[most]
        kept = [_below(limit, *each) for each in kept]
    tables = [table for table, index in kept if len(index)] or [kept[0][0]]
    return Survey(rows, concatenate(tables), np.concatenate([index for _, index in kept]))


def _below(limit: np.uint64, table: Table, index: npt.NDArray[np.int64]) -> tuple[Table, npt.NDArray[np.int64]]:
    chosen = np.flatnonzero(_hashed(index) < limit)
    return table.take(chosen), index[chosen]


def _hashed(index: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Row numbers as evenly spread numbers (Steele, Lea & Flood 2014, the finaliser of SplitMix64)."""
    x = index.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
