"""Small densities and rows to train on."""

from __future__ import annotations

from typing import Any

import torch
from flows.cases import layout

from flowcli.config.schema import FlowConfig, TrainConfig
from flowcli.flows.build import build_density
from flowcli.flows.density import TableDensity
from flowcli.flows.rows import Rows
from flowcli.training.trainer import Training


def rows(numbers: torch.Tensor, labels: torch.Tensor | None = None) -> Rows:
    n = len(numbers)
    codes = torch.empty(n, 0, dtype=torch.long) if labels is None else labels
    return Rows(numbers, codes, torch.empty(n, 0), torch.empty(n, 0))


def banana(n: int, seed: int) -> Rows:
    """Two columns, the second a parabola of the first."""
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return rows(torch.stack([noise[:, 0], 0.5 * noise[:, 0] ** 2 + 0.3 * noise[:, 1]], -1))


def density(training: Rows, *transforms: Any, seed: int = 0, labels: tuple[int, ...] = ()) -> TableDensity:
    """Built and started from the training rows."""
    config = FlowConfig.model_validate(
        {"transforms": list(transforms) or [{"spline_autoregressive": {"hidden": [16]}}]}
    )
    built = build_density(config, layout(training.numbers.shape[-1], labels), seed)
    assert isinstance(built, TableDensity)
    finite = training.numbers.isfinite().all(-1)
    built.initialize(training.take(finite.nonzero().squeeze(-1)))
    return built


def train_config(**changed: Any) -> TrainConfig:
    """Plain gradient steps: no warm-up, no decay of weights, no noise, no average."""
    return TrainConfig(
        **{"epochs": 5, "batch_size": 50, "warmup": 0, "weight_decay": 0.0, "noise": 0.0, "average": 0.0, **changed}
    )


def stop_after(training: Training, steps: int) -> list[None]:
    """Ask for an end in the step of this number; the list grows by one item a step."""
    assert training.optimizer is not None
    taken: list[None] = []
    step = training.optimizer.step

    def counted(learning_rate: float) -> None:
        step(learning_rate)
        taken.append(None)
        if len(taken) == steps:
            training.stop()

    training.optimizer.step = counted  # type: ignore[method-assign]
    return taken
