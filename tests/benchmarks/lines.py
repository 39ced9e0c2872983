"""The lines of speed.py that run in its own process: training steps, scoring, sampling, and the loop of a fit."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from architecture import LEARNING_RATE, Architecture, Call
from peers import TorchModel, build, difference, flowcli_flow, flowcli_model, flowclis_adam, installed, perturb
from timing import FEWEST_ROUNDS, Work, interleaved, summary
from torch import Tensor

BATCH = 512
# Rows at a time: what is fastest for the others, and what flowcli's commands take; on a GPU the others want many.
CHUNK = 4096
CHUNK_ON_GPU = 65_536
# And of samples of autoregressive flows with narrow layers.
STEPWISE_CHUNK = 8192
MILLION, DRAWN = 1_000_000, 100_000
# The largest difference, absolute or relative, of float32 from float64: of densities, and of samples.
TOLERANCE, TOLERANCE_OF_SAMPLES = 1e-4, 1e-5
FLOAT64, PRODUCTS, SAMPLES = "flowcli, float64", "products alone", "flowcli, samples"


@dataclass(frozen=True)
class Line:
    """One row of a table: what is done, with which flow, for how many rows in all."""

    task: str
    architecture: Architecture
    rows: int
    # How many rows the others do in a round, where their share would take them minutes.
    most_of_others: int = 0
    # Which of the columns for steps under torch.compile there are; the deepest graphs take it minutes.
    compiled: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.task}: {self.architecture.name}, {self.rows:,} rows"


@dataclass(frozen=True)
class Setting:
    """How lines are run."""

    rounds: int
    threads: int
    device: torch.device | None = None
    compiles: bool = True

    @property
    def synchronize(self) -> Callable[[], None] | None:
        return torch.cuda.synchronize if self.device is not None and self.device.type == "cuda" else None

    def share_of(self, rows: int) -> int:
        """What a round does of so many rows."""
        return -(-rows // max(self.rounds, FEWEST_ROUNDS))

    @property
    def on_gpu(self) -> bool:
        return self.synchronize is not None


MAF = Architecture("MAF", 6, 64)
OURS, BOTH = ("flowcli, compiled",), ("flowcli, compiled", "zuko, compiled")
LINES = [
    Line("training step", MAF, BATCH, compiled=BOTH),
    Line("training step", Architecture("MAF", 43, 512), BATCH),
    Line("training step", Architecture("MAF", 43, 512), 4096),
    Line("training step", Architecture("spline coupling", 6, 64), BATCH, compiled=BOTH),
    Line("training step", Architecture("spline coupling", 43, 64), BATCH, compiled=OURS),
    Line("training step", Architecture("spline autoregressive", 6, 64), BATCH, compiled=BOTH),
    Line("training step", Architecture("spline autoregressive", 43, 64), BATCH, compiled=OURS),
    Line("scoring", MAF, MILLION),
    Line("scoring", Architecture("spline coupling", 6, 64), MILLION),
    Line("sampling", MAF, DRAWN),
    Line("sampling", Architecture("MAF", 16, 128), DRAWN, most_of_others=CHUNK),
    Line("sampling", Architecture("MAF", 43, 512), DRAWN, most_of_others=1024),
    Line("sampling", Architecture("spline autoregressive", 6, 64), DRAWN, most_of_others=CHUNK),
    Line("sampling", Architecture("spline autoregressive", 43, 64), DRAWN, most_of_others=512),
]
FITS = [
    Line("flowcli's fit beside its bare step", MAF, BATCH),
    Line("flowcli's fit beside its bare step", Architecture("spline autoregressive", 6, 64), BATCH),
]
FIT, BARE = "Training.run, an epoch", "bare steps"


def measure(line: Line, setting: Setting) -> dict[str, Any]:
    """Time one line.

    Leaves if flowcli's float32 is not its float64: a figure of a wrong result says nothing.
    """
    torch._dynamo.reset()
    compiled = line.compiled if setting.compiles else ()
    names = [name for name in installed(setting.device) if "compiled" not in name or name in compiled]
    models = {name: build(name, line.architecture, setting.device) for name in names}
    models = {name: model for name, model in models.items() if model is not None}
    generator = torch.Generator().manual_seed(1)
    notes = [note for model in models.values() for note in model.notes]
    works, failed = {}, {}
    training = line.task == "training step"
    size = 64 * line.rows if training else 16 * CHUNK_ON_GPU if line.task == "scoring" else BATCH
    rows = torch.randn(size, line.architecture.features, generator=generator).to(setting.device)
    for name, model in models.items():
        try:
            work = (
                Work(model.training_step(rows, line.rows), line.rows)
                if training
                else use(name, model, line, rows, setting)
            )
            if setting.device is not None:
                # Not all that is built can be moved to every device.
                work.call()
            works[name] = work
        except Exception as error:
            if name == "flowcli":
                raise
            failed[name] = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    if not training:
        exact = in_float64(line.architecture, setting.device)
        works[FLOAT64] = use(FLOAT64, exact, line, rows.double(), setting)
    checked = rows[: line.rows if training else BATCH]
    works[PRODUCTS] = products(line, setting.device)
    errors = {name: models[name].error(checked) for name in models if name in works}
    samples = None
    if line.task == "sampling":
        errors[SAMPLES] = samples = error_of_samples(line.architecture, setting.device)
    refuse_wrong(line, errors)
    timed = interleaved(works, line.rows, setting.rounds, setting.threads, setting.synchronize)
    return {
        "name": line.name,
        "task": line.task,
        "rows": line.rows,
        "most_of_others": 0 if setting.on_gpu else line.most_of_others,
        "parameters": {name: model.parameters for name, model in models.items()},
        "errors": errors,
        "samples_correct": None if samples is None else samples <= TOLERANCE_OF_SAMPLES,
        "compile_seconds": {
            name: model.compile_seconds for name, model in models.items() if getattr(model, "compile_seconds", None)
        },
        "failed": failed,
        "notes": [*dict.fromkeys(notes)],
        "results": {name: summary(name, timed, line.rows, "flowcli") for name in works},
        "lost": timed.lost,
    }


def refuse_wrong(line: Line, errors: dict[str, float]) -> None:
    wrong = {name: error for name, error in errors.items() if not error <= TOLERANCE}
    for name, error in wrong.items():
        print(f"{line.name}: {name} in float32 is {error:.1g} off float64", file=sys.stderr)
    if any(name.startswith("flowcli") for name in wrong):
        sys.exit("flowcli's figures would be those of wrong results")


def use(name: str, model: Any, line: Line, rows: Tensor, setting: Setting) -> Work:
    """Scoring or sampling, a chunk at a time; the rounds together do all rows of the line."""
    least = setting.share_of(line.rows)
    if line.most_of_others and not setting.on_gpu and not name.startswith("flowcli"):
        least = min(least, line.most_of_others)
    if line.task == "scoring":
        size = CHUNK_ON_GPU if setting.on_gpu else CHUNK
        return Work(model.scoring(rows, size), size, least)
    stepwise = not line.architecture.coupling and line.architecture.width <= 128
    size = min(CHUNK_ON_GPU if setting.on_gpu else STEPWISE_CHUNK if stepwise else CHUNK, least)
    return Work(model.sampling(size), size, least)


def perturbed(architecture: Architecture) -> Any:
    """flowcli's flow with the weights that are timed."""
    torch.manual_seed(0)
    flow = flowcli_flow(architecture)
    perturb(flow, 0)
    return flow


