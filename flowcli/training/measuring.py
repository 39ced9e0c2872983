"""What a training measures of its density: running statistics, and the likelihood of held-out rows."""

from __future__ import annotations

import math

import torch

from flowcli.chunks import CHUNK
from flowcli.errors import ModelError
from flowcli.flows.density import Density, TableDensity
from flowcli.flows.rows import Rows
from flowcli.training.ensemble import Ensemble
from flowcli.training.processes import current
from flowcli.training.shared_rows import SharedRows, some_of
from flowcli.transforms.normalizing import BatchNorm

MEASURED_ROWS = 8192


@torch.no_grad()
def measure_statistics(density: Density, rows: Rows | SharedRows, device: torch.device) -> None:
    """Set running statistics to those of the rows.

    With averaged weights, what a layer sees is not what it saw while it was trained.
    """
    layers = [module for module in density.modules() if isinstance(module, BatchNorm)]
    if not layers:
        return
    density.eval()
    for layer in layers:
        layer.measuring = True
    density.log_prob(some_of(rows, MEASURED_ROWS).to(device))
    for layer in layers:
        layer.measuring = False


@torch.inference_mode()
def mean_log_likelihoods(density: TableDensity | Ensemble, rows: Rows) -> list[float]:
    """Of each density the mean over rows, in nats, with running statistics as they stand; over all processes' rows.

    Minus infinity if it cannot be computed. Rows ``(k, n, ...)`` are each density's own.
    """
    density.eval()
    size, count = density.size if isinstance(density, Ensemble) else 1, rows.numbers.shape[-2]
    total = torch.zeros(size, dtype=torch.float64)
    try:
        if count:
            parts = [density.log_prob(part) for part in rows.chunks(CHUNK)]
            total = torch.cat(parts, dim=-1).double().sum(-1).reshape(-1).cpu()
    except ModelError:
        total.fill_(-math.inf)
    total, rows_in_all = current().sums([total, torch.tensor([float(count)], dtype=torch.float64)])
    means: list[float] = (total / rows_in_all).tolist()
    return means
