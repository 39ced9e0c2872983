"""The training loop."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from flowcli.config.schema import TrainConfig
from flowcli.errors import FlowcliError
from flowcli.flows.density import TableDensity
from flowcli.training.rows import Rows
from flowcli.training.schedule import learning_rate_factor
from flowcli.transforms.bijection import Bijection

VALIDATION_CHUNK = 8192


@dataclass(frozen=True)
class Epoch:
    """What one epoch did; likelihoods are means per row in nats, over standardised numbers."""

    number: int
    training_log_likelihood: float
    validation_log_likelihood: float
    best: bool
    learning_rate: float
    seconds: float
    rows_per_second: float


@dataclass
class TrainingResult:
    """How a training went. The density holds the weights of the best epoch."""

    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    best_validation_log_likelihood: float = -math.inf
    skipped_steps: int = 0
    seconds: float = 0.0
    stopped_by: str = "epochs"


def train(
    density: TableDensity,
    training: Rows,
    validation: Rows,
    config: TrainConfig,
    seed: int,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> TrainingResult:
    """Maximise the mean log-likelihood of ``training``; keep the weights that are best on ``validation``.

    The weights before the first step count as epoch 0. Without validation rows the last weights are
    kept. On the CPU the same seed gives the same weights, bit for bit, unless ``max_time`` cut the run.

    Args:
        density: the model to train, initialised, on the device of the rows.
        on_epoch: called after each epoch.

    Raises:
        FlowcliError: no step of a whole epoch had a finite gradient before any epoch was good.
    """
    started = time.monotonic()
    result = TrainingResult()
    parameters = [parameter for parameter in density.parameters() if parameter.requires_grad]
    best_weights = copy.deepcopy(density.state_dict())
    if len(validation):
        result.best_validation_log_likelihood = mean_log_likelihood(density, validation)
    config = resolve(config, len(training))
    steps_per_epoch = math.ceil(len(training) / (config.batch_size or 1))
    epochs = config.epochs if parameters else 0
    if epochs:
        optimizer = _optimizer(density, config)
        shuffler = torch.Generator(training.numbers.device).manual_seed(seed)
    for number in range(1, epochs + 1):
        epoch_started = time.monotonic()
        order = torch.randperm(len(training), generator=shuffler, device=training.numbers.device)
        total = torch.zeros((), device=training.numbers.device)
        taken = 0
        for index, batch in enumerate(order.tensor_split(steps_per_epoch)):
            step = (number - 1) * steps_per_epoch + index
            progress = step / (epochs * steps_per_epoch)
            elapsed = time.monotonic() - started
            if config.max_time is not None:
                if elapsed > config.max_time:
                    break
                progress = max(progress, elapsed / config.max_time)
            rate = config.learning_rate * learning_rate_factor(step, config.warmup, progress, config.decay)
            loss = _step(density, training.take(batch), optimizer, rate, config.clip_norm, parameters)
            if loss is None:
                result.skipped_steps += 1
                continue
            total += loss * len(batch)
            taken += len(batch)
        if config.max_time is not None and time.monotonic() - started > config.max_time:
            result.stopped_by = "max_time"
        if not taken and result.stopped_by != "max_time":
            if result.best_epoch == 0 and not math.isfinite(result.best_validation_log_likelihood):
                raise FlowcliError("training diverged: no finite gradient in a whole epoch; lower train.learning_rate")
            result.stopped_by = "divergence"
            break
        value = mean_log_likelihood(density, validation) if len(validation) else math.nan
        best = not len(validation) or value > result.best_validation_log_likelihood
        if best:
            result.best_epoch = number
            result.best_validation_log_likelihood = value
            best_weights = copy.deepcopy(density.state_dict())
        seconds = time.monotonic() - epoch_started
        result.epochs.append(
            Epoch(
                number=number,
                training_log_likelihood=-float(total) / max(taken, 1),
                validation_log_likelihood=value,
                best=best,
                learning_rate=rate,
                seconds=seconds,
                rows_per_second=len(training) / max(seconds, 1e-9),
            )
        )
        on_epoch(result.epochs[-1])
        if result.stopped_by == "max_time":
            break
        if len(validation) and number - result.best_epoch >= config.patience:
            result.stopped_by = "patience"
            break
    density.load_state_dict(best_weights)
    result.seconds = time.monotonic() - started
    return result


def resolve(config: TrainConfig, rows: int) -> TrainConfig:
    """The config with what is left to the number of training rows filled in.

    Batches make about twenty steps an epoch, of 16 to 512 rows. Weight decay shrinks the flow towards
    its start, the more the fewer the rows.
    """
    batch_size = min(512, max(16, 2 ** round(math.log2(rows / 20))))
    chosen = {"batch_size": batch_size, "weight_decay": min(1.0, round(100 / rows, 6))}
    return config.model_copy(update={key: value for key, value in chosen.items() if getattr(config, key) is None})


def _optimizer(density: TableDensity, config: TrainConfig) -> torch.optim.Optimizer:
    parameters = list(density.parameters())
    kept = {
        parameter
        for module in density.modules()
        if isinstance(module, Bijection) and not module.decays_to_zero
        for parameter in module.parameters()
    }
    groups = [
        {"params": [p for p in parameters if p not in kept], "weight_decay": config.weight_decay or 0.0},
        {"params": [p for p in parameters if p in kept], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    fused = parameters[0].device.type in ("cpu", "cuda")
    return kind(groups, lr=config.learning_rate, fused=fused)


def _step(
    density: TableDensity,
    batch: Rows,
    optimizer: torch.optim.Optimizer,
    rate: float,
    clip_norm: float,
    parameters: list[torch.nn.Parameter],
) -> Tensor | None:
    """One step; the batch's mean negative log-likelihood, or ``None`` when its gradient is not finite."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss = -density.log_prob(batch.numbers, batch.labels, batch.context).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
    if not math.isfinite(float(norm)):
        return None
    optimizer.step()
    return loss.detach()


@torch.inference_mode()
def mean_log_likelihood(density: TableDensity, rows: Rows) -> float:
    """The mean over rows, in nats; rows with a label that training had not are left out."""
    values = torch.cat(
        [density.log_prob(part.numbers, part.labels, part.context) for part in rows.chunks(VALIDATION_CHUNK)]
    ).double()
    return float(values[(rows.labels >= 0).all(-1)].mean())
