"""Checkpoints: what resuming a training needs, as safetensors with plain JSON in the header."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from flowcli.config.load import is_plain_file
from flowcli.config.schema import Config
from flowcli.config.stored import checked
from flowcli.errors import ModelError, UsageError
from flowcli.files import written_whole
from flowcli.flows.size import facts_of
from flowcli.model_file import check_data, checked_json
from flowcli.tensor_file import TensorFacts, read_tensor_header, sealed
from flowcli.training.mixture import MixtureTraining
from flowcli.training.trainer import Training

# Its state of training is that of one version of the training loop, unlike a model.
VERSION, EARLIER_VERSIONS = "3", ("1", "2")


def _of_files(data: dict[str, Any]) -> dict[str, Any]:
    if not check_data(data)["files"]:
        raise ValueError("it names no files")
    return data


class CheckpointHeader(BaseModel):
    """The run's config, its data's fingerprint, and where its training stands."""

    model_config = ConfigDict(extra="forbid")

    config: Config
    data: Annotated[dict[str, Any], AfterValidator(_of_files)]
    progress: dict[str, Any]


def save_checkpoint(path: Path, training: Training | MixtureTraining, config: Config, data: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        FlowcliError: it cannot be written.
    """
    tensors, progress = training.state()
    header = CheckpointHeader(config=config, data=data, progress=_without_nan(progress))
    metadata = {"format_version": VERSION, "flowcli_checkpoint": header.model_dump_json()}
    with written_whole(path) as stream:
        stream.write(sealed(save({name: t.cpu().contiguous() for name, t in tensors.items()}, metadata=metadata)))


def read_checkpoint_header(path: Path) -> CheckpointHeader:
    """What a checkpoint says besides its tensors.

    Raises:
        ModelError: the file is damaged or is not a checkpoint of this version of flowcli.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[CheckpointHeader, dict[str, TensorFacts]]:
    file = read_tensor_header(path)
    if "flowcli_checkpoint" in file.metadata and file.metadata.get("format_version") in EARLIER_VERSIONS:
        raise ModelError(f"{path}: begun by an earlier version of flowcli, which alone can go on with it; fit again")
    if file.metadata.get("format_version") != VERSION or "flowcli_checkpoint" not in file.metadata:
        raise ModelError(f"{path}: not a checkpoint of this version of flowcli")
    header = checked(path, CheckpointHeader, checked_json(path, file.metadata["flowcli_checkpoint"]))
    for name in (header.config.data.validation, header.config.data.test):
        if isinstance(name, str) and not is_plain_file(name):
            raise ModelError(f"{path}: asks for rows of {name!r}, which is not a regular file")
    return header, file.tensors


def restore_checkpoint(path: Path, training: Training | MixtureTraining, config: Config | None = None) -> None:
    """Put a checkpoint's state into a training that was set up from the same config and rows.

    Raises:
        UsageError: the ``config`` is another one.
        ModelError: the file is damaged, or is of another architecture.
    """
    header, tensors = _read(path)
    if config is not None and config != header.config:
        raise UsageError(f"{path.parent}: was begun with another config; --force begins anew")
    facts = _with_nan(header.progress)
    try:
        training.move_to(facts)
        if not _fits(tensors, training):
            raise ModelError(f"{path}: damaged: its tensors are not those that its config asks for")
        loaded: dict[str, Tensor] = load_file(path)
        if not all(bool(torch.isfinite(tensor).all()) for tensor in loaded.values()):
            raise ModelError(f"{path}: damaged: a weight is not a finite number")
        state = training.state()[0]
        for name, tensor in loaded.items():
            # Orders of columns are as they were set up; other integers count steps.
            if name in state and tensor.dtype == torch.int64 and tensor.dim() and not tensor.equal(state[name].cpu()):
                raise ModelError(f"{path}: damaged: an order of columns is not the config's")
        training.restore(loaded, facts)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ModelError(f"{path}: damaged: progress: {first['msg']}") from None
    except (SafetensorError, OSError, RuntimeError, LookupError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: damaged: {str(error).strip().splitlines()[-1].strip()}") from None


def _fits(tensors: dict[str, TensorFacts], training: Training | MixtureTraining) -> bool:
    """Whether the tensors are those of the training's state."""
    return tensors == {name: facts_of(tensor) for name, tensor in training.state()[0].items()}


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
