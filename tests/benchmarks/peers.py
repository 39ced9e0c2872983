"""The same flow in flowcli, Pyro, zuko, nflows and normflows, for speed.py; those that compile are in jax_peers.py."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec

import torch
from architecture import BINS, BOUND, LEARNING_RATE, NOISE, Architecture, Call, Model
from torch import Tensor, nn

# Of nflows and normflows, about a network that does not say how wide it is.
warnings.filterwarnings("ignore", message="Inputs to the softmax are not scaled down")


@dataclass
class TorchModel:
    """A flow of a library of PyTorch: log-density of rows ``(n, d)``, and ``n`` drawn rows."""

    log_prob: Callable[[Tensor], Tensor]
    sample: Callable[[int], Tensor]
    # Holds the parameters.
    module: nn.Module
    notes: list[str] = field(default_factory=list)
    # Whether a training step runs its loss under torch.compile, and what that took.
    compiled: bool = False
    compile_seconds: float | None = None
    # Of a module: what sets the gradients of a loss, and what moves the parameters by them.
    optimizer: Callable[[nn.Module], tuple[Callable[[Tensor], object], Call]] = field(
        default_factory=lambda: torchs_adam
    )
    # Whether it is computed as CUDA graphs on a GPU, as flowcli does.
    graphs: bool = False
    _loss: Callable[[Tensor], Tensor] | None = None

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.module.parameters())

    def training_step(self, rows: Tensor, size: int) -> Call:
        """Loss, backward and a step of Adam, in one operation for all parameters where there is a choice."""
        differentiate, move = self.optimizer(self.module)
        # One batch after the other: the flow stays near its start, and Pyro, which knows a tensor again, computes.
        batches = endless(rows, size)
        captured = rows.is_cuda and self.graphs and not self.compiled
        loss = mean_loss(graphed_in_training(self.module, self.log_prob) if captured else self.log_prob)
        self._loss = loss = torch.compile(loss, dynamic=False) if self.compiled else loss

        def step() -> None:
            differentiate(loss(next(batches)))
            move()

        if self.compiled:
            before = time.perf_counter()
            step()
            self.compile_seconds = time.perf_counter() - before
        return step

    def scoring(self, rows: Tensor, size: int) -> Call:
        chunks = endless(rows, size)
        log_prob = graphed(self.log_prob) if rows.is_cuda and self.graphs else self.log_prob
        return torch.no_grad()(lambda: log_prob(next(chunks)))

    def sampling(self, size: int) -> Call:
        return torch.no_grad()(lambda: self.sample(size))

    def error(self, rows: Tensor) -> float:
        if self._loss is not None:
            got = self._loss(rows).detach()
        else:
            with torch.no_grad():
                got = self.log_prob(rows)
        with computing_in_float64(self.module), torch.no_grad():
            exact = self.log_prob(rows.double())
        return difference(got, exact if got.dim() else -exact.mean())


def mean_loss(log_prob: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda rows: -log_prob(rows).mean()


@contextmanager
def computing_in_float64(module: nn.Module) -> Iterator[None]:
    """Within the block the module computes in float64; afterwards its own tensors are back, which others may hold."""
    parameters = [(parameter, parameter.data) for parameter in module.parameters()]
    buffers = [(each, name, buffer) for each in module.modules() for name, buffer in each._buffers.items()]
    module.double()
    yield
    for parameter, data in parameters:
        parameter.data = data
    for each, name, buffer in buffers:
        each._buffers[name] = buffer


def torchs_adam(module: nn.Module) -> tuple[Callable[[Tensor], object], Call]:
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE, fused=True)

    def differentiate(loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()

    return differentiate, optimizer.step


def flowclis_adam(module: nn.Module) -> tuple[Callable[[Tensor], object], Call]:
    from flowcli.training.adam import Adam
    from flowcli.training.flat import FlatParameters
    from flowcli.transforms.networks import masks_of, take_as_masked

    flat = FlatParameters([list(module.parameters())], masks_of(module))
    take_as_masked(module)
    adam = Adam([(tensor, 0.0) for tensor in flat.tensors], decoupled=False)
    return flat.differentiate, lambda: adam.step(LEARNING_RATE)


def graphed_in_training(module: nn.Module, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    from flowcli.training.cuda_graph import GraphedFunction

    return GraphedFunction(module, function, sys.exit)


def graphed(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    from flowcli.flows.cuda_graph import GraphedInference

    found = GraphedInference(lambda rows: (function(rows),))
    return lambda rows: found(rows)[0]


def difference(got: Tensor, exact: Tensor) -> float:
    """The largest difference, relative to what is larger than 1."""
    return float(((got - exact).abs() / exact.abs().clamp_min(1)).max())


def endless(rows: Tensor, size: int) -> Iterator[Tensor]:
    """Slices of the rows, over and over; each is a tensor of its own."""
    while True:
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


def perturb(module: nn.Module, seed: int) -> None:
    """Move a model away from its start, which is the identity in some libraries."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            scale = NOISE / parameter.shape[-1] ** 0.5 if parameter.dim() > 1 else NOISE / 4
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


