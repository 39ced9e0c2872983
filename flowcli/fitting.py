"""A fit from a table to a trained model with its scores."""

from __future__ import annotations

import csv
import io
import math
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from flowcli.config.load import dump_config
from flowcli.config.schema import Config
from flowcli.errors import Interrupted
from flowcli.evaluation.baselines import gaussian_log_prob
from flowcli.evaluation.likelihood import summarize
from flowcli.flows.build import build_density
from flowcli.flows.default import with_default
from flowcli.flows.rows import Rows
from flowcli.model import Model
from flowcli.model_file import ModelHeader
from flowcli.preparing import prepare
from flowcli.runs import CONFIG, HISTORY, MODEL, TEST_SCORES
from flowcli.tables.columns import Column
from flowcli.tables.source import MOST_ROWS_IN_MEMORY, InMemory, Survey, TableSource, survey
from flowcli.tables.table import Table
from flowcli.training.checkpoint import restore_checkpoint
from flowcli.training.devices import resolve_device
from flowcli.training.trainer import Epoch, Progress, Training, resolve, with_noise


class FitObserver:
    """Told of a fit's progress. Every method may be left as it is."""

    def columns(self, columns: list[Column], training: int, validation: int, test: int) -> None:
        """The columns are known, and how many rows go where."""

    def starts(self, training: Training, config: Config, device: str) -> None:
        """The model is built; training begins, or goes on."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

    def checkpoint(self, training: Training, config: Config) -> None:
        """A good moment to save where training stands."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch is over; likelihoods are in the data's own units."""

    def trained(self, progress: Progress) -> None:
        """Training is over."""


@dataclass(frozen=True)
class Fitted:
    """A trained model, how its training went, and the scores of the test rows."""

    model: Model
    training: Progress
    test_rows: npt.NDArray[np.int64]
    test_log_prob: npt.NDArray[np.float64]

    @property
    def metrics(self) -> dict[str, Any]:
        """Every figure, as in ``metrics.json``."""
        return self.model.header.metrics

    def files(self) -> dict[str, bytes]:
        """The run folder's files, by name, without ``metrics.json``."""
        return {
            CONFIG: dump_config(self.model.header.config).encode(),
            HISTORY: _csv(
                ["epoch", "training_log_likelihood", "validation_log_likelihood", "learning_rate", "seconds"],
                [
                    [e.number, e.training_log_likelihood, e.validation_log_likelihood, e.learning_rate, e.seconds]
                    for e in self.training.epochs
                ],
            ),
            TEST_SCORES: _csv(
                ["row", "log_prob"],
                [[int(r), float(v)] for r, v in zip(self.test_rows, self.test_log_prob, strict=True)],
            ),
            MODEL: self.model.to_bytes(),
        }


def fit_table(
    table: Table | TableSource,
    config: Config,
    *,
    surveyed: Survey | None = None,
    device: str = "auto",
    data: dict[str, Any] | None = None,
    checkpoint: Path | None = None,
    observer: FitObserver | None = None,
) -> Fitted:
    """Train a model of a table and score its test rows.

    Args:
        table: all rows, or where they come from; the config says which are kept for validation and for the test.
        surveyed: a survey of the source, if there has been one.
        data: what is known of the data's files, to be kept with the model.
        checkpoint: a checkpoint of the same table and config to go on from.

    Raises:
        DataError: the table cannot be modelled.
        ConfigError: the config does not fit the table.
        ModelError: the checkpoint is damaged.
        Interrupted: ``training.stop()`` was called; the observer was given a checkpoint before.
    """
    observer = observer or FitObserver()
    place = resolve_device(device)
    source = InMemory(table) if isinstance(table, Table) else table
    prepared = prepare(source, surveyed or survey(source), config, observer.note, observer.columns)
    encoder, training = prepared.encoder, prepared.training
    flow = with_default(config.flow, len(training), len(encoder.numbers))
    config = config.model_copy(update={"flow": flow, "train": resolve(config.train, len(training))})
    density = build_density(flow, encoder.layout, config.seed)
    # A row outside its columns' bounds has no likelihood to compare.
    validation = Rows.of(prepared.validation.take(np.flatnonzero(~prepared.validation.outside)), place, torch.float32)
    training = training.to(place)
    density.to(place)
    # With the noise of training in them, so that columns that determine each other start no narrower.
    start = training.take(torch.arange(0, len(training), math.ceil(len(training) / MOST_ROWS_IN_MEMORY), device=place))
    density.initialize(with_noise(density, start, config.train, config.seed)[0])
    run = Training(density, training, validation, config.train, config.seed)
    if checkpoint is not None:
        restore_checkpoint(checkpoint, run)
    observer.starts(run, config, str(place))
    result = run.run(observer.epoch, lambda training: observer.checkpoint(training, config))
    if result.stopped_by == "interrupt":
        raise Interrupted(f"interrupted in epoch {result.epoch + 1}")
    observer.trained(result)
    header = ModelHeader(
        config=config,
        columns=list(encoder.columns),
        metrics={},
        versions=_versions(),
        data=data or {},
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    model = Model(header, density, place)
    test_log_prob, validation_log_prob = (model.score_encoded(part) for part in (prepared.test, prepared.validation))
    test = Rows.of(prepared.test, torch.device("cpu"), torch.float64)
    gaussian = gaussian_log_prob(prepared.sample, test, encoder.layout)
    header.metrics = {
        "test_log_likelihood": summarize(test_log_prob, encoder.modelled) if len(test) else None,
        "validation_log_likelihood": summarize(validation_log_prob, encoder.modelled)
        if len(validation_log_prob)
        else None,
        "baselines": {"gaussian": summarize(gaussian, encoder.modelled)} if len(test) else {},
        "parameters": sum(parameter.numel() for parameter in density.parameters()),
        "epochs": len(result.epochs),
        "best_epoch": result.best_epoch,
        "seconds": round(result.seconds, 3),
        "stopped_by": result.stopped_by,
        "skipped_steps": result.skipped_steps,
        "rows": {"training": len(training), "validation": len(validation_log_prob), "test": len(test)},
    }
    return Fitted(model, result, prepared.test_rows, test_log_prob)


def _versions() -> dict[str, str]:
    packages = ("flowcli", "torch", "pyro-ppl", "numpy", "pyarrow")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}


def _csv(header: list[str], rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([["" if value != value else value for value in row] for row in rows])
    return text.getvalue().encode()
