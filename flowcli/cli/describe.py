"""Models and results in lines of plain text, as ``fit`` and ``show`` print them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

    from flowcli.config.schema import Chain, Config, Part
    from flowcli.tables.columns import Column
    from flowcli.transforms.catalogue import Cost


# In a list or table for people.
COLUMNS_SHOWN = 100


def given_options(columns: Sequence[Column]) -> str:
    """What ``flowcli sample`` must be told of a conditional model, with a space before each option."""
    context = [column.name for column in columns if column.context and column.kind != "constant"]
    return "".join(f" --given {shlex.quote(name)}=VALUE" for name in context)


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, each column as wide as its widest cell."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def column_lines(columns: Sequence[Column], measured: bool = True) -> list[str]:
    """Name, kind, role, what is known of each column, and why; ``measured`` when its spikes and bounds are."""
    return aligned(
        (c.name, _in_unit(c), "given" if c.context else "", "; ".join(filter(None, (_known(c), c.reason))))
        if measured
        else (c.name, c.kind, "", c.reason)
        for c in columns
    )


def _in_unit(column: Column) -> str:
    return f"{column.nature}, in {column.unit}" if column.unit else column.nature


def _known(column: Column) -> str:
    """What the training rows showed."""
    known = []
    if column.kind == "label":
        known.append(_first(column.categories))
    if column.kind == "ordinal":
        known.append(f"whole numbers around {column.mean:.0f}, spread {column.scale:.5g}")
    if column.spikes:
        spikes = "a spike" if len(column.spikes) == 1 else f"{len(column.spikes)} spikes"
        known.append(f"{spikes} at {_first([f'{spike:g}' for spike in column.spikes])}")
    if column.missing:
        known.append("holes")
    if column.fill is not None:
        known.append(f"holes filled with {column.fill}")
    if column.kind == "constant":
        known.append(f"always {column.value or 'missing'}; no part of log_prob")
    return "; ".join(known)


def _first(words: Sequence[str]) -> str:
    return f"{', '.join(words[:6])}{', ...' if len(words) > 6 else ''}"


def flow_lines(config: Config, columns: Sequence[Column]) -> list[str]:
    """One line for each transform, from base to data, chains indented, and what scoring and sampling cost.

    Of the models of labels, ordinals and numbers those are told that the columns have a use for.
    """
    assert config.flow is not None
    kinds = {column.name: "number" if column.numeric else column.kind for column in columns if not column.context}
    if any(column.partial for column in columns if not column.context):
        kinds |= {"the states of numbers": "label"}
    if config.flow.mixture is not None:
        lines = []
        parts: list[Part] = [*config.flow.mixture]
        for member in config.flow.mixture:
            how = "copy" if member.copies == 1 else "copies"
            start = "" if member.epochs != 0 else ", as it starts from its rows"
            lines.append(f"{member.copies} {how}{start}")
            lines += _part_lines(member, set(kinds.values()), "  ")
    elif config.flow.factors is None:
        lines = _part_lines(config.flow, set(kinds.values()), "")
        parts = [config.flow]
    else:
        lines = []
        parts = [*config.flow.factors]
        for factor in config.flow.factors:
            given = f" | {', '.join(factor.given)}" if factor.given else ""
            lines.append(f"p({', '.join(factor.columns)}{given})")
            lines += _part_lines(factor, {kinds.get(name, "") for name in factor.columns}, "  ")
    return [*lines, *(_cost_lines(parts) if "number" in kinds.values() else [])]


def _part_lines(part: Part, kinds: set[str], indent: str) -> list[str]:
    lines = []
    if "label" in kinds:
        lines.append(f"{indent}labels {_with_parameters(part.labels.name, part.labels.parameters)}")
    if "ordinal" in kinds:
        lines.append(f"{indent}ordinals {_with_parameters(part.ordinals.name, part.ordinals.parameters)}")
    if "number" in kinds:
        lines.append(f"{indent}base {_with_parameters(part.base.name, part.base.parameters)}")
        lines += _chain_lines(part, indent)
        if part.heavy_tails == "kept":
            lines.append(f"{indent}heavy tails kept")
    return lines


def _cost_lines(parts: Sequence[Part]) -> list[str]:
    """The dearest transform's cost, each way."""
    from flowcli.transforms.catalogue import COSTS

    both = [cost for part in parts for cost in _costs(part)] or [("1 pass", "1 pass")]
    scoring, sampling = (max(costs, key=COSTS.index) for costs in zip(*both, strict=True))
    return [f"cost: scoring {scoring}, sampling {sampling}"]


def _costs(chain: Part | Chain) -> list[tuple[Cost, Cost]]:
    from flowcli.config.schema import Chain
    from flowcli.transforms.registry import costs

    found = []
    for transform in chain.transforms or []:
        parameters = transform.parameters
        found += (
            _costs(parameters) if isinstance(parameters, Chain) else [costs(transform.name, parameters.model_dump())]
        )
    return found


def _with_parameters(name: str, parameters: BaseModel) -> str:
    listed = ", ".join(f"{key} {_as_yaml(value)}" for key, value in parameters.model_dump().items())
    return f"{name} ({listed})" if listed else name


def _as_yaml(value: Any) -> str:
    """A parameter's value as it stands in a config."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_as_yaml(item)}" for key, item in value.items()) + "}"
    return "[" + ", ".join(map(_as_yaml, value)) + "]" if isinstance(value, list) else str(value)


def _chain_lines(chain: Part | Chain, indent: str) -> list[str]:
    from flowcli.config.schema import Chain

    lines = []
    if chain.repeat > 1:
        lines.append(f"{indent}{chain.repeat} times:")
        indent += "  "
    for transform in chain.transforms or []:
        if isinstance(transform.parameters, Chain):
            lines += _chain_lines(transform.parameters, indent)
            continue
        lines.append(indent + _with_parameters(transform.name, transform.parameters))
    return lines


def mixture_lines(metrics: dict[str, Any]) -> list[str]:
    """What the members of a mixture are, how likely each kind alone finds held-out rows, and what it counts."""
    rows = [
        (
            f"{entry['copies']} x {entry['member']}" if entry["copies"] > 1 else entry["member"],
            f"{entry['held_out_log_likelihood']:.3f}" if entry["held_out_log_likelihood"] is not None else "",
            f"weight {entry['weight']:.3f}",
        )
        for entry in metrics.get("mixture") or []
    ]
    return aligned(rows)


def likelihood_lines(metrics: dict[str, Any]) -> list[str]:
    """Test and validation log-likelihoods beside the baselines'."""
    rows = [("test", metrics["test_log_likelihood"])]
    rows += [(f"test, {name} baseline", summary) for name, summary in metrics["baselines"].items()]
    rows += [("validation", metrics["validation_log_likelihood"])]
    return aligned((name, summary_words(summary)) for name, summary in rows if summary)


def summary_words(summary: dict[str, Any]) -> str:
    """A summary of log-likelihoods in a line."""
    if summary["impossible_rows"]:
        return f"-inf: {summary['impossible_rows']} of {summary['n']} rows have probability zero (an unseen label, say)"
    error = "" if summary["standard_error"] is None else f" ± {summary['standard_error']:.3f}"
    return f"{summary['mean']:.3f}{error}  ({summary['n']:,} rows, {summary['bits_per_dim']:.3f} bits per column)"
