"""From a table and a config to what is trained on: the columns, and the encoded rows of each part."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from flowcli.config.schema import Config
from flowcli.errors import ConfigError, DataError
from flowcli.flows.default import mixes_all_columns
from flowcli.flows.rows import Rows
from flowcli.preprocess.encoder import Encoded, TableEncoder, concatenated
from flowcli.preprocess.measure import fit_columns
from flowcli.preprocess.whole import Whole, whole_of
from flowcli.tables.cells import hole_mask
from flowcli.tables.columns import Column
from flowcli.tables.infer import LEFT_OUT, infer_columns
from flowcli.tables.read import read_table
from flowcli.tables.source import MOST_ROWS_IN_MEMORY, InMemory, Survey, TableSource, survey
from flowcli.tables.split import split_rows
from flowcli.tables.table import Table

Note = Callable[[str], None]
TRAINING, VALIDATION, TEST = range(3)


@dataclass(frozen=True)
class Prepared:
    """Columns, and rows by part.

    ``training``: in float32, on disk where they are many. ``sample``: those of the training rows that were looked
    at to measure the columns, in float64. ``test_rows``: the test rows' numbers, from 1.
    """

    encoder: TableEncoder
    training: Rows
    sample: Rows
    validation: Encoded
    test: Encoded
    test_rows: npt.NDArray[np.int64]


@dataclass(frozen=True)
class WithoutHoles:
    """The rows of a source that have no missing cell in these columns."""

    source: TableSource
    names: list[str]

    def chunks(self) -> Iterator[Table]:
        for chunk in self.source.chunks():
            holes = [hole_mask(chunk.column(name)) for name in self.names]
            yield chunk.take(np.flatnonzero(~np.any(holes, axis=0)))


def prepare(
    source: TableSource,
    surveyed: Survey,
    config: Config,
    note: Note,
    on_columns: Callable[[list[Column], int, int, int], None],
) -> Prepared:
    """Infer and measure the columns, split the rows, and encode them.

    Args:
        note: told what the user should know.
        on_columns: told of the columns, and of how many rows are for training, validation and the test.

    Raises:
        DataError: the table cannot be modelled.
        ConfigError: the config does not fit the table.
    """
    data = config.data
    columns = infer_columns(surveyed.sample, data.context, data.drop, data.kinds, data.missing)
    for column in columns:
        if column.kind == "identifier":
            note(f"WARNING: {column.name!r} is left out: {column.reason.removesuffix(LEFT_OUT)}")
    if surveyed.whole:
        source = InMemory(surveyed.sample)
    if data.missing == "drop":
        source = WithoutHoles(source, [c.name for c in columns if c.kind not in ("constant", "identifier")])
        rows = surveyed.rows
        surveyed = survey(source)
        if not surveyed.rows:
            raise DataError(f"{surveyed.sample.source()}: every row has a missing cell; --missing model keeps them")
        if surveyed.rows < rows:
            note(f"{rows - surveyed.rows:,} of {rows:,} rows are left out, for missing cells")
        columns = [column.model_copy(update={"missing": False}) for column in columns]
    part_of = _parts(surveyed, config)
    whole = whole_of(source.chunks(), columns, part_of == TRAINING)
    columns = [c.model_copy(update={"missing": bool(whole[c.name].missing)}) if c.name in whole else c for c in columns]
    _tell_holes(columns, whole, config, surveyed.sample.source(), note)
    mixing = mixes_all_columns(config.flow)
    sampled = surveyed.sample.take(np.flatnonzero(part_of[surveyed.index] == TRAINING))
    columns = fit_columns(
        columns, sampled, data.missing, spikes=not (mixing or data.plain), maps=not data.plain, whole=whole
    )
    _refuse_holes(columns, mixing)
    encoder = TableEncoder(columns)
    if not encoder.modelled:
        raise DataError(f"{sampled.source()}: no column is left to model: every one is constant in the training rows")

    parts = _Parts(encoder, int((part_of == TRAINING).sum()))
    for chunk, start in _numbered(source):
        parts.add(chunk, start, part_of[parts.seen : parts.seen + len(chunk)])
    parts.tell(note)
    held_out = [concatenated(each) for each in parts.held_out]
    test_rows = np.concatenate(parts.test_rows)
    for part, file in ((VALIDATION, data.validation), (TEST, data.test)):
        if isinstance(file, str):
            table = read_table([file], data.encoding)
            if data.missing == "drop":
                names = [column.name for column in encoder.columns if column.name in whole]
                (table,) = WithoutHoles(InMemory(table), [name for name in names if name in table.names]).chunks()
            held_out[part - 1] = _sound(encoder, table)
            if part == TEST:
                test_rows = np.arange(len(table)) if table.index is None else table.index
    counts = [len(encoded.numbers) for encoded in held_out]
    on_columns(columns, parts.training_rows, *counts)
    sample = Rows.of(_sound(encoder, sampled), torch.device("cpu"), torch.float64)
    return Prepared(encoder, parts.training(), sample, held_out[0], held_out[1], test_rows + 1)


def _parts(surveyed: Survey, config: Config) -> npt.NDArray[np.int8]:
    """Of each row, which part it is in."""
    shares = [part if isinstance(part, float) else 0.0 for part in (config.data.validation, config.data.test)]
    try:
        _, validation, test = split_rows(surveyed.rows, shares[0], shares[1], config.seed)
    except DataError as error:
        raise DataError(f"{surveyed.sample.source()}: {error}") from None
    part_of = np.full(surveyed.rows, TRAINING, dtype=np.int8)
    part_of[validation], part_of[test] = VALIDATION, TEST
    return part_of


def _numbered(source: TableSource) -> Iterator[tuple[Table, int]]:
    """The chunks, and the number, from 0, of the row that each of them starts with in the source."""
    start = 0
    for chunk in source.chunks():
        yield chunk, start
        start += sum(origin.rows for origin in chunk.origins)


class _Parts:
    """Encoded rows by part, as chunk after chunk comes in."""

    def __init__(self, encoder: TableEncoder, rows: int) -> None:
        self.encoder = encoder
        self.seen = 0
        self.training_rows = rows
        self.filled = 0
        self.arrays: list[npt.NDArray[Any]] = []
        empty = encoder.empty()
        self.held_out: list[list[Encoded]] = [[empty], [empty]]
        self.test_rows: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
        self.left_out: dict[int, list[Any]] = {}

    def add(self, chunk: Table, start: int, part_of: npt.NDArray[np.int8]) -> None:
        """Encode a chunk's rows, each for its part; ``start`` is the number of the source's row that it starts with."""
        self.seen += len(chunk)
        training = chunk.take(np.flatnonzero(part_of == TRAINING))
        self._train_on(_sound(self.encoder, training))
        for part in (VALIDATION, TEST):
            rows = np.flatnonzero(part_of == part)
            encoded = self.encoder.encode(chunk.take(rows))
            if encoded.bad:
                # A label of the context that no training row has, say.
                told = self.left_out.setdefault(part, [0, encoded.bad[min(encoded.bad)]])
                told[0] += len(encoded.bad)
                kept = np.setdiff1d(np.arange(len(rows)), list(encoded.bad))
                encoded, rows = encoded.take(kept), rows[kept]
            self.held_out[part - 1].append(encoded)
            if part == TEST:
                self.test_rows.append(start + (rows if chunk.index is None else chunk.index[rows]))

    def tell(self, note: Note) -> None:
        """Say which rows were left out."""
        for part, (count, reason) in self.left_out.items():
            name = "validation" if part == VALIDATION else "test"
            note(f"{count:,} {name} rows are left out: {reason}")

    def _train_on(self, encoded: Encoded) -> None:
        each = (encoded.numbers, encoded.labels, encoded.ordinals, encoded.context)
        if not self.arrays:
            kinds = (np.float32, np.int32, np.float32, np.float32)
            self.arrays = [_room((self.training_rows, a.shape[1]), kind) for a, kind in zip(each, kinds, strict=True)]
        rows = slice(self.filled, self.filled + len(encoded.numbers))
        for array, values in zip(self.arrays, each, strict=True):
            array[rows] = values
        self.filled = rows.stop

    def training(self) -> Rows:
        """The training rows."""
        return Rows(*(torch.from_numpy(array) for array in self.arrays))


def _room(shape: tuple[int, int], kind: Any) -> npt.NDArray[Any]:
    """An array, in memory or, for many rows, in a file that nobody else sees and that goes with it."""
    if shape[0] <= MOST_ROWS_IN_MEMORY or not shape[1]:
        return np.empty(shape, kind)
    with tempfile.TemporaryFile() as file:
        # The map keeps the file, also when it is closed.
        return np.memmap(file, kind, "w+", shape=shape)


def _sound(encoder: TableEncoder, table: Table) -> Encoded:
    """The encoded rows, none of which is bad."""
    encoded = encoder.encode(table)
    if encoded.bad:
        row = min(encoded.bad)
        raise DataError(f"{table.locate(row)}, {encoded.bad[row]}")
    return encoded


def _tell_holes(columns: list[Column], whole: dict[str, Whole], config: Config, source: str, note: Note) -> None:
    """Tell of missing cells with their counts, or refuse them."""
    counts = [f"{column.name!r} {whole[column.name].missing:,}" for column in columns if column.missing]
    if not counts:
        return
    if config.data.missing == "error":
        raise DataError(f"{source}: missing cells: {', '.join(counts)}")
    way = "modelled" if config.data.missing == "model" else "filled with the median or the commonest label"
    note(f"missing cells, {way}: {', '.join(counts)}")


def _refuse_holes(columns: list[Column], mixing: list[str]) -> None:
    """Refuse missing cells of numbers to a flow that cannot leave them out."""
    partial = [column.name for column in columns if column.partial and not column.context]
    if mixing and partial:
        raise ConfigError(
            [
                f"{', '.join(mixing)} cannot leave out missing cells or spikes, which {', '.join(map(repr, partial))} "
                "have: --missing drop or impute, or other transforms ('flowcli transforms' tells which can)"
            ]
        )
