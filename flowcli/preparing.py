"""From a table and a config to what is trained on: the columns, and the encoded rows of each part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from flowcli.config.schema import Config
from flowcli.errors import ConfigError, DataError
from flowcli.flows.default import VALIDATION_SHARE, mixes_all_columns
from flowcli.flows.rows import Rows
from flowcli.preprocess.encoder import Encoded, TableEncoder
from flowcli.preprocess.measure import fit_columns
from flowcli.preprocess.spool import Spool
from flowcli.preprocess.whole import Statistics, Whole
from flowcli.tables.cells import hole_mask
from flowcli.tables.columns import Column
from flowcli.tables.infer import ASKED, LEFT_OUT, MOST_LABELS, NO_HOLES, infer_columns
from flowcli.tables.read import read_table
from flowcli.tables.row_hash import row_hashes
from flowcli.tables.share import Share, count_rows
from flowcli.tables.source import (
    MOST_ROWS_IN_MEMORY,
    InFiles,
    InMemory,
    Survey,
    TableSource,
    below,
    first_beyond,
    joined,
    survey,
)
from flowcli.tables.split import TEST, TRAINING, VALIDATION, Split
from flowcli.tables.table import Table
from flowcli.training.processes import Processes, current
from flowcli.training.shared_rows import SharedRows

Note = Callable[[str], None]


@dataclass(frozen=True)
class Surveyed(Survey):
    """A survey, and of a table that is too large to be kept what all its rows say of the columns.

    The columns of ``statistics`` are guessed from the first rows.
    """

    statistics: Statistics


@dataclass(frozen=True)
class Prepared:
    """Columns, and rows by part.

    ``training``: in float32, on disk where they are many. ``sample``: those of the training rows that were looked
    at to measure the columns, in float64. ``test_rows``: the test rows' numbers, from 1. ``counts``: how many rows are
    for training, validation and the test. Of several processes each has its own part of the validation and the test
    rows, and of a table that is too large to be kept, of the training rows, too.
    """

    encoder: TableEncoder
    training: Rows | SharedRows
    sample: Rows
    validation: Encoded
    test: Encoded
    test_rows: npt.NDArray[np.int64]
    counts: tuple[int, int, int]


@dataclass(frozen=True)
class WithoutHoles:
    """The rows of a source that have no missing cell in these columns."""

    source: TableSource
    names: list[str]

    def chunks(self) -> Iterator[Table]:
        for chunk in self.source.chunks():
            holes = [hole_mask(chunk.column(name)) for name in self.names]
            yield chunk.take(np.flatnonzero(~np.any(holes, axis=0)))


def share_of(source: InFiles, processes: Processes) -> TableSource:
    """The rows that this process reads: of the files' rows as many as any other does, behind those of the one before.

    Each file is counted by one process.

    Raises:
        DataError: a file cannot be read, or the files' columns differ.
    """
    if processes.world == 1:
        return source
    own = range(processes.rank, len(source.files), processes.world)
    found = processes.every({number: count_rows(source.files[number], source.encoding) for number in own})
    counted = [found[number % processes.world][number] for number in range(len(source.files))]
    part = processes.part_of(sum(file.rows for file in counted))
    return Share(counted, part.start, part.stop, source.encoding)


def survey_for(source: TableSource, config: Config, most: int = MOST_ROWS_IN_MEMORY) -> Surveyed:
    """Read a source once, for :func:`prepare`: rows, a sample, and what must be known of all rows.

    Several processes each read their own share, and then know what one would that had read all of it.

    Raises:
        DataError: the source cannot be read.
    """
    share = source.source if isinstance(source, WithoutHoles) else source
    first, large = _place_of(source, most) if isinstance(share, Share) else (0, False)
    statistics: list[Statistics] = []

    def gather(table: Table, index: npt.NDArray[np.int64]) -> None:
        if not statistics:
            try:
                columns = _inferred(table, config)
            except (DataError, ConfigError):  # for the sample to say
                columns = []
            statistics.append(Statistics(columns, _split(config)))
        statistics[0].add(table, index)

    found = survey(source, most, gather, first, large)
    gathered = statistics[0] if statistics else Statistics([])
    if not isinstance(share, Share):
        return Surveyed(found.rows, found.sample, found.index, gathered)
    return Surveyed(*_survey_of_all(found, most), gathered, first=first, first_in_files=share.first)


def _place_of(source: TableSource, most: int) -> tuple[int, bool]:
    """The number of the first row of this process's share, and whether all shares have more than ``most`` rows."""
    if isinstance(source, Share):
        return source.first, sum(file.rows for file in source.counted) > most
    counts = current().every(sum(map(len, source.chunks())))
    return sum(counts[: current().rank]), sum(counts) > most


