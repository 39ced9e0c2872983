"""A training that was interrupted goes on as if nothing had happened."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

import flowcli.training.batches as batches
import flowcli.training.trainer as trainer
from flowcli.config.schema import Config
from flowcli.errors import ModelError
from flowcli.tensor_file import sealed
from flowcli.training.checkpoint import read_checkpoint_header, restore_checkpoint, save_checkpoint
from flowcli.training.trainer import Training

from .cases import banana, density, stop_after, train_config

SETTINGS: dict[str, Any] = {"epochs": 6, "noise": 0.05, "average": 0.9, "weight_decay": 0.1, "warmup": 5}


def start(**changed: Any) -> Training:
    config = train_config(**{**SETTINGS, **changed})
    return Training(density(banana(300, 0)), banana(300, 0), banana(60, 1), config, 0)


def interrupted(path: Path, after_steps: int, validated: bool = True) -> Training:
    """A training that was asked to stop after so many steps, and its checkpoint."""
    training = (
        start()
        if validated
        else Training(density(banana(300, 0)), banana(300, 0), banana(0, 1), train_config(**SETTINGS), 0)
    )
    steps = stop_after(training, after_steps)
    training.run(on_checkpoint=lambda t: save_checkpoint(path, t, Config(), {"files": ["a.csv"]}))
    assert training.progress.stopped_by == "interrupt"
    assert len(steps) == after_steps
    return training


# 300 rows in batches of 50: six steps an epoch.
@pytest.mark.parametrize("after_steps", [1, 5, 6, 7, 20, 35])
def test_resumed_weights_are_the_same_to_the_bit(tmp_path: Path, after_steps: int) -> None:
    path = tmp_path / "checkpoint.safetensors"
    interrupted(path, after_steps)
    whole, resumed = start(), start()
    whole.run()
    restore_checkpoint(path, resumed)
    resumed.run()
    for name, weight in whole.density.state_dict().items():
        assert torch.equal(weight, resumed.density.state_dict()[name]), name
    for one, two in zip(whole.progress.epochs, resumed.progress.epochs, strict=True):
        clock = {"seconds": 0.0, "rows_per_second": 0.0}
        assert replace(one, **clock) == replace(two, **clock)
    assert whole.progress.best_epoch == resumed.progress.best_epoch


@pytest.mark.parametrize("after_steps", [1, 9, 20])
def test_rows_that_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_steps: int) -> None:
    monkeypatch.setattr(batches, "BLOCK_ROWS", 16)
    monkeypatch.setattr(batches, "BLOCKS_MIXED", 5)
    test_resumed_weights_are_the_same_to_the_bit(tmp_path, after_steps)


def test_when_checkpoints_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, by time also within an epoch, after the best epochs, and at the end."""
    clock = itertools.count(step=4)
    monkeypatch.setattr(trainer.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(trainer, "MOST_TIME_FOR_CHECKPOINTS", 1.0)
    places: list[tuple[int, int]] = []
    training = start()
    training.run(on_checkpoint=lambda t: places.append((t.progress.epoch, t.progress.step)))
    assert places[0] == (0, 0)
    assert places[-1][0] == 6
    assert any(step for _, step in places)
    # Four seconds pass between two looks: enough for each best epoch to be saved.
    best = {epoch.number for epoch in training.progress.epochs if epoch.best}
    assert best <= {epoch for epoch, step in places if not step}


def test_the_header(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    training = interrupted(path, 8)
    header = read_checkpoint_header(path)
    assert header.config == Config()
    assert header.data == {"files": ["a.csv"]}
    assert (
        (header.progress["epoch"], header.progress["step"])
        == (training.progress.epoch, training.progress.step)
        == (1, 2)
    )


def test_without_validation_rows(tmp_path: Path) -> None:
    # Its likelihoods are NaN, which JSON has not.
    path = tmp_path / "checkpoint.safetensors"
    interrupted(path, 8, validated=False)
    resumed = Training(density(banana(300, 0)), banana(300, 0), banana(0, 1), train_config(**SETTINGS), 0)
    restore_checkpoint(path, resumed)
    assert resumed.run().best_epoch == 6


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    interrupted(path, 8)
    content = path.read_bytes()
    for damaged in (
        b"",
        content[:4],
        content[:200],
        content[:-1],
        content + b"0",
        b"a,b\n1,2\n",
        content[:8] + b"\xff" + content[9:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(ModelError) as refused:
            restore_checkpoint(path, start())
        assert "\n" not in str(refused.value)


def test_a_checkpoint_of_an_earlier_version_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    interrupted(path, 1)
    with safe_open(path, "pt") as file:
        metadata = {**file.metadata(), "format_version": "1"}
    path.write_bytes(sealed(save(load_file(path), metadata=metadata)))
    with pytest.raises(ModelError, match="begun by an earlier version of flowcli"):
        read_checkpoint_header(path)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    interrupted(path, 8)
    other = Training(
        density(banana(300, 0), "affine_coupling"), banana(300, 0), banana(60, 1), train_config(**SETTINGS), 0
    )
    with pytest.raises(ModelError) as refused:
        restore_checkpoint(path, other)
    assert "\n" not in str(refused.value)
