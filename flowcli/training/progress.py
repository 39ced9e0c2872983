"""Where a training stands."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

# Why a training is at its end; nothing while it is not.
ENDS = ("", "epochs", "patience", "max_time", "divergence", "interrupt")


@dataclass(frozen=True)
class Epoch:
    """What one epoch did; likelihoods are means per row in nats."""

    number: int
    training_log_likelihood: float
    validation_log_likelihood: float
    best: bool
    learning_rate: float
    seconds: float
    rows_per_second: float


@dataclass
class Progress:
    """Where a training stands: all that resuming needs besides weights and optimiser state."""

    epoch: int = 0
    step: int = 0
    epoch_total: float = 0.0
    epoch_rows: int = 0
    learning_rate: float = 0.0
    easing: float = 1.0
    skipped_in_a_row: int = 0
    averaged_steps: int = 0
    # How often the learning rate was cut, and after which epoch last.
    cuts: int = 0
    cut_in: int = 0
    # Of each density that is trained.
    best_epochs: list[int] = field(default_factory=list)
    best_validation_log_likelihoods: list[float] = field(default_factory=list)
    skipped_steps: int = 0
    seconds: float = 0.0
    stopped_by: str = ""
    epochs: list[Epoch] = field(default_factory=list)

    @property
    def best_epoch(self) -> int:
        """The last epoch that was the best for some density."""
        return max(self.best_epochs, default=0)

    @property
    def best_validation_log_likelihood(self) -> float:
        """The mean over the densities."""
        values = self.best_validation_log_likelihoods
        return sum(values) / len(values) if values else -math.inf

    @classmethod
    def of(cls, facts: Any) -> Progress:
        """From plain facts, as ``dataclasses.asdict`` gives them.

        Raises:
            ValueError: they are none.
        """
        from pydantic import TypeAdapter

        progress = TypeAdapter(cls).validate_python(facts)
        counts = (
            progress.epoch,
            progress.step,
            progress.epoch_rows,
            progress.averaged_steps,
            progress.cuts,
            progress.cut_in,
            *progress.best_epochs,
        )
        if (
            progress.stopped_by not in ENDS
            or min(counts) < 0
            or len(progress.best_epochs) != len(progress.best_validation_log_likelihoods)
        ):
            raise ValueError("its progress is none")
        return progress
