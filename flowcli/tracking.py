"""Fits as experiment trackers have them: TensorBoard and MLflow."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from flowcli.config.load import dump_config
from flowcli.config.schema import Config
from flowcli.errors import FlowcliError, first_line
from flowcli.fitting import FitObserver
from flowcli.runs import CHECKPOINT, FILES
from flowcli.training.mixture import MixtureTraining
from flowcli.training.progress import Epoch
from flowcli.training.trainer import Training

EXPERIMENT = "flowcli"
# Where MLflow writes, unless MLFLOW_TRACKING_URI says otherwise.
MLRUNS = "mlruns"
EVENTS = "events.out.tfevents.*"
LONGEST_VALUE = 500


class Log(Protocol):
    """What a tracker's library is asked for. Any of it may fail in ways of its own."""

    def begin(self, parameters: dict[str, Any], config: str) -> None:
        """Training begins."""

    def figures(self, values: dict[str, float], step: int) -> None:
        """Finite figures after an epoch, or at the end."""

    def end(self, status: str) -> None:
        """``FINISHED``, with the run's files in their folder; ``FAILED``, or ``KILLED`` by a signal."""


class TensorBoardLog:
    """Events in the run's folder, so that ``tensorboard --logdir runs`` shows each run by its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, parameters: dict[str, Any], config: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # An earlier run's would be shown as if they were of this one.
        for file in self.folder.glob(EVENTS):
            file.unlink()
        self.writer = SummaryWriter(str(self.folder))
        self.writer.add_text("config", "\n".join(f"    {line}" for line in config.splitlines()))
        listed = "\n".join(f"    {name}: {value}" for name, value in parameters.items())
        self.writer.add_text("parameters", listed)

    def figures(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def end(self, status: str) -> None:
        self.writer.close()


class MLflowLog:
    """A run of the experiment ``flowcli`` (or ``$MLFLOW_EXPERIMENT_NAME``), under the folder's name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, parameters: dict[str, Any], config: str) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param, RunTag

        place = os.environ.get("MLFLOW_TRACKING_URI")
        if not place:
            # Newer versions want a database, for which there is not always a driver, unless they are told.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            place = Path(MLRUNS).absolute().as_uri()
        self.client: Any = MlflowClient(tracking_uri=place)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        known = self.client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self.client.create_experiment(name)
        self.run = self.client.create_run(experiment, run_name=self.folder.name).info.run_id
        listed = [Param(name, str(value)[:LONGEST_VALUE]) for name, value in parameters.items()]
        self.client.log_batch(self.run, params=listed, tags=[RunTag("flowcli.folder", str(self.folder.absolute()))])
        self.client.log_text(self.run, config, "config.yaml")

    def figures(self, values: dict[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def end(self, status: str) -> None:
        if status == "FINISHED":
            for name in FILES:
                if name != CHECKPOINT and (self.folder / name).is_file():
                    self.client.log_artifact(self.run, str(self.folder / name))
        self.client.set_terminated(self.run, status)


_LOGS: dict[str, Callable[[Path], Log]] = {"tensorboard": TensorBoardLog, "mlflow": MLflowLog}


class Tracking(FitObserver):
    """Tells a tracker of a fit: an observer, and at the end of the fit :meth:`finished` or :meth:`failed`.

    A tracker that fails when training begins ends the fit. One that fails later does not: what was trained is worth
    more, and people are told.
    """

    def __init__(self, tracker: str, folder: Path, tell: Callable[[str], None]) -> None:
        """``tracker``: ``tensorboard`` or ``mlflow``; ``tell`` is called when tracking ends early."""
        self.tracker = tracker
        self.tell = tell
        self.log = _LOGS[tracker](folder)
        self.works = False
        self.last = 0

    def starts(self, training: Training | MixtureTraining, config: Config, device: str) -> None:
        count = sum(parameter.numel() for parameter in training.density.parameters())
        facts = {"parameters": count, "device": device, "seed": config.seed}
        facts |= {f"train.{key}": value for key, value in config.train.model_dump(mode="json").items()}
        try:
            self.log.begin(facts, dump_config(config))
        except Exception as error:
            raise FlowcliError(f"--track {self.tracker}: {first_line(error)}") from error
        self.works = True
        # Of a fit that goes on, what came before is told again, so that its history is whole.
        for epoch in training.progress.epochs:
            self.epoch(epoch)

    def epoch(self, epoch: Epoch) -> None:
        self.last = epoch.number
        self._figures(
            {
                "log_likelihood/training": epoch.training_log_likelihood,
                "log_likelihood/validation": epoch.validation_log_likelihood,
                "learning_rate": epoch.learning_rate,
            }
        )

    def finished(self, metrics: dict[str, Any]) -> None:
        """The run's files are written; these are its figures, as in ``metrics.json``."""
        summaries = {
            "test": metrics["test_log_likelihood"],
            "test_gaussian_baseline": metrics["baselines"].get("gaussian"),
            "final_validation": metrics["validation_log_likelihood"],
        }
        values = {
            f"{name}/{'log_likelihood' if key == 'mean' else key}": summary[key]
            for name, summary in summaries.items()
            if summary
            for key in ("mean", "standard_error", "bits_per_dim")
            if summary[key] is not None
        }
        self._figures({**values, "seconds": metrics["seconds"], "best_epoch": metrics["best_epoch"]})
        self._try(lambda: self.log.end("FINISHED"))

    def failed(self, interrupted: bool) -> None:
        """The fit ended without a model."""
        self._try(lambda: self.log.end("KILLED" if interrupted else "FAILED"))

    def _figures(self, values: dict[str, float]) -> None:
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        self._try(lambda: self.log.figures(finite, self.last))

    def _try(self, action: Callable[[], None]) -> None:
        if not self.works:
            return
        try:
            action()
        except Exception as error:
            self.works = False
            self.tell(f"WARNING: --track {self.tracker} ends here: {first_line(error)}")
