"""Fits of small tables."""

from __future__ import annotations

import pandas as pd
import torch

from flowcli.config.load import load_config
from flowcli.fitting import Fitted, fit_table
from flowcli.model import Model
from flowcli.tables.frames import as_table

# A single flow; the default is a mixture.
QUICK = ("train.epochs=5", "seed=3", "flow.base=normal")
ALL_ROWS = ("data.validation=0.0", "data.test=0.0")


def fit(frame: pd.DataFrame, *settings: str, config: str | None = None) -> Fitted:
    return fit_table(as_table(frame), load_config(config, list(settings)), device="cpu")


def weights(model: Model) -> dict[str, torch.Tensor]:
    return model.density.state_dict()