def flowcli(architecture: Architecture) -> TorchModel:
    return flowcli_model(flowcli_flow(architecture), architecture.features)


def flowcli_model(flow: nn.Module, features: int) -> TorchModel:
    """As flowcli's commands compute it."""
    on_a_gpu = graphed(flow.sample)

    def sample(n: int) -> Tensor:
        weight = next(flow.parameters())
        uniforms = torch.rand(n, features, device=weight.device, dtype=weight.dtype)
        return on_a_gpu(uniforms) if uniforms.is_cuda else flow.sample(uniforms)

    return TorchModel(flow.log_prob, sample, flow, optimizer=flowclis_adam, graphs=True)


def flowcli_flow(architecture: Architecture) -> nn.Module:
    """Built as a config would: other parameters as the catalogue has them."""
    from flowcli.flows.base import Normal
    from flowcli.flows.flow import Flow
    from flowcli.transforms.bijection import Chain
    from flowcli.transforms.registry import build, entries

    entry = {"MAF": "affine_autoregressive"}.get(architecture.kind, architecture.kind.replace(" ", "_"))
    parameters = {parameter.name: parameter.default for parameter in entries()[entry].parameters}
    parameters["hidden"] = architecture.hidden
    if architecture.spline:
        parameters |= {"kind": "rational_quadratic", "bins": BINS, "bound": BOUND}
    parts = []
    for layer in range(architecture.layers):
        if architecture.coupling:
            parameters["split"] = architecture.kept(layer)
        else:
            parameters["order"] = "reverse" if layer % 2 else "natural"
        parts.append(build(entry, architecture.features, 0, parameters))
    return Flow(Normal(architecture.features), Chain(parts))


def pyro(architecture: Architecture) -> TorchModel:
    from pyro.distributions import Normal, TransformedDistribution
    from pyro.distributions import transforms as T
    from pyro.nn import AutoRegressiveNN, DenseNN

    features, hidden = architecture.features, architecture.hidden
    transforms: list[torch.distributions.Transform] = []
    # Not the transforms: a coupling has parameters for the columns that it keeps, and does not use them.
    networks = nn.ModuleList()
    for layer in range(architecture.layers):
        order = torch.arange(features)
        order = order.flip(0) if layer % 2 else order
        if architecture.coupling:
            # It keeps the first columns: a permutation brings them there, and back.
            kept = architecture.kept(layer)
            rest = [column for column in range(features) if column not in kept]
            outputs = [len(rest) * count for count in (BINS, BINS, BINS - 1)]
            network: nn.Module = DenseNN(len(kept), hidden, outputs)
            # Its helper makes linear-rational splines, which are another function.
            transform = T.SplineCoupling(features, len(kept), network, BINS, BOUND, order="quadratic", identity=True)
            there = torch.tensor(kept + rest)
            transforms += [T.Permute(there), transform.inv, T.Permute(there.argsort())]
        elif architecture.spline:
            network = AutoRegressiveNN(features, hidden, [BINS, BINS, BINS - 1], permutation=order)
            transforms.append(T.SplineAutoregressive(features, network, BINS, BOUND, order="quadratic").inv)
        else:
            network = AutoRegressiveNN(features, hidden, permutation=order)
            transforms.append(T.AffineAutoregressive(network).inv)
        networks.append(network)
    flow = TransformedDistribution(Normal(torch.zeros(features), torch.ones(features)).to_event(1), transforms)
    return TorchModel(flow.log_prob, lambda n: flow.sample((n,)), networks)


def zuko(architecture: Architecture) -> TorchModel:
    from zuko.flows import MAF, NICE, NSF
    from zuko.transforms import MonotonicRQSTransform

    common = {"transforms": architecture.layers, "hidden_features": architecture.hidden}
    if architecture.coupling:
        # NSF(passes=2) is a coupling with a masked network; this one has a plain network.
        shapes = [(BINS,), (BINS,), (BINS - 1,)]
        flow = NICE(architecture.features, univariate=MonotonicRQSTransform, shapes=shapes, **common)
    elif architecture.spline:
        flow = NSF(architecture.features, bins=BINS, **common)
    else:
        flow = MAF(architecture.features, **common)
    # Making the distribution is part of each call: what zuko's users do.
    return TorchModel(lambda x: flow().log_prob(x), lambda n: flow().sample((n,)), flow)


