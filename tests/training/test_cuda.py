"""On a GPU: the same model as on the CPU, up to rounding, also where a training moves from one to the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from flowcli.config.schema import Config
from flowcli.model import Model
from flowcli.training.checkpoint import restore_checkpoint, save_checkpoint
from flowcli.training.trainer import Training

from .cases import banana, density, stop_after, train_config

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

SETTINGS: dict[str, Any] = {"epochs": 6, "noise": 0.05, "average": 0.9, "weight_decay": 0.1, "warmup": 5}
# Of float32 weights after some forty steps.
TOLERANCE = 1e-3


def start(device: str) -> Training:
    """A training of 300 rows in batches of 50: six steps an epoch."""
    place = torch.device(device)
    built = density(banana(300, 0)).to(place)
    return Training(built, banana(300, 0), banana(60, 1).to(place), train_config(**SETTINGS), 0)


@pytest.mark.parametrize("after_steps", [1, 9, 18])
@pytest.mark.parametrize(("first", "then"), [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")])
def test_a_training_goes_on_elsewhere(tmp_path: Path, first: str, then: str, after_steps: int) -> None:
    path = tmp_path / "checkpoint.safetensors"
    begun = start(first)
    stop_after(begun, after_steps)
    begun.run(on_checkpoint=lambda training: save_checkpoint(path, training, Config(), {"files": ["a.csv"]}))
    assert begun.progress.stopped_by == "interrupt"
    whole, resumed = start("cpu"), start(then)
    whole.run()
    restore_checkpoint(path, resumed)
    resumed.run()
    assert resumed.progress.best_epoch == whole.progress.best_epoch
    weights = resumed.density.state_dict()
    for name, weight in whole.density.state_dict().items():
        assert weights[name].device.type == then
        torch.testing.assert_close(weights[name].cpu(), weight, rtol=TOLERANCE, atol=TOLERANCE, msg=name)
    for one, two in zip(whole.progress.epochs, resumed.progress.epochs, strict=True):
        assert two.validation_log_likelihood == pytest.approx(one.validation_log_likelihood, abs=TOLERANCE)


@pytest.mark.parametrize("preset", ["maf", "nsf_coupling", "conditional", "discrete_flows", "factorised_iris"])
def test_commands_on_a_gpu(cli: Callable[..., Any], iris: Path, tmp_path: Path, preset: str) -> None:
    fit = ["fit", iris, "-c", preset, "-s", "train.epochs=3", "-q"]
    for device in ("cpu", "cuda"):
        done = cli(*fit, "-o", tmp_path / device, "--device", device)
        assert done.status == 0, done.err
    means = [
        json.loads((tmp_path / device / "metrics.json").read_text())["test_log_likelihood"]["mean"]
        for device in ("cpu", "cuda")
    ]
    assert means[0] == pytest.approx(means[1], abs=0.01)
    # One model, computed on either.
    model, given = tmp_path / "cuda", pd.read_csv(iris)
    here, there = (Model.load(model, device) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(there.log_prob(given), here.log_prob(given), rtol=1e-9, atol=1e-9)
    context = given if here.encoder.context else None
    n = 1 if context is not None else 50
    one, two = (each.sample(n, context, seed=3) for each in (here, there))
    pd.testing.assert_frame_equal(one, two, rtol=1e-6)
    latents = here.encode(given), there.encode(given)
    pd.testing.assert_frame_equal(*latents, rtol=1e-6)
