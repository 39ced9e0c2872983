"""What is done to the pieces of a table, the same wherever it is done. All of it can be pickled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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
    from flowcli.preprocess.encoder import Encoded

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

    def prepare(self, model: Model, table: Table) -> Encoded | None:
        """The part of it that needs no network, if there is one.

        Raises:
            FlowcliError: a row or a column does not fit.
        """

    def __call__(self, model: Model, table: Table, prepared: Encoded | None) -> Done:
        """Do the rest.

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

    def prepare(self, model: Model, table: Table) -> Encoded:
        return model.encoded(table, self.on_bad_row)

    def __call__(self, model: Model, table: Table, prepared: Encoded | None) -> Done:
        assert prepared is not None
        scores = model.scores(table, prepared)
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

    def prepare(self, model: Model, table: Table) -> None:
        pass

    def __call__(self, model: Model, table: Table, prepared: Encoded | None) -> Done:
        return Done(table.source(), model.encode(table))


class Decoding:
    """Rows of latents."""

    def prepare(self, model: Model, table: Table) -> None:
        pass

    def __call__(self, model: Model, table: Table, prepared: Encoded | None) -> Done:
        return Done(table.source(), model.decode(table))


@dataclass(frozen=True)
class _Chunk:
    """A table, which is prepared or not."""

    table: Table
    prepared: Encoded | None
    ready: bool

    def __len__(self) -> int:
        return len(self.table)


def on_chunks(work: Work, model: Model, tables: Iterable[Table], pace: Pace) -> Iterator[Done]:
    """What comes of each table, in their order, by as many threads as the pace has.

    As long as that is one, the thread that reads the tables prepares them, too: it would only wait for the other.

    Raises:
        FlowcliError: a row or a column does not fit, or a table cannot be read.
    """

    def read() -> Iterator[_Chunk]:
        for table in tables:
            ready = pace.threads == 1
            yield _Chunk(table, work.prepare(model, table) if ready else None, ready)

    def compute(chunk: _Chunk) -> Done:
        return work(model, chunk.table, chunk.prepared if chunk.ready else work.prepare(model, chunk.table))

    return in_order(compute, read(), pace)


@dataclass(frozen=True)
class OnTables:
    """Work on the chunks of files."""

    work: Work
    encoding: str = "utf-8"

    def results(self, model: Model, piece: Piece) -> Iterator[Done]:
        # One thread reads ahead for the one that computes.
        chunks = read_chunks(piece.source, self.encoding, rows=piece.rows)
        return on_chunks(self.work, model, chunks, Pace(1))


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
