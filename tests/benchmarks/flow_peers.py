"""Flows of other libraries, trained until rows that were held out gain no more."""

from __future__ import annotations

import copy
import math
import time

import numpy as np
import torch
from architecture import Architecture
from numpy.typing import NDArray
from peers import LIBRARIES, TorchModel, mean_loss

Rows = NDArray[np.float64]
WIDTH = 64
BATCH, SMALL_BATCH = 256, 64
# Below so many rows the batches are small.
FEW_ROWS = 1000
LEARNING_RATE = 1e-3
LARGEST_NORM = 5.0
# Epochs without gain until the learning rate is halved, and until training ends.
PLATEAU, PATIENCE = 10, 30
SCORED = 4096


def trained(library: str, kind: str, train: Rows, validation: Rows, test: Rows, seed: int, limit: float) -> Rows:
    """Log-densities of the test rows; Adam, and of all epochs the weights that suit the validation rows best.

    All rows are standardised; ``limit`` is in seconds of the processor's time, of which a busy machine takes none.
    """
    torch.manual_seed(seed)
    model = LIBRARIES[library](Architecture(kind, train.shape[1], WIDTH))
    rows, held_out, others = (torch.from_numpy(part).float() for part in (train, validation, test))
    _train(model, rows, held_out, limit)
    return _score(model, others).double().numpy()


def _train(model: TorchModel, rows: torch.Tensor, held_out: torch.Tensor, limit: float) -> None:
    optimizer = torch.optim.Adam(model.module.parameters(), lr=LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=PLATEAU)
    size = BATCH if len(rows) >= FEW_ROWS else SMALL_BATCH
    end = time.process_time() + limit
    best, weights, without_gain = math.inf, copy.deepcopy(model.module.state_dict()), 0
    while without_gain < PATIENCE and time.process_time() < end:
        for batch in torch.randperm(len(rows)).split(size):
            optimizer.zero_grad()
            mean_loss(model.log_prob)(rows[batch]).backward()
            norm = torch.nn.utils.clip_grad_norm_(model.module.parameters(), LARGEST_NORM)
            if torch.isfinite(norm):
                optimizer.step()
            if time.process_time() > end:
                break
        loss = -float(_score(model, held_out).mean())
        loss = loss if math.isfinite(loss) else math.inf
        schedule.step(loss)
        without_gain += 1
        if loss < best:
            best, weights, without_gain = loss, copy.deepcopy(model.module.state_dict()), 0
    model.module.load_state_dict(weights)


@torch.no_grad()
def _score(model: TorchModel, rows: torch.Tensor) -> torch.Tensor:
    return torch.cat([model.log_prob(part) for part in rows.split(SCORED)])
