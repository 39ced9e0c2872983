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
from flowcli.tables.source import MOST_ROWS_IN_MEMORY, InMemory, Survey, TableSource, survey
from flowcli.tables.split import TEST, TRAINING, VALIDATION, Split
from flowcli.tables.table import Table

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


def survey_for(source: TableSource, config: Config, most: int = MOST_ROWS_IN_MEMORY) -> Surveyed:
    """Read a source once, for :func:`prepare`: rows, a sample, and what must be known of all rows.

    Raises:
        DataError: the source cannot be read.
    """
    statistics: list[Statistics] = []

    def gather(table: Table, index: npt.NDArray[np.int64]) -> None:
        if not statistics:
            try:
                columns = _inferred(table, config)
            except (DataError, ConfigError):  # for the sample to say
                columns = []
            statistics.append(Statistics(columns, _split(config)))
        statistics[0].add(table, index)

    found = survey(source, most, gather)
    return Surveyed(found.rows, found.sample, found.index, statistics[0] if statistics else Statistics([]))


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
    if surveyed.whole:
        source = InMemory(surveyed.sample)
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
    whole = _whole(source, surveyed, columns, split)
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
    for chunk, index, start in _numbered(source):
        parts.add(chunk, start, split.parts(index))
    parts.tell(note)
    held_out = parts.held_out()
    test_rows = parts.test_rows.array()
    for part, file in ((VALIDATION, data.validation), (TEST, data.test)):
        if isinstance(file, str):
            table = read_table([file], data.encoding)
            if data.missing == "drop":
                names = [column.name for column in encoder.columns if column.name in whole]
                (table,) = WithoutHoles(InMemory(table), [name for name in names if name in table.names]).chunks()
            held_out[part] = _sound(encoder, table)
            if part == TEST:
                test_rows = np.arange(len(table)) if table.index is None else table.index
    training = parts.training()
    on_columns(columns, len(training), *(len(held_out[part].numbers) for part in (VALIDATION, TEST)))
    sample = Rows.of(_sound(encoder, sampled), torch.device("cpu"), torch.float64)
    return Prepared(encoder, training, sample, held_out[VALIDATION], held_out[TEST], test_rows + 1)


def _inferred(table: Table, config: Config) -> list[Column]:
    data = config.data
    return infer_columns(table, data.context, data.drop, data.kinds, data.missing)


def _split(config: Config, rows: int | None = None) -> Split:
    """The config's split; parts that are files of their own take no share."""
    share = VALIDATION_SHARE if config.data.validation is None else config.data.validation
    validation, test = (p if isinstance(p, float) else 0.0 for p in (share, config.data.test))
    return Split(validation, test, config.seed, rows)


def _whole(source: TableSource, surveyed: Surveyed, columns: Sequence[Column], split: Split) -> dict[str, Whole]:
    """What all rows say of the columns; read again for those that the first rows were misleading about."""
    gathered = surveyed.statistics
    rest = Statistics([column for column in columns if not gathered.read_alike(column)], split)
    if rest.columns:
        for chunk, index, _ in _numbered(source):
            rest.add(chunk, index)
    return {**gathered.found, **rest.found}


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


def _numbered(source: TableSource) -> Iterator[tuple[Table, npt.NDArray[np.int64], int]]:
    """The chunks, their rows' numbers, from 0, and that of the file's row that each begins with: some are left out."""
    seen = start = 0
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

    def tell(self, note: Note) -> None:
        """Say which rows were left out."""
        for part, (count, reason) in self.left_out.items():
            name = "validation" if part == VALIDATION else "test"
            note(f"{count:,} {name} rows are left out: {reason}")

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
