"""What fixes a fit, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load

from flowcli.config.load import dump_config
from flowcli.fitting import Fitted

from .cases import fit, weights


def test_the_resolved_config_fits_the_same_weights(mixed: pd.DataFrame, fitted: Fitted, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(fitted.model.header.config))
    again = fit(mixed, config=str(path)).model
    assert again.header.config == fitted.model.header.config
    for name, weight in weights(fitted.model).items():
        assert torch.equal(weight, weights(again)[name]), name


def test_another_seed_fits_other_weights(mixed: pd.DataFrame, fitted: Fitted) -> None:
    other = fit(mixed, "train.epochs=5", "seed=4", "flow.base=normal").model
    assert not all(torch.equal(weight, weights(other)[name]) for name, weight in weights(fitted.model).items())


def test_a_fit_leaves_the_global_generator_alone(mixed: pd.DataFrame) -> None:
    before = torch.random.get_rng_state()
    fit(mixed.head(60), "train.epochs=1")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_no_training_row_is_kept(fitted: Fitted, mixed: pd.DataFrame) -> None:
    content = fitted.model.to_bytes()
    for value in mixed["height"]:
        assert repr(value).encode() not in content
    for name, weight in load(content).items():
        assert len(mixed) not in weight.shape, name
