"""Checkpoints: what resuming a training needs, as safetensors with plain JSON in the header."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from flowcli.config.schema import Config
from flowcli.errors import ModelError
from flowcli.files import written_whole
from flowcli.tensor_file import FORMAT_VERSION, read_metadata
from flowcli.training.trainer import Training


class CheckpointHeader(BaseModel):
    """The run's config, its data's fingerprint, and where its training stands."""

    model_config = ConfigDict(extra="forbid")

    config: Config
    data: dict[str, Any]
    progress: dict[str, Any]


def save_checkpoint(path: Path, training: Training, config: Config, data: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        FlowcliError: it cannot be written.
    """
    tensors, progress = training.state()
    header = CheckpointHeader(config=config, data=data, progress=_without_nan(progress))
    metadata = {"format_version": FORMAT_VERSION, "flowcli_checkpoint": header.model_dump_json()}
    with written_whole(path) as stream:
        stream.write(save({name: t.cpu().contiguous() for name, t in tensors.items()}, metadata=metadata))


def read_checkpoint_header(path: Path) -> CheckpointHeader:
    """What a checkpoint says besides its tensors.

    Raises:
        ModelError: the file is damaged or is not a checkpoint of this version of flowcli.
    """
    metadata = read_metadata(path)
    if metadata.get("format_version") != FORMAT_VERSION or "flowcli_checkpoint" not in metadata:
        raise ModelError(f"{path}: not a checkpoint of this version of flowcli")
    try:
        return CheckpointHeader.model_validate_json(metadata["flowcli_checkpoint"])
    except ValidationError as error:
        raise ModelError(f"{path}: damaged: {error.errors()[0]['msg']}") from None


def restore_checkpoint(path: Path, training: Training) -> None:
    """Put a checkpoint's state into a training that was set up from the same config and rows.

    Raises:
        ModelError: the file is damaged, or is of another architecture.
    """
    header = read_checkpoint_header(path)
    try:
        tensors: dict[str, Tensor] = load_file(path)
        training.restore(tensors, _with_nan(header.progress))
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: damaged: {str(error).strip().splitlines()[-1].strip()}") from None


def _without_nan(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become words."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return [_without_nan(item) for item in value] if isinstance(value, list) else value


def _with_nan(value: Any) -> Any:
    if value in ("nan", "inf", "-inf"):
        return float(value)
    if isinstance(value, dict):
        return {key: _with_nan(item) for key, item in value.items()}
    return [_with_nan(item) for item in value] if isinstance(value, list) else value
