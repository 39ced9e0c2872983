"""Headers of safetensors files, read and checked without torch."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from flowcli.errors import ModelError

# Of models and checkpoints alike.
FORMAT_VERSION = "1"
LARGEST_HEADER = 100_000_000


def read_metadata(path: Path) -> dict[str, Any]:
    """The ``__metadata__`` of a safetensors file: 8 bytes of length, then JSON.

    Raises:
        ModelError: the file is not safetensors, is cut short, or has no metadata.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(LARGEST_HEADER, size - 8):
                raise ModelError(f"{path}: not a model file of flowcli (safetensors), or cut short")
            header = json.loads(file.read(length))
        _check_size(path, header, size - 8 - length)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError, TypeError, LookupError, AttributeError):
        raise ModelError(f"{path}: not a model file of flowcli (safetensors)") from None
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict):
        raise ModelError(f"{path}: a safetensors file, but not a model of flowcli")
    return metadata


def _check_size(path: Path, header: dict[str, Any], size: int) -> None:
    """Refuse a file whose tensors do not fill the rest of it."""
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    if max(ends, default=0) != size:
        raise ModelError(f"{path}: damaged: the file is cut short, or something is appended to it")


def with_sorted_header(content: bytes) -> bytes:
    """A safetensors file with its header in alphabetical order: the same model is then the same bytes."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the format aligns the tensors
    return struct.pack("<Q", len(header)) + header + content[8 + length :]
