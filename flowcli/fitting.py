"""A fit from a table to a trained model with its scores."""

from __future__ import annotations

import csv
import io
import platform
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from flowcli.config.load import dump_config
from flowcli.config.schema import Config
from flowcli.errors import DataError, Interrupted
from flowcli.evaluation.baselines import gaussian_log_prob
from flowcli.evaluation.likelihood import summarize
from flowcli.flows.build import build_density
from flowcli.flows.default import with_default
from flowcli.flows.rows import Rows
from flowcli.model import Model
from flowcli.model_file import ModelHeader
from flowcli.preprocess.encoder import TableEncoder
from flowcli.runs import CONFIG, HISTORY, MODEL, TEST_SCORES
from flowcli.tables.columns import Column, fit_columns, infer_columns
from flowcli.tables.read import read_table
from flowcli.tables.split import split_rows
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
    table: Table,
    config: Config,
    *,
    device: str = "auto",
    data: dict[str, Any] | None = None,
    checkpoint: Path | None = None,
    observer: FitObserver | None = None,
) -> Fitted:
    """Train a model of a table and score its test rows.

    Args:
        table: all rows; the config says which are kept for validation and for the test.
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
    columns = infer_columns(table, config.data.context, config.data.drop, config.data.kinds)
    parts = _split(table, config)
    columns = fit_columns(columns, parts.training)
    encoder = TableEncoder(columns)
    if not encoder.modelled:
        raise DataError(f"{table.source()}: no column is left to model: every one is constant in the training rows")
    observer.columns(columns, len(parts.training), len(parts.validation), len(parts.test))

    parts = _without_unseen_context(parts, encoder, config, observer)
    encoded = [_encode(encoder, part) for part in (parts.training, parts.validation, parts.test)]
    training, validation, test = (Rows.of(part, torch.device("cpu"), torch.float64) for part in encoded)
    flow = with_default(config.flow, len(training), len(encoder.numbers))
    config = config.model_copy(update={"flow": flow, "train": resolve(config.train, len(training))})
    density = build_density(flow, encoder.layout, config.seed)
    on_device = [Rows.of(part, place, torch.float32) for part in encoded[:2]]
    density.to(place)
    # With the noise of training in them, so that columns that determine each other start no narrower.
    start = with_noise(on_device[0], config.train, config.seed)
    density.initialize(start)
    run = Training(density, on_device[0], on_device[1], config.train, config.seed)
    if checkpoint is not None:
        restore_checkpoint(checkpoint, run)
    observer.starts(run, config, str(place))
    result = run.run(
        lambda epoch: observer.epoch(_in_data_units(epoch, encoder.log_det)),
        lambda training: observer.checkpoint(training, config),
    )
    if result.stopped_by == "interrupt":
        raise Interrupted(f"interrupted in epoch {result.epoch + 1}")
    result.epochs = [_in_data_units(epoch, encoder.log_det) for epoch in result.epochs]
    observer.trained(result)
    header = ModelHeader(
        config=config,
        columns=columns,
        metrics={},
        versions=_versions(),
        data=data or {},
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    model = Model(header, density, place)
    test_log_prob = model.log_prob(parts.test)
    gaussian = gaussian_log_prob(training, test, density.cardinalities) + encoder.log_det
    header.metrics = {
        "test_log_likelihood": summarize(test_log_prob, encoder.modelled) if len(test) else None,
        "validation_log_likelihood": summarize(model.log_prob(parts.validation), encoder.modelled)
        if len(validation)
        else None,
        "baselines": {"gaussian": summarize(gaussian, encoder.modelled)} if len(test) else {},
        "parameters": sum(parameter.numel() for parameter in density.parameters()),
        "epochs": len(result.epochs),
        "best_epoch": result.best_epoch,
        "seconds": round(result.seconds, 3),
        "stopped_by": result.stopped_by,
        "skipped_steps": result.skipped_steps,
        "rows": {"training": len(training), "validation": len(validation), "test": len(test)},
    }
    return Fitted(model, result, parts.test_rows, test_log_prob)


@dataclass(frozen=True)
class _Parts:
    training: Table
    validation: Table
    test: Table
    test_rows: npt.NDArray[np.int64]


def _split(table: Table, config: Config) -> _Parts:
    shares = [part if isinstance(part, float) else 0.0 for part in (config.data.validation, config.data.test)]
    try:
        training, validation, test = split_rows(len(table), shares[0], shares[1], config.seed)
    except DataError as error:
        raise DataError(f"{table.source()}: {error}") from None
    test_rows = test + 1
    tables = [table.take(rows) for rows in (training, validation, test)]
    if isinstance(config.data.validation, str):
        tables[1] = read_table([config.data.validation])
    if isinstance(config.data.test, str):
        tables[2] = read_table([config.data.test])
        test_rows = np.arange(1, len(tables[2]) + 1)
    return _Parts(tables[0], tables[1], tables[2], test_rows)


def _without_unseen_context(parts: _Parts, encoder: TableEncoder, config: Config, observer: FitObserver) -> _Parts:
    """Leave out of the split's validation and test rows whose context labels no training row has."""
    kept = {}
    for name, share in (("validation", config.data.validation), ("test", config.data.test)):
        table: Table = getattr(parts, name)
        bad = encoder.encode(table).bad
        if bad and isinstance(share, float):
            observer.note(f"{len(bad):,} {name} rows are left out: {bad[min(bad)]}")
            kept[name] = np.setdiff1d(np.arange(len(table)), list(bad))
    return _Parts(
        parts.training,
        parts.validation.take(kept["validation"]) if "validation" in kept else parts.validation,
        parts.test.take(kept["test"]) if "test" in kept else parts.test,
        parts.test_rows[kept["test"]] if "test" in kept else parts.test_rows,
    )


def _encode(encoder: TableEncoder, table: Table) -> Any:
    encoded = encoder.encode(table)
    if encoded.bad:
        row = min(encoded.bad)
        raise DataError(f"{table.locate(row)}, {encoded.bad[row]}")
    return encoded


def _in_data_units(epoch: Epoch, log_det: float) -> Epoch:
    return replace(
        epoch,
        training_log_likelihood=epoch.training_log_likelihood + log_det,
        validation_log_likelihood=epoch.validation_log_likelihood + log_det,
    )


def _versions() -> dict[str, str]:
    packages = ("flowcli", "torch", "pyro-ppl", "numpy", "pyarrow")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}


def _csv(header: list[str], rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([["" if value != value else value for value in row] for row in rows])
    return text.getvalue().encode()
