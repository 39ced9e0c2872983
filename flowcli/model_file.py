"""The model file: safetensors, with everything that is not a weight as JSON in its header. No torch here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcli.errors import ModelError
from flowcli.printable import printable
from flowcli.programs.stored import KEY, PREFIX, ProgramError, StoredPrograms
from flowcli.records import (
    MisplacedError,
    anything,
    list_of,
    mapping_of,
    number,
    one_of,
    optional,
    parts,
    text,
    whole,
)
from flowcli.tables.columns import MOST_COLUMNS, Column
from flowcli.tensor_file import TensorFacts, read_json, read_tensor_header, sealed

if TYPE_CHECKING:
    import numpy as np

    from flowcli.config.schema import Config

# The second version has programs, the third sets of them for mixtures.
MODEL_VERSION = "3"
READABLE_VERSIONS = ("1", "2", MODEL_VERSION)
LONGEST_REASON = 200


@dataclass
class ModelHeader:
    """What a model file says besides its weights.

    ``make_config`` gives the config: that of a file is checked when it is first asked for, as most commands do not
    need it.
    """

    make_config: Callable[[], Config] = field(compare=False, repr=False)
    columns: list[Column]
    metrics: dict[str, Any]
    versions: dict[str, str]
    data: dict[str, Any]
    created: str

    @cached_property
    def config(self) -> Config:
        """The resolved config; it has an architecture.

        Raises:
            ModelError: the file's is none.
        """
        return self.make_config()

    def as_json(self) -> dict[str, Any]:
        """The header as JSON has it."""
        return {
            "config": self.config.model_dump(mode="json"),
            "columns": [column.as_json() for column in self.columns],
            "metrics": self.metrics,
            "versions": self.versions,
            "data": self.data,
            "created": self.created,
            "kind": "flowcli model",
        }

    def to_metadata(self) -> dict[str, str]:
        """The header as safetensors metadata."""
        written = json.dumps(self.as_json(), ensure_ascii=False, separators=(",", ":"))
        return {"format_version": MODEL_VERSION, "flowcli": written}


_COUNT = whole(0, 2**63)
_SUMMARY = parts(
    {
        "mean": optional(number),
        "standard_error": optional(number),
        "n": _COUNT,
        "bits_per_dim": optional(number),
        "impossible_rows": _COUNT,
    },
    more=True,
)
_MEMBER = parts({"member": text, "copies": _COUNT, "weight": number, "held_out_log_likelihood": optional(number)})
MOST_MEMBERS = 1000
# The metrics that people are shown; there are others.
_METRICS = parts(
    {
        "test_log_likelihood": optional(_SUMMARY),
        "validation_log_likelihood": optional(_SUMMARY),
        "baselines": mapping_of(_SUMMARY),
        "parameters": _COUNT,
        "rows": parts({"training": _COUNT, "validation": _COUNT, "test": _COUNT}, more=True),
        "mixture": list_of(_MEMBER, MOST_MEMBERS),
    },
    more=True,
    missing={"mixture": []},
)
_NAMES = list_of(text, 10**6)
# What is known of the data's files; nothing, where the table came from Python.
_DATA = {
    "files": _NAMES,
    "sha256": list_of(optional(text), 10**6),
    "rows": _COUNT,
    "columns": _NAMES,
    "held_out_sha256": _NAMES,
}
check_data = parts(
    _DATA, more=True, missing={"files": [], "sha256": [], "rows": 0, "columns": [], "held_out_sha256": []}
)
_HEADER = parts(
    {
        "config": mapping_of(anything),
        "columns": list_of(Column.of, MOST_COLUMNS),
        "metrics": mapping_of(anything),
        "versions": mapping_of(text),
        "data": mapping_of(anything),
        "created": text,
        "kind": one_of("flowcli model"),
    },
    missing={"kind": "flowcli model"},
)


@dataclass(frozen=True)
class ModelFile:
    """A model file whose header has been read: what it says of itself, of its weights, and of what its programs need.

    ``programs`` is ``None`` where the file has none; ``digest`` is the SHA-256 of all that is in it.
    """

    path: Path
    header: ModelHeader
    weights: dict[str, TensorFacts]
    constants: dict[str, TensorFacts]
    programs: StoredPrograms | None
    digest: str


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
        known = ", ".join(map(repr, READABLE_VERSIONS))
        raise ModelError(f"{path}: format version {version!r} is not known to this flowcli, which reads {known}")
    header = _checked_header(path, checked_json(path, file.metadata.get("flowcli", "")))
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
    return ModelFile(path, header, weights, constants, programs, file.digest)


def load_arrays(file: ModelFile) -> dict[str, np.ndarray]:
    """The tensors of a file with programs, as these take them: weights in float64, constants in their types.

    Raises:
        ModelError: the file is damaged.
    """
    import numpy as np

    assert file.programs is not None
    types = file.programs.types
    arrays = _stored_arrays(file)
    if not all(np.isfinite(array).all() for name, array in arrays.items() if name in file.weights):
        raise ModelError(f"{file.path}: damaged: a weight is not a finite number")
    return {
        name: array.astype(types.get(name, np.float64 if array.dtype.kind == "f" else array.dtype))
        for name, array in arrays.items()
    }


def _stored_arrays(file: ModelFile) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(file.path)
    except (SafetensorError, OSError, KeyError) as error:
        raise ModelError(f"{file.path}: damaged: {str(error).strip().splitlines()[-1].strip()}") from None


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


def restated(file: ModelFile, header: ModelHeader) -> bytes:
    """The contents of a model file, its weights and programs as they are, with another header.

    Raises:
        ModelError: the file is damaged.
    """
    assert file.programs is not None
    return model_bytes(header, _stored_arrays(file), file.programs, {})


def checked_json(path: Path, text: str) -> Any:
    """The JSON that stands in a file's metadata.

    Raises:
        ModelError: it is damaged.
    """
    try:
        return read_json(text)
    except ValueError as error:
        raise ModelError(f"{path}: damaged header: {printable(str(error), LONGEST_REASON)}") from None


def _checked_header(path: Path, value: Any) -> ModelHeader:
    """The header of a file, from its JSON.

    Raises:
        ModelError: it is none.
    """
    try:
        found = _HEADER(value)
        _METRICS(found["metrics"])
        check_data(found["data"])
        if len({column.name for column in found["columns"]}) < len(found["columns"]):
            raise ValueError("two columns have the same name")
    except ValueError as error:
        place = ".".join(map(str, error.place)) if isinstance(error, MisplacedError) else ""
        raise damaged_header(path, place, str(error)) from None
    del found["kind"]
    config = found.pop("config")
    return ModelHeader(lambda: _checked_config(path, config), **found)


def _checked_config(path: Path, value: dict[str, Any]) -> Config:
    """The config of a file, from its JSON.

    Raises:
        ModelError: it is none.
    """
    from flowcli.config.schema import Config
    from flowcli.config.stored import checked

    config = checked(path, Config, value, within="config.")
    if config.flow is None:
        raise damaged_header(path, "config", "it names no architecture")
    return config


def damaged_header(path: Path, place: str, what: str) -> ModelError:
    """What is said of a header that is not one."""
    where = f"{printable(place, LONGEST_REASON)}: " if place else ""
    return ModelError(f"{path}: damaged header: {where}{printable(what, LONGEST_REASON)}")
