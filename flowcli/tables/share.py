"""A part of the rows of files that several processes read, each its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flowcli.errors import DataError
from flowcli.tables.columnar_source import parquet_groups
from flowcli.tables.read import read_chunks
from flowcli.tables.streams import opened
from flowcli.tables.table import Table


@dataclass(frozen=True)
class FileRows:
    """How many rows a file has, and the names of its columns."""

    file: str
    rows: int
    names: list[str]


def count_rows(file: str, encoding: str = "utf-8") -> FileRows:
    """Count a file's rows: Parquet says how many it has, text is read.

    Raises:
        UsageError: the file is missing.
        DataError: it is empty or damaged.
    """
    chunks = read_chunks(file, encoding)
    first = next(chunks)
    with opened(file) as stream:
        groups = parquet_groups(stream)
    rows = len(first) + sum(map(len, chunks)) if groups is None else sum(groups)
    return FileRows(file, rows, first.names)


@dataclass(frozen=True)
class Share:
    """The rows of files from ``first`` up to ``stop``, counted from 0 over all of them."""

    counted: Sequence[FileRows]
    first: int
    stop: int
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        head = self.counted[0]
        for other in self.counted:
            if other.names != head.names:
                differ = ", ".join(sorted(set(other.names) ^ set(head.names))) or "their order"
                raise DataError(f"{other.file}: its columns differ from those of {head.file}: {differ}")

    def chunks(self) -> Iterator[Table]:
        """The rows, a chunk at a time; at least one chunk."""
        start, empty = 0, True
        for counted in self.counted:
            skip, stop = max(self.first - start, 0), min(self.stop - start, counted.rows)
            start += counted.rows
            if skip < stop:
                empty = False
                yield from read_chunks(counted.file, self.encoding, rows=(skip, stop))
        if empty:
            yield from read_chunks(self.counted[0].file, self.encoding, rows=(0, 0))
