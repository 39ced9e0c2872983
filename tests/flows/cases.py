"""Columns and rows of small densities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flowcli.flows.density import TableDensity
from flowcli.flows.flow import Flow
from flowcli.flows.layout import Layout
from flowcli.flows.rows import Rows


def layout(
    features: int = 0,
    cardinalities: Sequence[int] = (),
    context_features: int = 0,
    ordinals: Sequence[float] = (),
) -> Layout:
    """Numbers x1.., labels l1.., ordinals o1.. with their scales, and context c1.., of width 1 each."""
    return Layout(
        numbers=tuple(f"x{k}" for k in range(1, features + 1)),
        labels=tuple((f"l{k}", size) for k, size in enumerate(cardinalities, 1)),
        ordinals=tuple((f"o{k}", scale) for k, scale in enumerate(ordinals, 1)),
        context=tuple((f"c{k}", 1) for k in range(1, context_features + 1)),
    )


def rows(
    numbers: Tensor | None = None,
    labels: Tensor | None = None,
    context: Tensor | None = None,
    ordinals: Tensor | None = None,
) -> Rows:
    """Rows with what is given and nothing else."""
    n = next(len(part) for part in (numbers, labels, ordinals, context) if part is not None)
    nothing = torch.empty(n, 0, dtype=torch.get_default_dtype() if numbers is None else numbers.dtype)
    return Rows(
        nothing if numbers is None else numbers,
        nothing.long() if labels is None else labels,
        nothing if ordinals is None else ordinals,
        nothing if context is None else context,
    )


def flow_of(density: TableDensity, factor: int = 0) -> Flow:
    """The flow of one factor's numbers."""
    flow = density.factors[factor].flow
    assert isinstance(flow, Flow)
    return flow
