"""The architecture when the config names none."""

from __future__ import annotations

from typing import Any

from flowcli.config.distributions import BASES
from flowcli.config.schema import FlowConfig, Part, transform_names
from flowcli.transforms.registry import entries


def with_default(flow: FlowConfig | None, rows: int, features: int) -> FlowConfig:
    """The config's flow, its transforms chosen for the table where it names none."""
    if flow is None:
        return default_flow(rows, features)
    if flow.transforms is not None or flow.factors is not None:
        return flow
    chosen = default_flow(rows, features)
    return flow.model_copy(update={"repeat": chosen.repeat, "transforms": chosen.transforms})


def default_flow(rows: int, features: int) -> FlowConfig:
    """Autoregressive rational-quadratic splines between linear maps, sized by the training rows.

    The map nearest to the data takes its maximum-likelihood values and the splines start at the
    identity, so that training starts at the full-covariance Gaussian. Few rows get narrow networks.
    """
    if rows < 500:
        layers, width = 2, 16
    elif rows < 30_000:
        layers, width = 3, 64
    else:
        layers, width = 4, 128
    steps: list[Any] = [{"spline_autoregressive": {"hidden": [width, width]}}, "triangular_affine"]
    if features > 1:
        steps.append({"permute": {"order": "random"}})
    return FlowConfig.model_validate({"repeat": layers, "transforms": steps})


def mixes_all_columns(flow: FlowConfig | None) -> list[str]:
    """The names of the config's transforms and bases that cannot leave out columns of a row."""
    parts: list[Part] = [] if flow is None else [*flow.factors] if flow.factors is not None else [flow]
    names = [name for part in parts for name in (part.base.name, *transform_names(part))]
    able = {entry.name for entry in (*BASES, *entries().values()) if entry.skips_absent}
    return [name for name in dict.fromkeys(names) if name not in able]
