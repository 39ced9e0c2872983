"""Formats and compressions of output, by a file's ending. Nothing heavy is imported here."""

from __future__ import annotations

import os
from pathlib import Path

from flowcli.errors import UsageError

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".arrows": "arrows",
}
TEXT = ("csv", "tsv", "jsonl")
# For the text formats; the binary ones have a compression of their own.
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".xz": "xz", ".bz2": "bz2"}


def table_name(name: str) -> bool:
    """Whether a file's name ends as tables' do, compressed or not."""
    path = Path(name.lower())
    return path.suffix in FORMATS or (path.suffix in COMPRESSIONS and Path(path.stem).suffix in FORMATS)


def table_stem(name: str) -> str:
    """A table's name without folders and without the endings of its format and compression."""
    path = Path(name.partition("::")[0])
    for endings in (COMPRESSIONS, FORMATS):
        path = path.with_suffix("") if path.suffix.lower() in endings else path
    return path.name


def is_folder(output: str) -> bool:
    """Whether an output is a folder: its name ends with ``/``."""
    return output.endswith(("/", os.sep))


def output_format(path: str, form: str | None = None) -> tuple[str, str | None]:
    """The format and the compression of a file by its ending, as ``.csv`` or ``.csv.gz``; ``-`` is CSV, and of
    a folder the files are Parquet.

    Args:
        form: the format, whatever the ending says.

    Raises:
        UsageError: the ending is none of the known ones, or asks to compress a binary format.
    """
    if path == "-":
        return form or "csv", None
    if is_folder(path):
        return form or "parquet", None
    ending, compression = Path(path).suffix.lower(), None
    if ending in COMPRESSIONS:
        ending, compression = Path(Path(path).stem).suffix.lower(), COMPRESSIONS[ending]
    form = form or FORMATS.get(ending)
    if form is None:
        raise UsageError(
            f"{path}: the ending says the format; known are {', '.join(FORMATS)}, "
            f"and with {', '.join(COMPRESSIONS)} behind it for text; or give --format"
        )
    if compression is not None and form not in TEXT:
        raise UsageError(f"{path}: only {', '.join(TEXT)} are compressed; leave out {Path(path).suffix}")
    return form, compression
