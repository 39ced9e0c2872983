"""Which data a model was trained on, without keeping any of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowcli.tables.table import Table


def fingerprint(sources: Sequence[str], table: Table) -> dict[str, Any]:
    """Files, rows, columns, and the SHA-256 of each file's bytes (``None`` for standard input)."""
    return {
        "files": list(sources),
        "sha256": [None if source == "-" else _sha256(Path(source)) for source in sources],
        "rows": len(table),
        "columns": table.names,
    }


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
