"""What is done to the pieces of a table, the same wherever it is done. All of it can be pickled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from flowcli.tables.arrays import numbers
from flowcli.tables.keep import KeptColumns
from flowcli.tables.pipeline import Pace, in_order
from flowcli.tables.read import read_chunks
from flowcli.tables.table import Table

if TYPE_CHECKING:
    from flowcli.model import Model

# A file of samples has so many rows: whole chunks of :data:`flowcli.chunks.CHUNK`.
ROWS_PER_PART = 1 << 20


@dataclass(frozen=True)
class Piece:
    """Rows of a source, or of a sample: from the first number up to the second, counted from 0; by default all."""

    source: str
    rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class Done:
    """What came of some rows of a source, and how many of them have no finite score, and why."""

    source: str
    cells: pa.Table
    unseen: int = 0
    beyond: int = 0
    empty: int = 0


class Work(Protocol):
    """What is done to a chunk of a table."""

    def __call__(self, model: Model, table: Table) -> Done:
        """Do it.

        Raises:
            FlowcliError: a row or a column does not fit.
        """


class Job(Protocol):
    """Work on one piece after the other."""

    def results(self, model: Model, piece: Piece) -> Iterator[Done]:
        """What comes of a piece, in the order of its rows.

        Raises:
            FlowcliError: a row or a column does not fit, or the piece cannot be read.
        """


@dataclass(frozen=True)
class Scoring:
    """Log-likelihoods, beside columns that are kept."""

    kept: KeptColumns
    on_bad_row: str = "error"

    def __call__(self, model: Model, table: Table) -> Done:
        scores = model.score(table, self.on_bad_row)
        empty = np.isnan(scores.log_prob)
        return Done(
            table.source(),
            self.kept.beside(table, "log_prob", numbers(scores.log_prob, empty)),
            unseen=int(scores.unseen_label.sum()),
            beyond=int((np.isneginf(scores.log_prob) & ~scores.unseen_label).sum()),
            empty=int(empty.sum()),
        )


class Encoding:
    """Latents of rows."""

    def __call__(self, model: Model, table: Table) -> Done:
        return Done(table.source(), model.encode(table))


class Decoding:
    """Rows of latents."""

    def __call__(self, model: Model, table: Table) -> Done:
        return Done(table.source(), model.decode(table))


@dataclass(frozen=True)
class OnTables:
    """Work on the chunks of files."""

    work: Work
    encoding: str = "utf-8"

    def results(self, model: Model, piece: Piece) -> Iterator[Done]:
        # One thread reads ahead for the one that computes.
        chunks = read_chunks(piece.source, self.encoding, rows=piece.rows)
        return in_order(partial(self.work, model), chunks, Pace(1))


@dataclass(frozen=True)
class Sampling:
    """Rows ``n`` for each row of ``given``, as :meth:`flowcli.model.Model.sample_chunks` draws them."""

    n: int
    given: Table | None
    seed: int
    set_to: Mapping[str, str]

    def results(self, model: Model, piece: Piece) -> Iterator[Done]:
        for cells in model.sample_chunks(self.n, self.given, self.seed, self.set_to, only=piece.rows):
            yield Done(piece.source, cells)

    @property
    def pieces(self) -> list[Piece]:
        """All of its rows, in pieces of ``ROWS_PER_PART``; at least one."""
        rows = self.n * (1 if self.given is None else len(self.given))
        starts = range(0, max(rows, 1), ROWS_PER_PART)
        return [Piece(_part(start), (start, min(start + ROWS_PER_PART, rows))) for start in starts]


def in_parts(tables: Iterable[pa.Table]) -> Iterator[Done]:
    """A stream of samples as the pieces of :class:`Sampling`."""
    drawn = 0
    for cells in tables:
        yield Done(_part(drawn), cells)
        drawn += len(cells)


def _part(first: int) -> str:
    return f"part-{first // ROWS_PER_PART:05d}"
