"""Which data a model was trained on, without keeping any of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def fingerprint(
    sources: Sequence[str],
    rows: int,
    columns: Sequence[str],
    held_out: Sequence[str] = (),
    digests: Sequence[str | None] | None = None,
) -> dict[str, Any]:
    """Files, rows, columns, and the SHA-256 of each file's bytes (``None`` for standard input).

    Args:
        held_out: the files of validation and test rows, where they are files of their own.
        digests: those of the files, where they are known.
    """
    if digests is None:
        digests = [None if source == "-" else sha256_of(Path(source)) for source in sources]
    return {
        "files": list(sources),
        "sha256": list(digests),
        "rows": rows,
        "columns": list(columns),
        "held_out_sha256": [sha256_of(Path(file)) for file in held_out],
    }


def same_data(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two fingerprints can be of the same rows; the files' names do not matter."""
    if any(one.get(key) != other.get(key) for key in ("rows", "columns", "held_out_sha256")):
        return False
    ours, theirs = one.get("sha256", []), other.get("sha256", [])
    return None in ours or None in theirs or bool(ours == theirs)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