def _survey_of_all(found: Survey, most: int) -> tuple[int, Table, npt.NDArray[np.int64]]:
    """How many rows all processes have found, and the sample of them: the rows of the smallest hashes, as ever."""
    every = current().every((found.rows, row_hashes(found.index)))
    sample, index = found.sample, found.index
    rows = sum(count for count, _ in every)
    if rows > most:
        sample, index = below(first_beyond([hashes for _, hashes in every], most), sample, index)
    return rows, *joined(current().every((sample, index)))


def prepare(
    source: TableSource,
    surveyed: Surveyed,
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
    columns = _inferred(surveyed.sample, config)
    _tell_left_out(columns, note)
    # Otherwise every process has all rows here.
    shared = not surveyed.whole and current().world > 1
    if surveyed.whole:
        source, surveyed = InMemory(surveyed.sample), replace(surveyed, first=0, first_in_files=0)
    if data.missing == "drop":
        source = WithoutHoles(source, [c.name for c in columns if c.kind not in ("constant", "identifier")])
        rows = surveyed.rows
        surveyed = survey_for(source, config, len(surveyed.sample))
        if not surveyed.rows:
            raise DataError(f"{surveyed.sample.source()}: every row has a missing cell; --missing model keeps them")
        if surveyed.rows < rows:
            note(f"{rows - surveyed.rows:,} of {rows:,} rows are left out, for missing cells")
        columns = [replace(column, missing=False) for column in columns]
    try:
        split = _split(config, surveyed.rows if surveyed.whole else None)
    except DataError as error:
        raise DataError(f"{surveyed.sample.source()}: {error}") from None
    whole = _whole(source, surveyed, columns, split, shared)
    columns = [_known_whole(column, whole, config, surveyed.sample.source(), note) for column in columns]
    _tell_holes(columns, whole, config, surveyed.sample.source(), note)
    mixing = mixes_all_columns(config.flow)
    sampled = surveyed.sample.take(np.flatnonzero(split.parts(surveyed.index) == TRAINING))
    columns = fit_columns(
        columns, sampled, data.missing, spikes=not (mixing or data.plain), maps=not data.plain, whole=whole
    )
    refuse_holes(columns, mixing)
    encoder = TableEncoder(columns)
    if not encoder.modelled:
        raise DataError(f"{sampled.source()}: no column is left to model: every one is constant in the training rows")

    parts = _Parts(encoder)
    for chunk, index, start in _numbered(source, surveyed):
        parts.add(chunk, start, split.parts(index))
    parts.tell(note, shared)
    held_out = parts.held_out()
    test_rows = parts.test_rows.array()
    # What every process has all of is divided among them.
    divided = set() if shared else {*held_out}
    for part, file in ((VALIDATION, data.validation), (TEST, data.test)):
        if isinstance(file, str):
            table = read_table([file], data.encoding)
            if data.missing == "drop":
                names = [column.name for column in encoder.columns if column.name in whole]
                (table,) = WithoutHoles(InMemory(table), [name for name in names if name in table.names]).chunks()
            held_out[part] = _sound(encoder, table)
            divided.add(part)
            if part == TEST:
                test_rows = np.arange(len(table)) if table.index is None else table.index
    processes = current()
    for part in divided:
        own = processes.part_of(len(held_out[part].numbers))
        held_out[part] = held_out[part].take(own)
        test_rows = test_rows[own] if part == TEST else test_rows
    own_rows = parts.training()
    training = SharedRows.of(own_rows) if shared else own_rows
    each = processes.every([len(held_out[part].numbers) for part in (VALIDATION, TEST)])
    counts = len(training), sum(validation for validation, _ in each), sum(test for _, test in each)
    on_columns(columns, *counts)
    sample = Rows.of(_sound(encoder, sampled), torch.device("cpu"), torch.float64)
    return Prepared(encoder, training, sample, held_out[VALIDATION], held_out[TEST], test_rows + 1, counts)


def _inferred(table: Table, config: Config) -> list[Column]:
    data = config.data
    return infer_columns(table, data.context, data.drop, data.kinds, data.missing)


def _split(config: Config, rows: int | None = None) -> Split:
    """The config's split; parts that are files of their own take no share."""
    share = VALIDATION_SHARE if config.data.validation is None else config.data.validation
    validation, test = (p if isinstance(p, float) else 0.0 for p in (share, config.data.test))
    return Split(validation, test, config.seed, rows)


def _whole(
    source: TableSource, surveyed: Surveyed, columns: Sequence[Column], split: Split, shared: bool
) -> dict[str, Whole]:
    """What all rows say of the columns; read again for those that the first rows were misleading about."""
    gathered = surveyed.statistics
    rest = Statistics([column for column in columns if not gathered.read_alike(column)], split)
    if rest.columns:
        for chunk, index, _ in _numbered(source, surveyed):
            rest.add(chunk, index)
    found = {**gathered.found, **rest.found}
    every = current().every(found) if shared else [found]
    varying = [column.name for column in columns if column.kind not in ("constant", "identifier")]
    return {name: Whole.merged([each[name] for each in every]) for name in varying}


def _known_whole(column: Column, whole: dict[str, Whole], config: Config, source: str, note: Note) -> Column:
    """The column with what the sample it was inferred from may not show."""
    if column.kind in ("constant", "identifier"):
        return column
    missing = bool(whole[column.name].missing)
    if missing and column.kind == "ordinal" and config.data.missing == "model":
        raise DataError(f"{source}: column {column.name!r}: {NO_HOLES}")
    if len(whole[column.name].categories) <= MOST_LABELS:
        return replace(column, missing=missing)
    reason = f"text with more than {MOST_LABELS:,} values"
    if column.context or column.reason == ASKED:
        what = "given" if column.context else "labels"
        raise DataError(f"{source}: column {column.name!r} cannot be {what}: {reason}")
    left_out = Column(name=column.name, kind="identifier", reason=reason + LEFT_OUT)
    _tell_left_out([left_out], note)
    return left_out


def _numbered(source: TableSource, surveyed: Survey) -> Iterator[tuple[Table, npt.NDArray[np.int64], int]]:
    """The chunks, their rows' numbers, from 0, and that of the file's row that each begins with: some are left out."""
    seen, start = surveyed.first, surveyed.first_in_files
    for chunk in source.chunks():
        yield chunk, np.arange(seen, seen + len(chunk)), start
        seen += len(chunk)
        start += sum(origin.rows for origin in chunk.origins)


class _Parts:
    """Encoded rows by part, as chunk after chunk comes in."""

    def __init__(self, encoder: TableEncoder) -> None:
        self.encoder = encoder
        empty = encoder.empty()
        kinds = (np.float32, np.int32, np.float32, np.float32)
        self._training = [Spool(array.shape[1:], kind) for array, kind in zip(empty.arrays(), kinds, strict=False)]
        self._held_out = {
            part: [Spool(array.shape[1:], array.dtype) for array in empty.arrays()] for part in (VALIDATION, TEST)
        }
        self.test_rows = Spool((), np.dtype(np.int64))
        self.left_out: dict[int, tuple[int, str]] = {}

    def add(self, chunk: Table, start: int, part_of: npt.NDArray[np.int8]) -> None:
        """Encode a chunk's rows, each for its part; ``start`` is the number of the source's row that it starts with."""
        training = _sound(self.encoder, chunk.take(np.flatnonzero(part_of == TRAINING)))
        # Their bounds are such that none of them is outside.
        for spool, array in zip(self._training, training.arrays(), strict=False):
            spool.add(array)
        for part, spools in self._held_out.items():
            rows = np.flatnonzero(part_of == part)
            encoded = self.encoder.encode(chunk.take(rows))
            if encoded.bad:
                # A label of the context that no training row has, say.
                count, reason = self.left_out.get(part, (0, encoded.bad[min(encoded.bad)]))
                self.left_out[part] = count + len(encoded.bad), reason
                kept = np.setdiff1d(np.arange(len(rows)), list(encoded.bad))
                encoded, rows = encoded.take(kept), rows[kept]
            for spool, array in zip(spools, encoded.arrays(), strict=True):
                spool.add(array)
            if part == TEST:
                self.test_rows.add(start + (rows if chunk.index is None else chunk.index[rows]))

    def tell(self, note: Note, shared: bool) -> None:
        """Say which rows were left out; ``shared``: each process has gone through its own ones."""
        every = current().every(self.left_out) if shared else [self.left_out]
        for part, name in ((VALIDATION, "validation"), (TEST, "test")):
            found = [each[part] for each in every if part in each]
            if found:
                note(f"{sum(count for count, _ in found):,} {name} rows are left out: {found[0][1]}")

    def training(self) -> Rows:
        """The training rows."""
        return Rows(*(torch.from_numpy(spool.array()) for spool in self._training))

    def held_out(self) -> dict[int, Encoded]:
        """The other rows, by part."""
        found = {}
        for part, spools in self._held_out.items():
            numbers, labels, ordinals, context, outside = (spool.array() for spool in spools)
            found[part] = Encoded(numbers, labels, ordinals, context, outside, {})
        return found


def _tell_left_out(columns: Sequence[Column], note: Note) -> None:
    for column in columns:
        if column.kind == "identifier":
            note(f"WARNING: {column.name!r} is left out: {column.reason.removesuffix(LEFT_OUT)}")


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


def refuse_holes(columns: Sequence[Column], mixing: list[str]) -> None:
    """Refuse missing cells of numbers to a flow that cannot leave them out."""
    partial = [column.name for column in columns if column.partial and not column.context]
    if mixing and partial:
        raise ConfigError(
            [
                f"{', '.join(mixing)} cannot leave out missing cells or spikes, which {', '.join(map(repr, partial))} "
                "have: --missing drop or impute, or other transforms ('flowcli transforms' tells which can)"
            ]
        )
