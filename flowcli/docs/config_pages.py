"""What the page of configs says, from the schema."""

from __future__ import annotations

from typing import Any

from flowcli.config.schema import (
    Chain,
    ColumnConfig,
    Config,
    DataConfig,
    Factor,
    FlowConfig,
    Member,
    Part,
    Section,
    TrainConfig,
)
from flowcli.docs.markdown import code, inline, table

# What parts of the schema are called here.
_LINKS = {
    "BaseChoice": "[base](transforms.md#base-distributions)",
    "Transform": "[transforms](transforms.md#transforms)",
    "LabelChoice": "[model of labels](transforms.md#models-of-labels)",
    "OrdinalChoice": "[model of ordinals](transforms.md#models-of-ordinals)",
    "Factor": "[factors](#a-factor)",
    "Member": "[members](#a-member-of-a-mixture)",
    "ColumnConfig": "[columns](#a-column)",
    "FlowConfig": "[`flow`](#flow)",
    "TrainConfig": "[`train`](#train)",
    "DataConfig": "[`data`](#data)",
    "Tried": "list of values, or `{low: ..., high: ..., log: true}`",
}
_SECTIONS: tuple[tuple[str, type[Section], type[Section] | None], ...] = (
    ("Top level", Config, None),
    ("flow", FlowConfig, None),
    ("A factor", Factor, Part),
    ("A member of a mixture", Member, Part),
    ("A chain", Chain, None),
    ("train", TrainConfig, None),
    ("data", DataConfig, None),
    ("A column", ColumnConfig, None),
)


def config() -> str:
    """The generated part of the page."""
    return "\n\n".join(_section(title, model, shared) for title, model, shared in _SECTIONS)


def _section(title: str, model: type[Section], shared: type[Section] | None) -> str:
    """The keys of one mapping; those that it shares with ``flow`` are named only."""
    known = shared.model_fields if shared else {}
    rows = [_row(model, key) for key in model.model_fields if key not in known]
    parts = [f"## {title}", " ".join((model.__doc__ or "").replace("``", "`").split()), table(_HEADER, rows)]
    if known:
        parts.append(f"And, as in [`flow`](#flow): {', '.join(map(code, known))}.")
    return "\n\n".join(parts)


_HEADER = ("key", "value", "default", "meaning")


def _row(model: type[Section], key: str) -> tuple[str, str, str, str]:
    field = model.model_fields[key]
    value = None if field.is_required() else field.get_default(call_default_factory=True)
    default = "required" if field.is_required() else "" if isinstance(value, Section) else code(inline(value))
    return code(key), value_in_words(_schema(model, key)), default, field.description or ""


def _schema(model: type[Section], key: str) -> dict[str, Any]:
    schema = model.model_json_schema()
    properties = schema.get("properties") or schema["$defs"][model.__name__]["properties"]
    found: dict[str, Any] = properties[key]
    return found


def value_in_words(schema: dict[str, Any]) -> str:
    """What a value may be, from its JSON Schema."""
    if "$ref" in schema:
        return _LINKS[schema["$ref"].rpartition("/")[2]]
    for several in ("anyOf", "allOf"):
        if several in schema:
            return " or ".join(map(value_in_words, schema[several]))
    if "enum" in schema:
        return ", ".join(map(code, schema["enum"]))
    match schema.get("type"):
        case "array":
            return f"list of {_plural(value_in_words(schema['items']))}"
        case "object":
            return f"mapping of names to {value_in_words(schema['additionalProperties'])}"
        case "integer" | "number" as kind:
            return " ".join([kind, *_limits(schema)])
        case "boolean":
            return "`true`, `false`"
        case "string":
            return "text"
        case "null":
            return "`null`"
    raise ValueError(f"no words for {schema}")


def _plural(words: str) -> str:
    return {"text": "texts", "number": "numbers", "integer": "integers"}.get(words, words)


def _limits(schema: dict[str, Any]) -> list[str]:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    return [f"{word} {schema[key]:,}" for key, word in words.items() if key in schema]
