"""Formats by a file's ending. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path

from flowcli.errors import UsageError

FORMATS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".parquet": "parquet"}


def output_format(path: str) -> str:
    """The format by a file's ending.

    Raises:
        UsageError: the ending is none of the known ones.
    """
    try:
        return FORMATS[Path(path).suffix.lower()]
    except KeyError:
        raise UsageError(f"{path}: the ending says the format; known are {', '.join(FORMATS)}") from None
