"""``flowcli transforms``."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import typer

from flowcli.cli import completion
from flowcli.cli.describe import aligned
from flowcli.cli.options import Json
from flowcli.cli.output import write_json, write_text
from flowcli.config.distributions import BASES, LABEL_MODELS, ORDINAL_MODELS
from flowcli.errors import UsageError
from flowcli.transforms.catalogue import Entry, Parameter, TransformerChoice
from flowcli.transforms.registry import costs, entries

# What the entries of a part are called, in the order in which they are listed.
PARTS = {"transform": "TRANSFORM", "base": "BASE", "labels": "MODEL OF LABELS", "ordinals": "MODEL OF ORDINALS"}


def explainable() -> dict[str, Entry]:
    """All that can be explained: the transforms, and the distributions that a config can name beside them."""
    return {**entries(), **{entry.name: entry for entry in (*BASES, *LABEL_MODELS, *ORDINAL_MODELS)}}


def transforms(
    name: Annotated[
        str | None,
        typer.Argument(help="Explain this one in full.", show_default=False, autocompletion=completion.transforms),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the transforms of a config, or explain one.

    Base distributions and the models of labels and ordinals are listed and explained too.

    Example: flowcli transforms spline_coupling
    """
    known = explainable()
    if name is not None and name not in known:
        import difflib

        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(known)}"
        raise UsageError(f"no transform '{name}'. {hint}")
    chosen = [known[name]] if name else list(known.values())
    if as_json:
        described = [_as_data(entry) for entry in chosen]
        write_json(described[0] if name else described)
    elif name:
        write_text(_explained(chosen[0]))
    else:
        rows: list[tuple[str, ...]] = []
        for part, title in PARTS.items():
            rows.append((title, "SCORING", "SAMPLING", "CONTEXT", "HOLES", "WHAT IT DOES"))
            rows += [
                (
                    e.name,
                    e.scoring_cost,
                    e.sampling_cost,
                    "yes" if e.takes_context else "no",
                    "yes" if e.skips_absent or e.part == "labels" else "no",
                    e.summary,
                )
                for e in chosen
                if e.part == part
            ]
        write_text("\n".join(aligned(rows)))


def _as_data(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "part": entry.part,
        "summary": entry.summary,
        "formula": entry.formula,
        "log_det": entry.log_det,
        "reference": entry.reference,
        "scoring_cost": entry.scoring_cost,
        "sampling_cost": entry.sampling_cost,
        "takes_context": entry.takes_context,
        "has_inverse": entry.scoring_cost != "none" and entry.sampling_cost != "none",
        "min_features": entry.min_features,
        "volume_preserving": entry.volume_preserving,
        "starts_at_identity": entry.starts_at_identity,
        "skips_absent": entry.skips_absent,
        "parameters": [
            {
                "name": p.name,
                "type": type_in_words(p),
                "default": p.default,
                "minimum": p.minimum,
                "maximum": p.maximum,
                "doc": p.doc,
            }
            for p in entry.parameters
        ],
    }


def _explained(entry: Entry) -> str:
    facts = [("formula", entry.formula), *([("log|det|", entry.log_det)] if entry.log_det else [])]
    facts += [("scoring", entry.scoring_cost)]
    turned = "; the other way round with direction: sampling" if entry.part == "transform" and turns(entry) else ""
    facts += [
        ("sampling", entry.sampling_cost + turned),
        ("context", "yes: p(x | context)" if entry.takes_context else "no"),
    ]
    if entry.part == "transform":
        facts += [
            ("columns", f"at least {entry.min_features}"),
            ("volume", "preserved" if entry.volume_preserving else "changes"),
            ("starts", "at the identity" if entry.starts_at_identity else "elsewhere"),
        ]
    if entry.part in ("transform", "base"):
        facts.append(("holes", "left out" if entry.skips_absent else "none allowed: --missing drop or impute"))
    facts.append(("source", entry.reference))
    lines = [f"{entry.name}: {entry.summary}", "", *aligned(facts)]
    if entry.parameters:
        rows = [
            (p.name, type_in_words(p), f"default {p.default}", f"{p.doc}{range_in_words(p)}") for p in entry.parameters
        ]
        lines += ["", *aligned(rows)]
    return "\n".join(lines)


def turns(entry: Entry) -> bool:
    """Whether its direction can be turned round, and the costs with it."""
    return costs(entry.name, {"direction": "sampling"}) != costs(entry.name, {})


def type_in_words(parameter: Parameter) -> str:
    """The type as a person would write it in YAML."""
    kind = parameter.type
    if isinstance(kind, type) and kind in (int, float, bool, str):
        return {"int": "integer", "float": "number", "bool": "true or false", "str": "text"}[kind.__name__]
    if kind is TransformerChoice:
        return " | ".join(name for name, entry in entries().items() if entry.transformer)
    lists = {list[int]: "list of integers", list[str]: "list of names"}
    if kind in lists:
        return lists[kind]
    choices = [choice if isinstance(choice, str) else lists[choice] for choice in _choices(kind)]
    return " | ".join(choices)


def _choices(kind: Any) -> list[Any]:
    return [
        inner
        for choice in get_args(kind)
        for inner in (get_args(choice) if not _is_list(choice) else (choice,)) or (choice,)
    ]


def _is_list(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) is list


def range_in_words(parameter: Parameter) -> str:
    """Its limits, in brackets; nothing where there are none."""
    if parameter.minimum is None:
        return ""
    return f" (from {parameter.minimum}{'' if parameter.maximum is None else f' to {parameter.maximum}'})"
