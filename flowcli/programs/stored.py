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
MOST_SETS = 1000
# What the names of the members' own weights begin with, and the name of the weights of the members in the mixture.
MEMBERS = "members."
WEIGHTS = "weights"


class ProgramError(Exception):
    """A program is not one, asks for too much, or does not fit the model."""


class UnknownOperationError(ProgramError):
    """A program has an operation that this version of flowcli does not know."""


@dataclass(frozen=True)
class ProgramSet:
    """The programs of one density, in JSON, and how many uniform numbers a sampled row is drawn from."""

    noise_features: int
    functions: Mapping[str, Any]


@dataclass(frozen=True)
class StoredPrograms:
    """The programs of a density, and the types of their constants; in a file these may be in narrower ones.

    ``rows``: how many rows they take. ``sets``: one, or of a mixture one for each kind of member. ``members``: of each
    member of a mixture the place of its set, whose names of weights lack what a member's begin with.
    """

    rows: int
    sets: list[ProgramSet]
    members: list[int]
    types: Mapping[str, str]

    @property
    def noise_features(self) -> int:
        """How many uniform numbers a sampled row is drawn from."""
        most = max(each.noise_features for each in self.sets)
        return most + 1 if self.members else most

    @property
    def functions(self) -> set[str]:
        """Those that all sets have a program of."""
        return set.intersection(*(set(each.functions) for each in self.sets))

    def to_json(self) -> str:
        """As a text, for the metadata."""
        sets = [{"noise_features": each.noise_features, "functions": each.functions} for each in self.sets]
        parts = {"rows": self.rows, "sets": sets, "members": self.members, "types": self.types}
        return json.dumps(parts, separators=(",", ":"))

    @classmethod
    def of(cls, value: Any) -> StoredPrograms:
        """From the JSON of a file. The programs themselves are looked at when they are needed.

        Raises:
            ProgramError: it says something else.
        """
        match value:
            case {"rows": int(rows), "sets": [*sets], "members": [*members], "types": dict(types), **more}:
                pass
            # Of format version 2.
            case {"rows": int(rows), "types": dict(types), "noise_features": _, "functions": _, **more}:
                sets, members = [{key: more.pop(key, value[key]) for key in ("noise_features", "functions")}], []
            case _:
                raise ProgramError("it is not one")
        sound = not more and 1 <= rows <= MOST_ROWS and 1 <= len(sets) <= MOST_SETS and len(members) <= MOST_SETS
        sound = sound and all(type(name) is str and name in TYPES for name in types.values())
        sound = sound and all(type(place) is int and 0 <= place < len(sets) for place in members)
        if not sound or (not members and len(sets) > 1):
            raise ProgramError("it is not one")
        return cls(rows, [_set_of(each) for each in sets], members, types)


def _set_of(value: Any) -> ProgramSet:
    match value:
        case {"noise_features": int(noise_features), "functions": dict(functions), **more}:
            if not more and 0 <= noise_features <= MOST_NOISE and functions.keys() <= FUNCTIONS.keys():
                return ProgramSet(noise_features, functions)
    raise ProgramError("it is not one")
