"""A fit's progress: a bar on a terminal, a plain line now and then elsewhere; all of it on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from flowcli.cli.describe import column_lines, flow_lines
from flowcli.cli.interrupts import on_interrupt
from flowcli.cli.output import messages
from flowcli.errors import FlowcliError
from flowcli.fitting import FitObserver
from flowcli.runs import METRICS
from flowcli.training.checkpoint import save_checkpoint

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from flowcli.config.schema import Config, TrainConfig
    from flowcli.tables.columns import Column
    from flowcli.training.mixture import MixtureTraining
    from flowcli.training.progress import Epoch
    from flowcli.training.progress import Progress as TrainingProgress
    from flowcli.training.trainer import Training

SECONDS_BETWEEN_LINES = 10.0


class FitProgress(FitObserver):
    """Tells people what a fit does."""

    def __init__(self, config: TrainConfig, checkpoint: Path | None, data: dict[str, Any]) -> None:
        """``checkpoint``: where it is written; ``None`` where another process does."""
        self.config = config
        self.checkpoint_path = checkpoint
        self.data = data
        self._restore_signals: Callable[[], None] = lambda: None
        self.started = self.last_line = time.monotonic()
        self.best = float("-inf")
        self.columns_known: list[Column] = []
        self.first_epoch = 0
        self.total = 0
        self.bar: Progress | None = None
        self.task: TaskID | None = None

    def __enter__(self) -> FitProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close_bar()
        self._restore_signals()

    def columns(self, columns: list[Column], training: int, validation: int, test: int) -> None:
        self.columns_known = columns
        messages.note(f"columns  ({training:,} training, {validation:,} validation, {test:,} test rows)")
        for line in column_lines(columns):
            messages.note(f"  {line}")

    def starts(self, training: Training | MixtureTraining, config: Config, device: str) -> None:
        self._catch_signals(training)
        self.config = config.train
        parameters = sum(parameter.numel() for parameter in training.density.parameters())
        messages.note(f"flow     {parameters:,} parameters, from base to data, on {device}")
        for line in flow_lines(config, self.columns_known):
            messages.note(f"  {line}")
        if training.progress.epoch or training.progress.step:
            messages.note(f"going on in epoch {training.progress.epoch + 1}")
        self.first_epoch = training.progress.epoch
        self.best = training.progress.best_validation_log_likelihood
        self.started = self.last_line = time.monotonic()
        self.total = training.epochs
        if messages.level >= 0 and sys.stderr.isatty() and self.total:
            self._open_bar(self.total)

    def note(self, text: str) -> None:
        messages.note(text)

    def detail(self, text: str) -> None:
        messages.detail(text)

    def checkpoint(self, training: Training | MixtureTraining, config: Config) -> None:
        if self.checkpoint_path is None:
            return
        save_checkpoint(self.checkpoint_path, training, config, self.data)
        # From here on, and not before there is room for it, the folder holds this run and no earlier one.
        try:
            (self.checkpoint_path.parent / METRICS).unlink(missing_ok=True)
        except OSError as error:
            raise FlowcliError(f"{self.checkpoint_path.parent}: cannot be written to: {error.strerror}") from None

    def _catch_signals(self, training: Training | MixtureTraining) -> None:
        """The first Ctrl-C or SIGTERM ends the fit after the step under way; a second one at once."""

        def stop(number: int, frame: FrameType | None) -> None:
            training.stop()
            self._restore_signals()
            messages.note_from_signal("stopping after this step and saving; again to quit at once")

        self._restore_signals = on_interrupt(stop)

    def _open_bar(self, epochs: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("epoch {task.completed}/{task.total}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=messages.console,
            transient=True,
        )
        self.task = self.bar.add_task("fit", total=epochs, figures="")
        self.bar.start()

    def epoch(self, epoch: Epoch) -> None:
        if epoch.best:
            self.best = epoch.validation_log_likelihood
        figures = (
            f"train {epoch.training_log_likelihood:.3f}  validation {epoch.validation_log_likelihood:.3f}  "
            f"best {self.best:.3f}  {epoch.rows_per_second:,.0f} rows/s"
        )
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=epoch.number, figures=figures)
        elif time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            seconds_left = self._seconds_left(epoch)
            messages.note(f"epoch {epoch.number}/{self.total}  {figures}  at most {seconds_left:.0f} s left")

    def _seconds_left(self, epoch: Epoch) -> float:
        elapsed = time.monotonic() - self.started
        left = elapsed / (epoch.number - self.first_epoch) * (self.total - epoch.number)
        return left if self.config.max_time is None else min(left, max(0.0, self.config.max_time - elapsed))

    def trained(self, progress: TrainingProgress) -> None:
        self._close_bar()
        self._restore_signals()
        ends = {
            "epochs": "all epochs done",
            "patience": f"no better validation likelihood in {self.config.patience} epochs",
            "max_time": "time is up",
            "divergence": "no finite gradient any more; lower train.learning_rate",
        }
        how = f"trained {len(progress.epochs)} epochs in {progress.seconds:.1f} s ({ends[progress.stopped_by]}); "
        best = sorted({*progress.best_epochs})
        if best:
            which = (
                f"epoch {best[0]}" if len(best) == 1 else f"of each density its best epoch, {best[0]} to {best[-1]},"
            )
            how += f"{which} is kept"
        messages.note(how.removesuffix("; "))
        if progress.skipped_steps:
            messages.note(f"{progress.skipped_steps:,} steps had no finite gradient and were skipped")

    def _close_bar(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
