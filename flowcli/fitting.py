"""A fit from a table to a trained model with its scores."""

from __future__ import annotations

import csv
import functools
import io
import math
import platform
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import torch

from flowcli import __version__
from flowcli.config.load import dump_config
from flowcli.config.schema import Config, FlowConfig, TrainConfig
from flowcli.errors import ConfigError, Interrupted, ModelError
from flowcli.evaluation.baselines import Gaussian
from flowcli.evaluation.inverse import inverse_errors
from flowcli.evaluation.likelihood import summarize
from flowcli.flows.build import build_density
from flowcli.flows.default import default_training, with_default, with_split
from flowcli.flows.density import Density, TableDensity
from flowcli.flows.layout import Layout
from flowcli.flows.mixture import MixtureDensity
from flowcli.flows.rows import Rows
from flowcli.model import Model
from flowcli.model_file import ModelHeader
from flowcli.preparing import Prepared, Surveyed, prepare, survey_for
from flowcli.runs import CHECKPOINT, CONFIG, HISTORY, MODEL, TEST_SCORES
from flowcli.tables.arrays import integers, numbers
from flowcli.tables.columns import Column
from flowcli.tables.source import MOST_ROWS_IN_MEMORY, InMemory, TableSource
from flowcli.tables.table import Table
from flowcli.training.checkpoint import restore_checkpoint
from flowcli.training.defaults import resolve
from flowcli.training.devices import resolve_device
from flowcli.training.mixture import MixtureTraining
from flowcli.training.processes import current
from flowcli.training.products import fast_products
from flowcli.training.progress import Epoch, Progress
from flowcli.training.shared_rows import SharedRows, some_of
from flowcli.training.threads import torch_threads
from flowcli.training.trainer import Training, with_noise
from flowcli.transforms.normalizing import BatchNorm

# So many rows are encoded and decoded at the end of a fit.
MOST_INVERTED = 500
# What is kept of train.max_time for reading rows, for scoring them at the end, and for writing: a share at most, in all
# so many seconds, and more for each row that is scored.
MOST_TIME_FOR_THE_REST = 0.12
SECONDS_FOR_THE_REST = 15.0
SECONDS_FOR_A_SCORED_ROW = 1e-3


class FitObserver:
    """Told of a fit's progress. Every method may be left as it is."""

    def columns(self, columns: list[Column], training: int, validation: int, test: int) -> None:
        """The columns are known, and how many rows go where."""

    def starts(self, training: Training | MixtureTraining, config: Config, device: str) -> None:
        """The model is built; training begins, or goes on."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

    def detail(self, text: str) -> None:
        """Something that few need to know."""

    def checkpoint(self, training: Training | MixtureTraining, config: Config) -> None:
        """A good moment to save where training stands."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch is over; likelihoods are in the data's own units."""

    def trained(self, progress: Progress) -> None:
        """Training is over."""


class FitObservers(FitObserver):
    """Several observers as one; each is told everything, in order."""

    def __init__(self, *observers: FitObserver) -> None:
        self.observers = observers

    def columns(self, columns: list[Column], training: int, validation: int, test: int) -> None:
        for observer in self.observers:
            observer.columns(columns, training, validation, test)

    def starts(self, training: Training | MixtureTraining, config: Config, device: str) -> None:
        for observer in self.observers:
            observer.starts(training, config, device)

    def note(self, text: str) -> None:
        for observer in self.observers:
            observer.note(text)

    def detail(self, text: str) -> None:
        for observer in self.observers:
            observer.detail(text)

    def checkpoint(self, training: Training | MixtureTraining, config: Config) -> None:
        for observer in self.observers:
            observer.checkpoint(training, config)

    def epoch(self, epoch: Epoch) -> None:
        for observer in self.observers:
            observer.epoch(epoch)

    def trained(self, progress: Progress) -> None:
        for observer in self.observers:
            observer.trained(progress)


@dataclass(frozen=True)
class Trained:
    """A trained density, its resolved config, and how training went.

    Of a mixture: what its members are and count; ``held_out_log_prob``: with folds, the training rows' log-densities by
    members that have not learned from them, in nats.
    """

    config: Config
    density: Density
    device: torch.device
    progress: Progress
    mixture: list[dict[str, Any]]
    held_out_log_prob: npt.NDArray[np.float64] | None


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
            HISTORY: history_csv(self.training),
            TEST_SCORES: test_scores_csv(self.test_rows, self.test_log_prob),
            MODEL: self.model.to_bytes(),
        }


