"""The rows that a model was not trained on, from the files that it was fitted to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flowcli.errors import UsageError
from flowcli.model_file import ModelHeader
from flowcli.preparing import WithoutHoles
from flowcli.tables.fingerprint import fingerprint
from flowcli.tables.read import read_table
from flowcli.tables.source import MOST_ROWS_IN_MEMORY, InFiles, TableSource
from flowcli.tables.split import TRAINING, Split
from flowcli.tables.table import Table, concatenate

WAY_OUT = "name DATA"


def held_out_rows(header: ModelHeader) -> Table:
    """The validation and the test rows of a fit.

    Raises:
        UsageError: the files are not there any more, are others now, or never were files; or no row was kept.
        DataError: they cannot be read.
    """
    data, known = header.config.data, header.data
    parts = [part for part in (data.validation, data.test) if isinstance(part, str)]
    files = known.get("files") or []
    if not files or "-" in files:
        came = "stdin" if files else "Python"
        raise UsageError(f"the model's data came from {came}: {WAY_OUT}")
    for file in [*files, *parts]:
        if not Path(file).is_file():
            raise UsageError(f"the model's data, {file}, is not there any more: {WAY_OUT}")
    now = fingerprint(files, known["rows"], known["columns"], parts)
    if any(now[key] != known.get(key) for key in ("sha256", "held_out_sha256")):
        raise UsageError(f"the model's data, {', '.join([*files, *parts])}, has changed since the fit: {WAY_OUT}")
    tables = [read_table([part], data.encoding) for part in parts]
    shares = [part if isinstance(part, float) else 0.0 for part in (data.validation, data.test)]
    if any(shares):
        tables += _split_off(header, files, shares)
    if not sum(map(len, tables)):
        raise UsageError(f"the model's fit kept no rows for validation and test: {WAY_OUT}")
    return concatenate(tables)


def _split_off(header: ModelHeader, files: list[str], shares: list[float]) -> list[Table]:
    data = header.config.data
    source: TableSource = InFiles(files, data.encoding)
    rows = header.data["rows"]
    if data.missing == "drop":
        names = [c.name for c in header.columns if c.kind not in ("constant", "identifier")]
        source = WithoutHoles(source, names)
        rows = sum(len(chunk) for chunk in source.chunks())
    split = Split(shares[0], shares[1], header.config.seed, rows if rows <= MOST_ROWS_IN_MEMORY else None)
    found, seen = [], 0
    for chunk in source.chunks():
        part = split.parts(np.arange(seen, seen + len(chunk)))
        found.append(chunk.take(np.flatnonzero(part != TRAINING)))
        seen += len(chunk)
    return found
