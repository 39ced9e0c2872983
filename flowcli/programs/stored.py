"""Programs in a model file: themselves in its metadata, their constants among its tensors. No NumPy here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# In a model file's metadata, and in front of the names of constants among its tensors.
KEY = "programs"
PREFIX = "program."
# The functions of a density, each with how many arrays it takes: numbers, labels, ordinals and context; or uniform
# numbers and context.
FUNCTIONS = {"log_prob": 4, "encode": 4, "decode": 4, "sample": 2}
# The types that their numbers can have.
TYPES = ("float64", "float32", "int64", "bool")
MOST_ROWS = 1024
MOST_NOISE = 4096


class ProgramError(Exception):
    """A program is not one, asks for too much, or does not fit the model."""


class UnknownOperationError(ProgramError):
    """A program has an operation that this version of flowcli does not know."""


@dataclass(frozen=True)
class StoredPrograms:
    """The programs of a density, in JSON, and their constants.

    ``rows``: how many rows they take. ``noise_features``: how many uniform numbers a sampled row is drawn from.
    ``types``: of each constant, the type of its numbers; in a file they may be in a narrower one.
    """

    rows: int
    noise_features: int
    functions: Mapping[str, Any]
    types: Mapping[str, str]

    def to_json(self) -> str:
        """As a text, for the metadata."""
        parts = {
            "rows": self.rows,
            "noise_features": self.noise_features,
            "functions": self.functions,
            "types": self.types,
        }
        return json.dumps(parts, separators=(",", ":"))

    @classmethod
    def of(cls, value: Any) -> StoredPrograms:
        """From the JSON of a file. The programs themselves are looked at when they are needed.

        Raises:
            ProgramError: it says something else.
        """
        match value:
            case {
                "rows": int(rows),
                "noise_features": int(noise_features),
                "functions": dict(functions),
                "types": dict(types),
                **more,
            }:
                sound = not more and 1 <= rows <= MOST_ROWS and 0 <= noise_features <= MOST_NOISE
                sound = sound and functions.keys() <= FUNCTIONS.keys()
                sound = sound and all(type(name) is str and name in TYPES for name in types.values())
            case _:
                sound = False
        if not sound:
            raise ProgramError("it is not one")
        return cls(rows, noise_features, functions, types)