def in_float64(architecture: Architecture, device: torch.device | None) -> TorchModel:
    """What flowcli's commands score and sample with."""
    return flowcli_model(perturbed(architecture).double().to(device), architecture.features)


@torch.no_grad()
def error_of_samples(architecture: Architecture, device: torch.device | None) -> float:
    """How far flowcli's samples in float32 are from those in float64, which come back to their latents."""
    flow = perturbed(architecture).to(device)
    exact = copy.deepcopy(flow).double()
    latent = torch.randn(BATCH, architecture.features, generator=torch.Generator().manual_seed(2)).to(device)
    value = exact.decode(latent.double())
    back = difference(exact.encode(value), latent.double())
    return max(difference(flow.decode(latent), value), back)


def products(line: Line, device: torch.device | None) -> Work:
    """The matrix products of one pass alone, and in training those of its gradients by inputs and weights.

    A masked network could do with about half of them.
    """
    training = line.task == "training step"
    rows = line.rows if training else CHUNK
    tasks: list[tuple[Tensor, Tensor, Tensor]] = []
    for layer in range(line.architecture.layers):
        for inputs, outputs in pairwise(line.architecture.sizes(layer)):
            value, weight, result = (
                torch.randn(size, device=device) for size in ((rows, inputs), (outputs, inputs), (rows, outputs))
            )
            tasks.append((value, weight.T, result))
            if training:
                tasks.append((result.clone(), weight, value.clone()))
                tasks.append((result.clone().T, value, weight.clone()))

    def call() -> None:
        for left, right, out in tasks:
            torch.mm(left, right, out=out)

    return Work(call, rows, 0)


def measure_fit(line: Line, setting: Setting, compiled: bool = False) -> dict[str, Any]:
    """An epoch of flowcli's training, set up and run without validation rows, beside as many bare steps of its flow.

    The epoch adds to the loss, its gradient and the step of Adam: the order of the rows, noise, clipping, the learning
    rate, the average of the weights, and the watch over steps that fail.
    """
    # Enough that the set-up is as small a part as it is in a fit.
    steps, features = 100 if line.architecture.spline else 400, line.architecture.features
    numbers = torch.randn(steps * line.rows, features, generator=torch.Generator().manual_seed(1))
    flow = perturbed(line.architecture)
    bare = TorchModel(flow.log_prob, lambda n: flow.sample(torch.rand(n, features)), flow, compiled=compiled)
    bare.optimizer = flowclis_adam
    works = {
        BARE: Work(bare.training_step(numbers, line.rows), line.rows, steps * line.rows),
        FIT: Work(epoch_of_fit(copy.deepcopy(flow), numbers, line.rows, compiled), steps * line.rows),
    }
    timed = interleaved(works, line.rows, setting.rounds, setting.threads)
    return {
        "name": line.name + (", compiled" if compiled else ""),
        "task": line.task,
        "rows": line.rows,
        "results": {name: summary(name, timed, line.rows, BARE) for name in works},
        "lost": timed.lost,
    }


def epoch_of_fit(flow: Any, numbers: Tensor, batch: int, compiled: bool = False) -> Call:
    """flowcli's training of the flow on rows of numbers, for an epoch without validation rows."""
    from flowcli.config.schema import TrainConfig
    from flowcli.flows.density import Place, TableDensity
    from flowcli.flows.factor import Factor
    from flowcli.flows.rows import Rows
    from flowcli.training.trainer import Training

    columns = tuple(range(numbers.shape[1]))
    density = TableDensity([Factor(None, None, flow)], [Place(columns, (), ())], [], True)
    config = TrainConfig(batch_size=batch, epochs=1, learning_rate=LEARNING_RATE, warmup=0)
    config = config.model_copy(update={"compile": "always" if compiled else "never"})
    none = torch.empty(len(numbers), 0)
    rows = Rows(numbers, none.long(), none, none)
    return lambda: Training(density, rows, rows.slice(0, 0), config, 0).run()
