"""Models and results in lines of plain text, as ``fit`` and ``show`` print them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

    from flowcli.config.schema import Chain, Config, Part
    from flowcli.tables.columns import Column


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, each column as wide as its widest cell."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def column_lines(columns: Sequence[Column], measured: bool = True) -> list[str]:
    """Name, kind, role and what is known of each column; ``measured`` when its mean and scale are."""
    return aligned((c.name, c.kind, "given" if c.context else "", _known(c) if measured else c.reason) for c in columns)


def _known(column: Column) -> str:
    if column.kind == "number":
        digits = "" if column.decimals is None else f", {column.decimals} decimals"
        return f"mean {column.mean:.5g}, standard deviation {column.scale:.5g}{digits}"
    if column.kind == "ordinal":
        return f"whole numbers, mean {column.mean:.5g}, standard deviation {column.scale:.5g}"
    if column.kind == "label":
        shown = ", ".join(column.categories[:6])
        return f"{len(column.categories)} labels: {shown}{', ...' if len(column.categories) > 6 else ''}"
    return f"always {column.value}; no part of log_prob"


def flow_lines(config: Config) -> list[str]:
    """One line for each transform, from base to data; chains are indented."""
    assert config.flow is not None
    if config.flow.factors is None:
        return _part_lines(config.flow, "")
    lines = []
    for factor in config.flow.factors:
        given = f" | {', '.join(factor.given)}" if factor.given else ""
        lines += [f"p({', '.join(factor.columns)}{given})", *_part_lines(factor, "  ")]
    return lines


def _part_lines(part: Part, indent: str) -> list[str]:
    lines = [f"{indent}base {_with_parameters(part.base.name, part.base.parameters)}"]
    return [*lines, *_chain_lines(part, indent)]


def _with_parameters(name: str, parameters: BaseModel) -> str:
    listed = ", ".join(f"{key} {value}" for key, value in parameters.model_dump().items())
    return f"{name} ({listed})" if listed else name


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


def likelihood_lines(metrics: dict[str, Any]) -> list[str]:
    """Test and validation log-likelihoods beside the baselines'."""
    rows = [("test", metrics["test_log_likelihood"])]
    rows += [(f"test, {name} baseline", summary) for name, summary in metrics["baselines"].items()]
    rows += [("validation", metrics["validation_log_likelihood"])]
    return aligned((name, _summary(summary)) for name, summary in rows if summary)


def _summary(summary: dict[str, Any]) -> str:
    if summary["impossible_rows"]:
        return f"-inf: {summary['impossible_rows']} of {summary['n']} rows have probability zero (an unseen label, say)"
    error = "" if summary["standard_error"] is None else f" ± {summary['standard_error']:.3f}"
    return f"{summary['mean']:.3f}{error}  ({summary['n']:,} rows, {summary['bits_per_dim']:.3f} bits per column)"
