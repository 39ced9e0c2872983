"""Whether a training's steps are compiled, and how."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from flowcli.config.schema import TrainConfig
from flowcli.errors import ModelError, first_line
from flowcli.flows.density import Density
from flowcli.flows.rows import Rows
from flowcli.training.alike import TOLERANCE, difference
from flowcli.training.ensemble import Ensemble
from flowcli.transforms.bijection import Bijection
from flowcli.transforms.normalizing import BatchNorm

LogProb = Callable[[Rows, Tensor], Tensor]
Loss = Callable[[Rows, Tensor], Tensor]

# A step takes about half the time when it is compiled; compiling takes about as long as some thousands of steps.
FEWEST_STEPS = 4000
SHORTEST_TIME = 300.0


def plain_loss(log_prob: LogProb) -> Loss:
    """The mean negative log-likelihood of rows on the real line, with the log-determinant of their way there."""
    return lambda rows, log_det: -log_prob(rows, log_det).mean()


class StoppedCompiling(BaseException):
    """Compiling was ended from outside; no :class:`Exception`, as the compiler would take it for one of its own."""


def what_forbids_compiling(config: TrainConfig, density: Density) -> str:
    """Why the steps are not compiled even where that is asked for, or nothing."""
    if config.max_time is not None and config.max_time < SHORTEST_TIME:
        return f"it could take longer than train.max_time, which is below {SHORTEST_TIME:.0f} s"
    if isinstance(density, Ensemble):
        return "several densities are trained side by side"
    if any(isinstance(part, BatchNorm) for part in _bijections(density)):
        return "running statistics would be counted twice"
    return ""


def is_worth_compiling(config: TrainConfig, steps: int, density: Density) -> bool:
    """Whether ``auto`` compiles: by the work ahead, not by the clock, so that a second run does the same.

    ``steps``: of an epoch. Training goes on for ``patience`` epochs at least.
    """
    ahead = min(config.patience or 0, config.epochs or 0) * steps
    closed = all(part.compiles for part in _bijections(density))
    return ahead >= FEWEST_STEPS and closed and not what_forbids_compiling(config, density)


def _bijections(density: Density) -> list[Bijection]:
    return [module for module in density.modules() if isinstance(module, Bijection)]


class CompiledLoss:
    """The loss, compiled when it is first called; as it is where that cannot be done, or gives other numbers."""

    def __init__(self, density: Density, on_failure: Callable[[str], None], stops: Callable[[], bool]) -> None:
        """``on_failure`` is told why the loss is not compiled; ``stops``: whether an end has been asked for."""
        self._plain = plain_loss(density.log_prob_there)
        self._parameters = [parameter for parameter in density.parameters() if parameter.requires_grad]
        self._on_failure, self._stops = on_failure, stops
        self._loss: Loss | None = None
        self.compiling = False

    def __call__(self, rows: Rows, log_det: Tensor) -> Tensor:
        try:
            if self._loss is None:
                self.compiling = True
                if self._stops():
                    raise StoppedCompiling
                self._loss = self._compiled(rows, log_det)
                self.compiling = False
            return self._loss(rows, log_det)
        except ModelError:
            raise
        except Exception as error:  # whatever a compiler that is missing, or fails, raises, also for a batch's size
            self._on_failure(f"training goes on without compiling: {type(error).__name__}: {first_line(error)[:200]}")
            self.compiling, self._loss = False, self._plain
            return self._plain(rows, log_det)

    def _compiled(self, rows: Rows, log_det: Tensor) -> Loss:
        with _quiet():
            loss = _compiled(self._plain)
            wrong = difference(lambda: self._plain(rows, log_det), lambda: loss(rows, log_det), self._parameters)
        if wrong > TOLERANCE:
            self._on_failure(f"training goes on without compiling: the compiled step is off by {wrong:.1g}")
            return self._plain
        return loss


def _compiled(plain: Loss) -> Loss:
    compiled = torch.compile(lambda *tensors: plain(Rows(*tensors[:-1]), tensors[-1]))

    def loss(rows: Rows, log_det: Tensor) -> Tensor:
        tensors = [rows.numbers, rows.labels, rows.ordinals, rows.context, log_det]
        for tensor in tensors:
            # Batches differ in size by one row; each size would be compiled on its own.
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        result: Tensor = compiled(*tensors)
        return result

    return loss


@contextmanager
def _quiet() -> Iterator[None]:
    """Compiling warns and logs much that is not for a user."""
    loggers = [logging.getLogger(name) for name in ("torch._dynamo", "torch._inductor")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
