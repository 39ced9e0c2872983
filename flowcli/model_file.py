"""The model file: safetensors, with everything that is not a weight as JSON in its header. No torch here."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from flowcli.config.schema import Config
from flowcli.errors import ModelError
from flowcli.tables.columns import Column

FORMAT_VERSION = "1"
LARGEST_HEADER = 100_000_000


class ModelHeader(BaseModel):
    """What a model file says besides its weights."""

    model_config = ConfigDict(extra="forbid")

    config: Config
    columns: list[Column]
    metrics: dict[str, Any]
    versions: dict[str, str]
    data: dict[str, Any]
    created: str
    kind: Literal["flowcli model"] = "flowcli model"

    @model_validator(mode="after")
    def _has_architecture(self) -> ModelHeader:
        if self.config.flow is None:
            raise ValueError("it names no architecture")
        return self

    def to_metadata(self) -> dict[str, str]:
        """The header as safetensors metadata."""
        return {"format_version": FORMAT_VERSION, "flowcli": self.model_dump_json()}


def read_header(path: Path) -> ModelHeader:
    """Read and check the header; the weights are not touched.

    Raises:
        ModelError: the file is not a model of flowcli, is cut short, or is of an unknown format version.
    """
    metadata = read_metadata(path)
    if "flowcli_checkpoint" in metadata:
        raise ModelError(f"{path}: a checkpoint, not a model; flowcli fit --resume {path.parent} goes on with it")
    version = metadata.get("format_version")
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{path}: format version {version!r} is not known to this flowcli, which reads {FORMAT_VERSION!r}"
        )
    try:
        return ModelHeader.model_validate_json(metadata.get("flowcli", ""))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ModelError(f"{path}: damaged header: {place}: {first['msg']}") from None


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
