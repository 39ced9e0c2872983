"""The architecture when the config names none."""

from __future__ import annotations

from typing import Any

from flowcli.config.schema import FlowConfig


def default_flow(rows: int, features: int) -> FlowConfig:
    """Autoregressive rational-quadratic splines between linear maps, sized by the training rows.

    The map nearest to the data takes its maximum-likelihood values and the splines start at the
    identity, so that training starts at the full-covariance Gaussian. Few rows get one narrow layer.
    """
    if rows < 500:
        layers, width, bins = 1, 16, 6
    elif rows < 30_000:
        layers, width, bins = 3, 64, 8
    else:
        layers, width, bins = 4, 128, 8
    steps: list[Any] = [{"spline_autoregressive": {"hidden": [width, width], "bins": bins}}, "triangular_affine"]
    if features > 1:
        steps.append({"permute": {"order": "random"}})
    return FlowConfig.model_validate({"repeat": layers, "transforms": steps})
