"""The model file: safetensors, with everything that is not a weight as JSON in its header. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from flowcli.config.schema import Config
from flowcli.errors import ModelError
from flowcli.printable import printable
from flowcli.programs.stored import KEY, PREFIX, ProgramError, StoredPrograms
from flowcli.tables.columns import MOST_COLUMNS, Column
from flowcli.tensor_file import TensorFacts, read_json, read_tensor_header, sealed

if TYPE_CHECKING:
    import numpy as np

# The second version has programs.
MODEL_VERSION = "2"
READABLE_VERSIONS = ("1", MODEL_VERSION)
LONGEST_REASON = 200
# To tell the first of very many takes as long as to tell them all.
MOST_ERRORS = 1000

Count = Annotated[int, Field(ge=0)]


class ModelHeader(BaseModel):
    """What a model file says besides its weights."""

    model_config = ConfigDict(extra="forbid")

    config: Config
    columns: Annotated[list[Column], Field(max_length=MOST_COLUMNS, fail_fast=True)]
    metrics: dict[str, Any]
    versions: dict[str, str]
    data: dict[str, Any]
    created: str
    kind: Literal["flowcli model"] = "flowcli model"

    @model_validator(mode="after")
    def _has_architecture(self) -> ModelHeader:
        if self.config.flow is None:
            raise ValueError("it names no architecture")
        if len({column.name for column in self.columns}) < len(self.columns):
            raise ValueError("two columns have the same name")
        return self

    def to_metadata(self) -> dict[str, str]:
        """The header as safetensors metadata."""
        return {"format_version": MODEL_VERSION, "flowcli": self.model_dump_json()}


class _Summary(BaseModel):
    """The figures of a log-likelihood that people are shown."""

    mean: FiniteFloat | None
    standard_error: FiniteFloat | None
    n: Count
    bits_per_dim: FiniteFloat | None
    impossible_rows: Count


class _Rows(BaseModel):
    training: Count
    validation: Count
    test: Count


class _Metrics(BaseModel):
    """The metrics that people are shown; there are others."""

    test_log_likelihood: _Summary | None
    validation_log_likelihood: _Summary | None
    baselines: dict[str, _Summary]
    parameters: Count
    rows: _Rows


class Data(BaseModel):
    """What is known of the data's files; nothing, where the table came from Python."""

    files: list[str] = []
    sha256: list[str | None] = []
    rows: Count = 0
    columns: list[str] = []
    held_out_sha256: list[str] = []


class _Told(BaseModel):
    """The parts of a header that people are told of, as a finished fit writes them."""

    metrics: _Metrics
    data: Data


@dataclass(frozen=True)
class ModelFile:
    """A model file whose header has been read: what it says of itself, of its weights, and of what its programs need.

    ``programs`` is ``None`` where the file has none.
    """

    path: Path
    header: ModelHeader
    weights: dict[str, TensorFacts]
    constants: dict[str, TensorFacts]
    programs: StoredPrograms | None


def read_header(path: Path) -> ModelHeader:
    """Read and check the header; the weights are not touched.

    Raises:
        ModelError: the file is not a model of flowcli, is cut short, or is of an unknown format version.
    """
    return read_model_file(path).header


def read_model_file(path: Path) -> ModelFile:
    """Everything but the tensors themselves.

    Raises:
        ModelError: as with :func:`read_header`.
    """
    file = read_tensor_header(path)
    if "flowcli_checkpoint" in file.metadata:
        raise ModelError(f"{path}: a checkpoint, not a model; flowcli fit --resume {path.parent} goes on with it")
    version = file.metadata.get("format_version")
    if version not in READABLE_VERSIONS:
        known = " and ".join(map(repr, READABLE_VERSIONS))
        raise ModelError(f"{path}: format version {version!r} is not known to this flowcli, which reads {known}")
    value = checked_json(path, file.metadata.get("flowcli", ""))
    header = checked(path, ModelHeader, value)
    checked(path, _Told, value)
    programs = None
    if KEY in file.metadata:
        try:
            programs = StoredPrograms.of(checked_json(path, file.metadata[KEY]))
        except ProgramError as error:
            raise ModelError(f"{path}: damaged program: {error}") from None
    constants = {name: facts for name, facts in file.tensors.items() if name.startswith(PREFIX)}
    if constants.keys() != (programs.types.keys() if programs else set()):
        raise ModelError(f"{path}: damaged: its tensors are not those of its programs")
    weights = {name: facts for name, facts in file.tensors.items() if name not in constants}
    return ModelFile(path, header, weights, constants, programs)


def load_arrays(file: ModelFile) -> dict[str, np.ndarray]:
    """The tensors of a file with programs, as these take them: weights in float64, constants in their types.

    Raises:
        ModelError: the file is damaged.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    assert file.programs is not None
    types = file.programs.types
    try:
        arrays = load_file(file.path)
    except (SafetensorError, OSError, KeyError) as error:
        raise ModelError(f"{file.path}: damaged: {str(error).strip().splitlines()[-1].strip()}") from None
    if not all(np.isfinite(array).all() for name, array in arrays.items() if name in file.weights):
        raise ModelError(f"{file.path}: damaged: a weight is not a finite number")
    return {
        name: array.astype(types.get(name, np.float64 if array.dtype.kind == "f" else array.dtype))
        for name, array in arrays.items()
    }


def model_bytes(
    header: ModelHeader,
    weights: Mapping[str, np.ndarray],
    programs: StoredPrograms,
    constants: Mapping[str, np.ndarray],
) -> bytes:
    """The contents of a model file."""
    from safetensors.numpy import save

    metadata = {**header.to_metadata(), KEY: programs.to_json()}
    return sealed(save({**weights, **constants}, metadata=metadata))


def checked_json(path: Path, text: str) -> Any:
    """The JSON that stands in a file's metadata.

    Raises:
        ModelError: it is damaged.
    """
    try:
        return read_json(text)
    except ValueError as error:
        raise ModelError(f"{path}: damaged header: {printable(str(error), LONGEST_REASON)}") from None


Schema = TypeVar("Schema", bound=BaseModel)


def checked(path: Path, schema: type[Schema], value: Any) -> Schema:
    """What the JSON of a file's metadata says, by its schema.

    Raises:
        ModelError: it says something else.
    """
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        if error.error_count() > MOST_ERRORS:
            raise ModelError(f"{path}: damaged header: {error.error_count():,} mistakes") from None
        first = error.errors(include_url=False, include_input=False)[0]
        place = printable(".".join(map(str, first["loc"])), LONGEST_REASON)
        raise ModelError(f"{path}: damaged header: {place}: {printable(first['msg'], LONGEST_REASON)}") from None
