"""The architecture when the config names none."""

from __future__ import annotations

from flowcli.config.schema import FlowConfig


def default_flow(rows: int, features: int) -> FlowConfig:
    """A maximum-likelihood linear map, then a rational-quadratic autoregressive flow sized by the training rows.

    Few rows get few bins and narrow networks: what a flow can learn beyond the linear map grows with them.
    """
    if rows < 500:
        layers, width, bins = 1, 16, 6
    elif rows < 3_000:
        layers, width, bins = 2, 32, 8
    elif rows < 30_000:
        layers, width, bins = 3, 64, 8
    else:
        layers, width, bins = 4, 128, 8
    spline = {"hidden": [width, width], "bins": bins}
    steps: list[object] = [
        {"spline_autoregressive": {**spline, "order": "reverse" if layer % 2 else "natural"}}
        for layer in range(layers, 0, -1)
    ]
    return FlowConfig.model_validate({"transforms": [*steps, "triangular_affine"]})
