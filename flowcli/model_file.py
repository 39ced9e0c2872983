"""The model file: safetensors, with everything that is not a weight as JSON in its header. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from flowcli.config.schema import Config
from flowcli.errors import ModelError
from flowcli.tables.columns import Column
from flowcli.tensor_file import FORMAT_VERSION, read_metadata


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
