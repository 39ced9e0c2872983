"""Configs that stand in the files of flowcli's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from flowcli.errors import ModelError
from flowcli.printable import printable

LONGEST_REASON = 200
# To tell the first of very many takes as long as to tell them all.
MOST_ERRORS = 1000

Schema = TypeVar("Schema", bound=BaseModel)


def checked(path: Path, schema: type[Schema], value: Any, within: str = "") -> Schema:
    """What the JSON of a file's metadata says, by its schema; ``within`` stands in front of the place of a mistake.

    Raises:
        ModelError: it says something else.
    """
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        if error.error_count() > MOST_ERRORS:
            raise ModelError(f"{path}: damaged header: {error.error_count():,} mistakes") from None
        first = error.errors(include_url=False, include_input=False)[0]
        place = printable(within + ".".join(map(str, first["loc"])), LONGEST_REASON)
        raise ModelError(f"{path}: damaged header: {place}: {printable(first['msg'], LONGEST_REASON)}") from None
