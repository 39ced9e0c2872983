"""What a training takes where its config leaves it to the number of rows."""

from __future__ import annotations

import math

from flowcli.config.schema import TrainConfig

BATCHES = 20
LEARNING_RATE = 2e-3
EPOCHS = 400
PATIENCE = 50


def resolve(config: TrainConfig, rows: int) -> TrainConfig:
    """The config with what is left to the number of training rows filled in.

    An epoch has about twenty batches, of 16 to 512 rows. Weight decay shrinks the flow towards
    its start, and noise smooths the rows (Rothfuss et al. 2019), the more the fewer the rows.
    """
    chosen = {
        "learning_rate": LEARNING_RATE,
        "epochs": EPOCHS,
        "patience": PATIENCE,
        "cuts": 0,
        "batch_size": min(512, max(16, 2 ** round(math.log2(rows / BATCHES)))),
        "weight_decay": min(1.0, round(100 / rows, 6)),
        "noise": min(0.1, round(10 / rows, 6)),
    }
    return config.model_copy(update={key: value for key, value in chosen.items() if getattr(config, key) is None})