def nflows(architecture: Architecture) -> TorchModel:
    from nflows.distributions.normal import StandardNormal
    from nflows.flows import Flow
    from nflows.transforms import (
        CompositeTransform,
        MaskedAffineAutoregressiveTransform,
        MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
        PiecewiseRationalQuadraticCouplingTransform,
        ReversePermutation,
    )

    features = architecture.features
    network = {"hidden_features": architecture.width, "num_blocks": 1, "use_residual_blocks": False}
    spline = {"num_bins": BINS, "tails": "linear", "tail_bound": BOUND}
    parts: list[nn.Module] = []
    for layer in range(architecture.layers):
        if architecture.coupling:
            parts.append(
                PiecewiseRationalQuadraticCouplingTransform(
                    _mask(architecture, layer), _networks(architecture.width), **spline
                )
            )
            continue
        if architecture.spline:
            parts.append(MaskedPiecewiseRationalQuadraticAutoregressiveTransform(features, **network, **spline))
        else:
            parts.append(MaskedAffineAutoregressiveTransform(features, **network))
        parts.append(ReversePermutation(features))
    flow = Flow(CompositeTransform(parts), StandardNormal([features]))
    return TorchModel(flow.log_prob, flow.sample, flow)


def normflows(architecture: Architecture) -> TorchModel:
    from normflows import NormalizingFlow
    from normflows.distributions import DiagGaussian
    from normflows.flows import MaskedAffineAutoregressive, Permute, Reverse
    from normflows.flows.neural_spline.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressive
    from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling

    features = architecture.features
    network = {"hidden_features": architecture.width, "num_blocks": 1, "use_residual_blocks": False}
    spline = {"num_bins": BINS, "tails": "linear", "tail_bound": BOUND}
    parts: list[nn.Module] = []
    # Its own wrappers of the splines have residual networks, with a product more.
    for layer in range(architecture.layers):
        if architecture.coupling:
            mask = _mask(architecture, layer)
            parts.append(Reverse(PiecewiseRationalQuadraticCoupling(mask, _networks(architecture.width), **spline)))
            continue
        if architecture.spline:
            layer_ = MaskedPiecewiseRationalQuadraticAutoregressive(features, **network, **spline)
        else:
            layer_ = MaskedAffineAutoregressive(features, **network)
        parts += [Reverse(layer_), Permute(features, mode="shuffle")]
    flow = NormalizingFlow(DiagGaussian(features, trainable=False), parts)
    notes = [] if architecture.coupling else ["normflows' masked networks have no activation after the first layer"]
    return TorchModel(flow.log_prob, lambda n: flow.sample(n)[0], flow, notes)


class _WithoutContext(nn.Sequential):
    """A network as nflows and normflows call it."""

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        return super().forward(inputs)


def _mask(architecture: Architecture, layer: int) -> Tensor:
    """1 for the columns that are transformed."""
    return torch.tensor([int(column not in architecture.kept(layer)) for column in range(architecture.features)])


def _networks(width: int) -> Callable[[int, int], nn.Module]:
    def network(inputs: int, outputs: int) -> nn.Module:
        return _WithoutContext(
            nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
        )

    return network


def _compiled(library: Callable[[Architecture], TorchModel]) -> Callable[[Architecture], TorchModel]:
    return lambda architecture: replace(library(architecture), compiled=True)


LIBRARIES: dict[str, Callable[[Architecture], TorchModel]] = {
    "flowcli": flowcli,
    "flowcli, compiled": _compiled(flowcli),
    "Pyro": pyro,
    "zuko": zuko,
    "zuko, compiled": _compiled(zuko),
    "nflows": nflows,
    "normflows": normflows,
}
# Built with a library that compiles through JAX.
COMPILING = ("FlowJAX", "pzflow")
# The names under which they are installed and imported, where these are not the library's.
PACKAGES = {"Pyro": ("pyro-ppl", "pyro"), "FlowJAX": ("flowjax", "flowjax")}
# Those that can be built on another device by moving what they have built.
MOVABLE = ("flowcli", "zuko", "nflows", "normflows")


def package(library: str) -> tuple[str, str]:
    name = library.removesuffix(", compiled")
    return PACKAGES.get(name, (name, name))


def installed(device: torch.device | None = None) -> list[str]:
    """The libraries to compare, without those that are not there or cannot be on the device."""
    names = [name for name in (*LIBRARIES, *COMPILING) if find_spec(package(name)[1])]
    return names if device is None else [name for name in names if name.startswith(MOVABLE)]


def build(library: str, architecture: Architecture, device: torch.device | None = None, seed: int = 0) -> Model | None:
    """A library's flow, its weights drawn from a seed and then moved away from the library's start.

    ``None`` where the library has no such flow.
    """
    if library in COMPILING:
        import jax_peers

        return jax_peers.build(library, architecture, seed)
    torch.manual_seed(seed)
    model = LIBRARIES[library](architecture)
    perturb(model.module, seed)
    if device is not None:
        model.module.to(device)
    return model