def fit_table(
    table: Table | TableSource,
    config: Config,
    *,
    surveyed: Surveyed | None = None,
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
    # Before rows are read: there may be no such device.
    resolve_device(device)
    source = InMemory(table) if isinstance(table, Table) else table
    surveyed = surveyed or survey_for(source, config)
    processes = current()
    with processes.failing_together():
        config = with_split(config, surveyed.rows)
        prepared = prepare(source, surveyed, config, observer.note, observer.columns)
    trained = train_prepared(prepared, config, device=device, checkpoint=checkpoint, observer=observer)
    with processes.failing_together():
        model = model_of(trained, prepared, data)
        test_rows = np.concatenate(processes.every(prepared.test_rows))
        return Fitted(model, trained.progress, test_rows, score_test_rows(model, prepared))


def train_prepared(
    prepared: Prepared,
    config: Config,
    *,
    device: str = "auto",
    checkpoint: Path | None = None,
    observer: FitObserver | None = None,
) -> Trained:
    """Train a density of prepared rows; the test rows are not looked at. Errors as in :func:`fit_table`."""
    observer = observer or FitObserver()
    place = resolve_device(device)
    encoder, training = prepared.encoder, prepared.training
    processes = current()
    flow = with_default(config.flow, len(training), encoder.layout)
    train = _resolved(config.train, flow, len(training), encoder.layout)
    config = config.model_copy(update={"flow": flow, "train": train})
    density = build_density(flow, encoder.layout, config.seed).to(place)
    if processes.world > 1 and any(isinstance(module, BatchNorm) for module in density.modules()):
        raise ConfigError(["batchnorm: its statistics are those of a batch, of which each process has a part; actnorm"])
    # A row outside its columns' bounds has no likelihood to compare; so many rows are enough to decide when to stop.
    comparable = np.flatnonzero(~prepared.validation.outside)
    counts = processes.every(len(comparable))
    step = max(1, math.ceil(sum(counts) / MOST_ROWS_IN_MEMORY))
    some = comparable[-sum(counts[: processes.rank]) % step :: step]
    validation = Rows.of(prepared.validation.take(some), place, torch.float32)
    run = _training(density, flow, training, validation, _limited(config, sum(prepared.counts[1:])))
    _go_on(run, checkpoint, config)
    observer.starts(run, config, str(place))
    with torch_threads(config.train.threads), fast_products(density, place):
        result = run.run(observer.epoch, lambda training: observer.checkpoint(training, config), observer.detail)
    if result.stopped_by == "interrupt":
        raise Interrupted(f"interrupted in epoch {result.epoch + 1}")
    processes.make_alike(density)
    observer.trained(result)
    if not isinstance(run, MixtureTraining):
        return Trained(config, density, place, result, [], None)
    held_out = run.held_out_log_prob.numpy() if run.parts > 1 else None
    return Trained(config, density, place, result, run.entries_told(), held_out)


def model_of(trained: Trained, prepared: Prepared, data: dict[str, Any] | None = None) -> Model:
    """The model of a trained density, with all figures but those of the test rows."""
    encoder, result = prepared.encoder, trained.progress
    header = ModelHeader(
        make_config=lambda: trained.config,
        columns=list(encoder.columns),
        metrics={},
        versions=_versions(),
        data=data or {},
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    model = Model.of(header, trained.density, trained.device)
    validation_log_prob = trained.held_out_log_prob
    if validation_log_prob is None:
        validation_log_prob = np.concatenate(current().every(model.score_encoded(prepared.validation)))
    header.metrics = {
        "test_log_likelihood": None,
        "validation_log_likelihood": summarize(validation_log_prob, encoder.modelled)
        if len(validation_log_prob)
        else None,
        "baselines": {},
        "parameters": sum(parameter.numel() for parameter in trained.density.parameters()),
        "epochs": len(result.epochs),
        "best_epoch": result.best_epoch,
        "seconds": round(result.seconds, 3),
        "stopped_by": result.stopped_by,
        "skipped_steps": result.skipped_steps,
        "inverse_error": _inverse_error(model, prepared.sample),
        "rows": dict(zip(("training", "validation", "test"), prepared.counts, strict=True)),
    }
    if trained.mixture:
        header.metrics["mixture"] = trained.mixture
    return model


def score_test_rows(model: Model, prepared: Prepared) -> npt.NDArray[np.float64]:
    """All processes' test rows' log-likelihoods ``(n,)``; their figures, and the baselines', go to the metrics."""
    own = current().every((model.score_encoded(prepared.test), _gaussian(prepared)))
    test_log_prob, gaussian = (np.concatenate(parts) for parts in zip(*own, strict=True))
    modelled = prepared.encoder.modelled
    if len(test_log_prob):
        model.header.metrics["test_log_likelihood"] = summarize(test_log_prob, modelled)
        model.header.metrics["baselines"] = {"gaussian": summarize(gaussian, modelled)}
    return test_log_prob


def _resolved(train: TrainConfig, flow: FlowConfig, rows: int, layout: Layout) -> TrainConfig:
    return resolve(train if flow.mixture is None else default_training(train, rows, layout), rows)


def _limited(config: Config, scored_rows: int) -> Config:
    """The config with the part of its time that is left for training."""
    whole = config.train.max_time
    if whole is None:
        return config
    rest = min(MOST_TIME_FOR_THE_REST * whole, SECONDS_FOR_THE_REST + SECONDS_FOR_A_SCORED_ROW * scored_rows)
    return config.model_copy(update={"train": config.train.model_copy(update={"max_time": whole - rest})})


def _training(
    density: Density, flow: FlowConfig, training: Rows | SharedRows, validation: Rows, config: Config
) -> Training | MixtureTraining:
    """The training of a density that is on its device, where that of the validation rows is."""
    if isinstance(density, MixtureDensity):
        assert flow.mixture is not None
        return MixtureTraining(density, flow.mixture, training, validation, config.train, config.seed)
    assert isinstance(density, TableDensity)
    # With the noise of training in them, so that columns that determine each other start no narrower.
    start = some_of(training, MOST_ROWS_IN_MEMORY).to(validation.numbers.device)
    density.initialize(with_noise(density, start, config.train, config.seed)[0])
    return Training(density, training, validation, config.train, config.seed)


def _go_on(run: Training | MixtureTraining, checkpoint: Path | None, config: Config) -> None:
    """Go on from the checkpoint, which the first process reads for all.

    Raises:
        UsageError: it is of another config.
        ModelError: it is damaged.
    """
    content = current().of_first(lambda: None if checkpoint is None else checkpoint.read_bytes())
    if content is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        if checkpoint is None or not current().first:
            checkpoint = Path(folder) / CHECKPOINT
            checkpoint.write_bytes(content)
        restore_checkpoint(checkpoint, run, config)


def _inverse_error(model: Model, rows: Rows) -> dict[str, float | None]:
    """Of each number column, by how much of its scale some training rows do not come back from their latents.

    ``None`` where they do not come back at all.
    """
    some = some_of(rows, MOST_INVERTED).to(model.device)
    names = model.encoder.layout.numbers
    try:
        errors = inverse_errors(model.density, some)
    except ModelError:
        errors = [math.inf] * len(names)
    return {name: error if math.isfinite(error) else None for name, error in zip(names, errors, strict=True)}


def _gaussian(prepared: Prepared) -> npt.NDArray[np.float64]:
    """The Gaussian's log-likelihoods of the test rows ``(n,)``, so many at a time."""
    starts = range(0, max(1, len(prepared.test.numbers)), MOST_ROWS_IN_MEMORY)
    parts = (prepared.test.take(slice(start, start + MOST_ROWS_IN_MEMORY)) for start in starts)
    rows = (Rows.of(part, torch.device("cpu"), torch.float64) for part in parts)
    baseline = Gaussian(prepared.sample, prepared.encoder.layout)
    return np.concatenate([baseline.log_prob(each) for each in rows])


@functools.cache
def _version(package: str) -> str:
    return version(package)


def _versions() -> dict[str, str]:
    found = {package: _version(package) for package in ("torch", "pyro-ppl", "numpy", "pyarrow")}
    return {"flowcli": __version__, "python": platform.python_version(), **found}


def history_csv(progress: Progress) -> bytes:
    """``history.csv``: one row for each epoch."""
    return _csv(
        ["epoch", "training_log_likelihood", "validation_log_likelihood", "learning_rate", "seconds"],
        [
            [e.number, e.training_log_likelihood, e.validation_log_likelihood, e.learning_rate, e.seconds]
            for e in progress.epochs
        ],
    )


def test_scores_csv(rows: npt.NDArray[np.int64], log_prob: npt.NDArray[np.float64]) -> bytes:
    """``test_scores.csv``."""
    text = io.BytesIO(b"row,log_prob\n")
    text.seek(0, io.SEEK_END)
    pa.csv.write_csv(
        pa.table([integers(rows), numbers(log_prob)], ["row", "log_prob"]),
        text,
        pa.csv.WriteOptions(include_header=False),
    )
    return text.getvalue()


def _csv(header: list[str], rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([["" if value != value else value for value in row] for row in rows])
    return text.getvalue().encode()
