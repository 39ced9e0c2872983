"""The training loop."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from flowcli.config.schema import TrainConfig
from flowcli.errors import FlowcliError, ModelError
from flowcli.flows.density import Density, TableDensity
from flowcli.flows.rows import Rows
from flowcli.training.adam import Adam
from flowcli.training.batches import NOISE, Batch, Batches, generator_at
from flowcli.training.compiling import (
    CompiledLoss,
    LogProb,
    StoppedCompiling,
    is_worth_compiling,
    plain_loss,
    what_forbids_compiling,
)
from flowcli.training.cuda_graph import can_be_graphed, graphed_log_prob
from flowcli.training.defaults import resolve
from flowcli.training.ensemble import Ensemble
from flowcli.training.flat import FlatParameters
from flowcli.training.folds import Folds, folded_loss
from flowcli.training.measuring import mean_log_likelihoods, measure_statistics
from flowcli.training.processes import current
from flowcli.training.progress import Epoch, Progress
from flowcli.training.schedule import learning_rate_factor
from flowcli.training.shared_rows import SharedRows
from flowcli.training.shared_step import SharedStep
from flowcli.transforms.bijection import Bijection
from flowcli.transforms.networks import masks_of, take_as_masked

SECONDS_BETWEEN_CHECKPOINTS = 10.0
# A best epoch is saved at once, but no sooner than this after the last checkpoint.
SECONDS_BEFORE_A_BEST_ONE = 2.0
# A share of the whole.
MOST_TIME_FOR_CHECKPOINTS = 0.03
# A step without a finite gradient halves the learning rate; so many good steps double it again.
STEPS_TO_RECOVER = 50
SMALLEST_EASING = 2.0**-10
# What a cut leaves of the learning rate.
CUT = 0.3
# So many of them in a row, and the training is at an end.
MOST_SKIPPED_IN_A_ROW = 100


def with_noise(
    density: Density, rows: Rows | Batch, config: TrainConfig, seed: int, *place: int
) -> tuple[Rows, Tensor]:
    """The rows on the real line, spread over their grids and moved by the config's noise, and the log-determinant.

    Both are drawn for this place in the run, for all rows of a batch, whichever of them are here. Without epochs the
    rows stay as they are.
    """
    batch = rows if isinstance(rows, Batch) else Batch(rows, torch.empty(0), len(rows))
    rows, size, own = batch.rows, batch.size, batch.own
    gridded = density.supports.gridded
    if not config.epochs or not (config.noise or gridded):
        return density.on_real_line(rows)
    shape, device = (size, *rows.numbers.shape[1:]), rows.numbers.device
    generator = generator_at(seed, NOISE, *place)
    normals = torch.randn(shape, generator=generator).to(device) * (config.noise or 0.0)
    uniforms = torch.rand(shape, generator=generator).to(device) if gridded else None
    if own is not None:
        normals, uniforms = normals[own], None if uniforms is None else uniforms[own]
    return density.on_real_line(rows, uniforms, normals)


class Training:
    """Maximum likelihood with early stopping, in steps that can be interrupted and resumed.

    The weights before the first step count as epoch 0. Without validation rows the last weights are
    kept. Of an ensemble each density has its own best epoch, by the rows that it has not learned from. The
    rows of a step depend on the seed, the epoch and the step alone, so that on the CPU the same seed gives the
    same weights, bit for bit, also after a resume, unless ``max_time`` cut the run.

    Several processes each take the step with their part of its rows: they add up the gradients, and with them all that
    decides how training goes on, so that every one decides the same.
    """

    def __init__(
        self,
        density: TableDensity | Ensemble,
        training: Rows | SharedRows,
        validation: Rows,
        config: TrainConfig,
        seed: int,
        folds: Folds | None = None,
    ) -> None:
        """``density`` is initialised, and on the device of the validation rows; the training rows may be elsewhere.

        ``validation``: of several processes, each has its own. ``folds``: which training rows the densities of an
        ensemble leave out; there are no other validation rows then.
        """
        self.density = density
        self.training = training
        self.device = validation.numbers.device
        self.folds = folds
        self.processes = current()
        # A label that training had not has no likelihood to compare.
        self.validation = validation.take((validation.labels >= 0).all(-1).nonzero().squeeze(-1))
        if folds is not None:
            assert isinstance(training, Rows)
            self.validation = folds.left_out(training.to(self.device))
        self.validated = sum(self.processes.every(self.validation.numbers.shape[-2]))
        self.config = resolve(config, len(training))
        assert self.config.batch_size is not None
        assert self.config.epochs is not None
        self.epochs = self.config.epochs
        self.batches = Batches(training, self.config.batch_size, seed, self.device)
        self.seed = seed
        self.progress = Progress()
        self.processes.make_alike(density)
        # The weights that are validated and kept: an exponential moving average over the steps.
        self.averaged = copy.deepcopy(density)
        self._flat, self._flat_averaged = (
            FlatParameters(_decaying_and_not(each), masks_of(each)) for each in (density, self.averaged)
        )
        self.optimizer: Adam | None = None
        if self._flat.tensors and self.epochs:
            decaying, others = self._flat.of_group
            decays = [(tensor, self.config.weight_decay or 0.0) for tensor in decaying]
            self.optimizer = Adam(
                [*decays, *((tensor, 0.0) for tensor in others)], decoupled=self.config.optimizer == "adamw"
            )
        self._shared: SharedStep | None = None
        if self.optimizer is not None and self.processes.world > 1:
            with self.processes.connected():
                self._shared = SharedStep(self._flat.parameters, 2, self.processes.world)
        self._log_prob: LogProb = density.log_prob_there
        self._loss = plain_loss(self._log_prob)
        self.best_weights = _copied(density)
        count = density.size if isinstance(density, Ensemble) else 1
        self.progress.best_epochs = [0] * count
        self.progress.best_validation_log_likelihoods = (
            mean_log_likelihoods(density, self.validation) if self.validated else [-math.inf] * count
        )
        self._stop_asked = False
        # What all processes knew of the first one's clock, in seconds of training, and of a wish to stop, at a step.
        self._told_seconds, self._told_stop = 0.0, False

    def stop(self) -> None:
        """Ask for an end after the step under way; ``progress.stopped_by`` is then ``interrupt``.

        From a signal's handler it ends compiling, too, which would go on for a minute: nothing of the step is done yet.
        """
        self._stop_asked = True
        if isinstance(self._loss, CompiledLoss) and self._loss.compiling and self.processes.world == 1:
            raise StoppedCompiling

    @property
    def _stops(self) -> bool:
        """Whether to stop: of several processes, when all know it."""
        return self._stop_asked if self.processes.world == 1 else self._told_stop

    def _seconds(self, started: float) -> float:
        """How long training has taken: of several processes, what all know of it."""
        return time.monotonic() - started if self.processes.world == 1 else self._told_seconds

    def run(
        self,
        on_epoch: Callable[[Epoch], None] = lambda epoch: None,
        on_checkpoint: Callable[[Training], None] = lambda training: None,
        on_detail: Callable[[str], None] = lambda text: None,
    ) -> Progress:
        """Train from where it stands to the end, and put the best epoch's weights into the density.

        Args:
            on_epoch: called after each epoch.
            on_checkpoint: called at the start, now and then, after best epochs, when interrupted, and at the end,
                before the best weights replace the last ones.
            on_detail: told of compiling.

        Raises:
            FlowcliError: steps without a finite gradient, one after the other, before any epoch was good.
        """
        # The masks' part of a step is one product with the gradient.
        take_as_masked(self.density)
        try:
            return self._run(on_epoch, on_checkpoint, on_detail)
        finally:
            take_as_masked(self.density, False)

    def _run(
        self,
        on_epoch: Callable[[Epoch], None],
        on_checkpoint: Callable[[Training], None],
        on_detail: Callable[[str], None],
    ) -> Progress:
        progress = self.progress
        # The rows that one process of several has of a batch differ in number, each of which would be captured.
        captured = self.processes.world == 1 and can_be_graphed(self.density, self.device)
        if self.optimizer is not None and self._compiles(captured, on_detail):
            on_detail("compiling the training step, which takes a while (train.compile: never does without)")
            # Other processes wait for the step.
            self._loss = CompiledLoss(self.density, on_detail, lambda: self._stop_asked and self.processes.world == 1)
        elif self.optimizer is not None and captured:
            self._log_prob = graphed_log_prob(self.density, on_detail)
            self._loss = plain_loss(self._log_prob)
        started = saved = time.monotonic()
        before, cost = progress.seconds, 0.0
        self._told_seconds = self.processes.of_first(lambda: before)

        def save(least_seconds: float) -> None:
            nonlocal saved, cost
            now = time.monotonic()
            progress.seconds = before + now - started
            if now - saved < max(least_seconds, cost / MOST_TIME_FOR_CHECKPOINTS if least_seconds else 0.0):
                return
            on_checkpoint(self)
            saved = time.monotonic()
            cost = saved - now

        if not progress.step and not progress.epoch and self.optimizer is not None:
            save(0)
        while not progress.stopped_by:
            if self.optimizer is None or progress.epoch >= self.epochs:
                progress.stopped_by = "epochs"
                break
            finished = len(progress.epochs)
            with suppress(StoppedCompiling):
                self._epoch(started - before, partial(save, SECONDS_BETWEEN_CHECKPOINTS))
            if self._stops:
                save(0)
                progress.stopped_by = "interrupt"
                return progress
            if len(progress.epochs) > finished:
                on_epoch(progress.epochs[-1])
                save(SECONDS_BEFORE_A_BEST_ONE if progress.epochs[-1].best else SECONDS_BETWEEN_CHECKPOINTS)
        save(0)
        self.density.load_state_dict(self.best_weights)
        self.density.eval()
        return progress

    def _epoch(self, started: float, on_step: Callable[[], None]) -> None:
        """The rest of the epoch under way, from the step it stands at; ``started`` is when training began."""
        progress, config, steps = self.progress, self.config, self.batches.steps
        epoch_started = time.monotonic()
        number = progress.epoch + 1
        # Steps move running statistics; whatever is validated or kept has them stand still.
        self.density.train()
        out_of_time = False
        for batch in self.batches.of(number, progress.step):
            step = progress.epoch * steps + progress.step
            share = step / (self.epochs * steps)
            if config.max_time is not None:
                elapsed = self._seconds(started)
                share = max(share, elapsed / config.max_time)
                out_of_time = elapsed > config.max_time
            if out_of_time or self._stops or progress.skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
                break
            assert config.learning_rate is not None
            factor = learning_rate_factor(step, config.warmup, share, config.decay) * progress.easing
            factor *= CUT**progress.cuts
            progress.learning_rate = config.learning_rate * factor
            loss = self._step(batch, with_noise(self.density, batch, config, self.seed, number, progress.step), started)
            progress.step += 1
            if loss is None:
                progress.skipped_steps += 1
                progress.skipped_in_a_row += 1
                progress.easing = max(progress.easing / 2, SMALLEST_EASING)
            else:
                progress.skipped_in_a_row = 0
                progress.easing = min(1.0, progress.easing * 2 ** (1 / STEPS_TO_RECOVER))
                progress.epoch_total += loss * batch.size
                progress.epoch_rows += batch.size
            on_step()
        if self._stops:
            return
        if out_of_time and not progress.step:
            progress.stopped_by = "max_time"
            return
        measure_statistics(self.averaged, self.training, self.device)
        values = mean_log_likelihoods(self.averaged, self.validation) if self.validated else []
        best = progress.epoch_rows > 0 and self._keep_better(number, values)
        seconds = time.monotonic() - epoch_started
        progress.epochs.append(
            Epoch(
                number=number,
                training_log_likelihood=-progress.epoch_total / max(progress.epoch_rows, 1),
                validation_log_likelihood=sum(values) / len(values) if values else math.nan,
                best=best,
                learning_rate=progress.learning_rate,
                seconds=seconds,
                rows_per_second=progress.epoch_rows / max(seconds, 1e-9),
            )
        )
        if out_of_time:
            progress.stopped_by = "max_time"
        elif not progress.epoch_rows or progress.skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
            if not progress.best_epoch and not math.isfinite(progress.best_validation_log_likelihood):
                raise FlowcliError("training diverged: no step has a finite gradient; lower train.learning_rate")
            progress.stopped_by = "divergence"
        elif self.validated and number - max(progress.best_epoch, progress.cut_in) >= (config.patience or 0):
            if progress.cuts < (config.cuts or 0):
                self._cut(number)
            else:
                progress.stopped_by = "patience"
        progress.epoch, progress.step, progress.epoch_total, progress.epoch_rows = number, 0, 0.0, 0

    def _cut(self, number: int) -> None:
        """Go back to the best weights, with a smaller learning rate."""
        self.progress.cuts += 1
        self.progress.cut_in = number
        for density, flat in ((self.density, self._flat), (self.averaged, self._flat_averaged)):
            density.load_state_dict(self.best_weights)
            flat.mask()

    def _keep_better(self, number: int, values: list[float]) -> bool:
        """Keep the weights of the densities that are better than ever, or all without validation; whether any is."""
        progress = self.progress
        better = [value > best for value, best in zip(values, progress.best_validation_log_likelihoods, strict=False)]
        better = better or [True] * len(progress.best_epochs)
        progress.best_epochs = [
            number if is_better else before for is_better, before in zip(better, progress.best_epochs, strict=True)
        ]
        if values:
            kept = zip(values, progress.best_validation_log_likelihoods, strict=True)
            progress.best_validation_log_likelihoods = [max(pair) for pair in kept]
        if isinstance(self.density, Ensemble):
            which = torch.tensor(better, device=self.device)
            for name, tensor in self.averaged.state_dict().items():
                self.best_weights[name][which] = tensor[which]
        elif better[0]:
            self.best_weights = _copied(self.averaged)
        return any(better)

    def _compiles(self, captured: bool, on_detail: Callable[[str], None]) -> bool:
        """Whether to compile; ``captured``: else there is a CUDA graph, which is as fast, and ready at once."""
        if self.config.compile == "auto":
            return not captured and is_worth_compiling(self.config, self.batches.steps, self.density)
        if self.config.compile == "never":
            return False
        obstacle = what_forbids_compiling(self.config, self.density)
        if obstacle:
            on_detail(f"training goes on without compiling: {obstacle}")
        return not obstacle

    def _step(self, batch: Batch, there: tuple[Rows, Tensor], started: float) -> float | None:
        """One step; the batch's mean negative log-likelihood, or ``None`` when it or its gradient is not finite.

        ``there``: the rows of the batch that are here, with their noise; ``started``: as in :meth:`_epoch`.
        """
        assert self.optimizer is not None
        gradients, told = self._differentiate(lambda: self._loss_of(batch, *there), started)
        norms = list(map(torch.linalg.vector_norm, gradients))
        # One look at the device for all.
        value, *known = torch.cat([told, torch.stack(norms)]).tolist()
        norm = math.hypot(*known[-len(norms) :])
        if self.processes.world > 1:
            self._told_stop, self._told_seconds = known[0] > 0, known[1]
        if not math.isfinite(value + norm):
            return None
        most = self.config.clip_norm / math.sqrt(len(self.progress.best_epochs))
        if norm > most:
            for gradient in gradients:
                gradient.mul_(most / norm)
        self.optimizer.step(self.progress.learning_rate)
        with torch.no_grad():
            for average, last in zip(self._flat_averaged.tensors, self._flat.tensors, strict=True):
                average.lerp_(last, 1 - self.config.average if self.progress.averaged_steps else 1.0)
        self.progress.averaged_steps += 1
        return float(value)

    def _loss_of(self, batch: Batch, rows: Rows, log_det: Tensor) -> Tensor:
        """The part that the rows here have in the batch's mean negative log-likelihood, with their noise.

        A density that cannot be computed (:class:`ModelError`) is as bad as one that is not finite.
        """
        try:
            if not len(rows):
                return rows.numbers.new_zeros(())
            if self.folds is not None:
                return folded_loss(self._log_prob(rows, log_det), self.folds.learns(batch.places), batch.own)
            loss = self._loss(rows, log_det)
        except ModelError:
            return rows.numbers.new_full((), math.nan)
        return loss if batch.own is None else loss * (len(rows) / batch.size)

    def _differentiate(self, loss: Callable[[], Tensor], started: float) -> tuple[list[Tensor], Tensor]:
        """The gradients, and the loss; of several processes also how many wish to stop, and the first one's clock."""
        if self.processes.world == 1:
            value = loss()
            return self._flat.differentiate(value), value.detach().reshape(1)
        seconds = time.monotonic() - started if self.processes.first else 0.0
        assert self._shared is not None
        with self.processes.connected():
            told = self._shared.differentiate(loss, [float(self._stop_asked), seconds])
        return self._flat.gather(), told

    def move_to(self, facts: dict[str, Any]) -> None:
        """Get ready for :meth:`restore`, which takes tensors as :meth:`state` then has them; here nothing is to do."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain facts from which :meth:`restore` goes on."""
        tensors = {f"last.{name}": tensor for name, tensor in self.density.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.averaged.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
        if self.optimizer is not None:
            tensors |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state().items()}
        return tensors, asdict(self.progress)

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Take up the state of an earlier training of the same rows, config and seed.

        Raises:
            ValueError: the facts are none.
        """
        progress = Progress.of(facts)
        if len(progress.best_epochs) != len(self.progress.best_epochs):
            raise ValueError("its progress is that of other densities")
        parts: dict[str, dict[str, Tensor]] = {"last": {}, "average": {}, "best": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.density.load_state_dict(parts["last"])
        self.averaged.load_state_dict(parts["average"])
        self._flat.mask()
        self.best_weights = {name: tensor.to(self.device) for name, tensor in parts["best"].items()}
        if self.optimizer is not None:
            self.optimizer.restore(parts["optimizer"])
        self.progress = progress


def _copied(density: Density) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in density.state_dict().items()}


def _decaying_and_not(density: Density) -> list[list[nn.Parameter]]:
    """The parameters that weight decay pulls to zero, and the others."""
    kept = {
        parameter
        for module in density.modules()
        if not getattr(module, "decays_to_zero", True)
        for parameter in module.parameters(recurse=isinstance(module, Bijection))
    }
    trained = [parameter for parameter in density.parameters() if parameter.requires_grad]
    return [[p for p in trained if p not in kept], [p for p in trained if p in kept]]
