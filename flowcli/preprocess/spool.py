"""Rows of numbers that grow at their end, in memory or, where they are many, on disk."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

from flowcli.errors import FlowcliError
from flowcli.tables.source import MOST_ROWS_IN_MEMORY


class Spool:
    """An array ``(n, *shape)`` to which rows are added; its file has no name, and goes with it."""

    def __init__(self, shape: tuple[int, ...], kind: npt.DTypeLike) -> None:
        self.shape, self.kind = shape, np.dtype(kind)
        self._rows = 0
        self._parts: list[npt.NDArray[Any]] = []
        self._file: Any = None

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Add rows ``(m, *shape)``.

        Raises:
            FlowcliError: there is no room on the disk.
        """
        self._parts.append(rows.astype(self.kind))
        self._rows += len(rows)
        if self._rows > MOST_ROWS_IN_MEMORY and all(self.shape):
            try:
                if self._file is None:
                    self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
                for part in self._parts:
                    _write(self._file, part.tobytes())
            except OSError as error:
                raise FlowcliError(f"{tempfile.gettempdir()}: rows cannot be kept there: {error.strerror}") from None
            self._parts = []

    def array(self) -> npt.NDArray[Any]:
        """All rows; of those on disk, a map."""
        if self._file is None:
            return np.concatenate([np.empty((0, *self.shape), self.kind), *self._parts])
        with self._file as file:
            # The map keeps the file, also when it is closed.
            return np.memmap(file, self.kind, "r+", shape=(self._rows, *self.shape))


def _write(file: Any, content: bytes) -> None:
    """Write all of it; a nearly full disk takes a part first."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]
