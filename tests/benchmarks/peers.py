"""The same flow in flowcli, Pyro, zuko, nflows and normflows, for speed.py."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor, nn

BINS = 8
BOUND = 5.0
OUTPUTS_OF_SPLINE = 3 * BINS - 1
# Of a weight, times the square root of how many a unit has.
NOISE = 0.3

# Of nflows and normflows, about a network that does not say how wide it is.
warnings.filterwarnings("ignore", message="Inputs to the softmax are not scaled down")


@dataclass(frozen=True)
class Architecture:
    """Layers over ``features`` columns, each with a network with two hidden layers of ``width`` units.

    Autoregressive layers take the columns forwards and backwards in turn; coupling layers keep every second column,
    the even and the odd ones in turn.
    """

    kind: Literal["MAF", "spline coupling", "spline autoregressive"]
    features: int
    width: int
    layers: int = 5

    @property
    def name(self) -> str:
        return f"{self.kind} d={self.features} [{self.width}, {self.width}] x {self.layers}"

    @property
    def hidden(self) -> list[int]:
        return [self.width, self.width]

    @property
    def spline(self) -> bool:
        return self.kind != "MAF"

    @property
    def coupling(self) -> bool:
        return self.kind == "spline coupling"

    def kept(self, layer: int) -> list[int]:
        """The columns that a coupling layer keeps."""
        return [column for column in range(self.features) if column % 2 == layer % 2]

    def sizes(self, layer: int) -> list[int]:
        """The widths of a layer's network, from inputs to outputs."""
        if not self.coupling:
            return [self.features, *self.hidden, self.features * (OUTPUTS_OF_SPLINE if self.spline else 2)]
        kept = len(self.kept(layer))
        return [kept, *self.hidden, (self.features - kept) * OUTPUTS_OF_SPLINE]


@dataclass
class Model:
    """A library's flow: log-density of rows ``(n, d)``, and ``n`` drawn rows, each in the fast way of that library."""

    log_prob: Callable[[Tensor], Tensor]
    sample: Callable[[int], Tensor]
    parameters: list[nn.Parameter]
    # In what it differs from the architecture.
    notes: list[str] = field(default_factory=list)


def perturb(parameters: list[nn.Parameter], seed: int) -> None:
    """Move a model away from its start, which is the identity in some libraries."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            scale = NOISE / parameter.shape[-1] ** 0.5 if parameter.dim() > 1 else NOISE / 4
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


def flowcli(architecture: Architecture) -> Model:
    flow = flowcli_flow(architecture)
    return Model(flow.log_prob, lambda n: flow.sample(torch.rand(n, architecture.features)), list(flow.parameters()))


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


def pyro(architecture: Architecture) -> Model:
    from pyro.distributions import Normal, TransformedDistribution
    from pyro.distributions import transforms as T
    from pyro.nn import AutoRegressiveNN, DenseNN

    features, hidden = architecture.features, architecture.hidden
    transforms: list[torch.distributions.Transform] = []
    parameters: list[nn.Parameter] = []
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
        # Not those of the transform: a coupling has parameters for the columns that it keeps, and does not use them.
        parameters += network.parameters()
    flow = TransformedDistribution(Normal(torch.zeros(features), torch.ones(features)).to_event(1), transforms)
    return Model(flow.log_prob, lambda n: flow.sample((n,)), parameters)


def zuko(architecture: Architecture) -> Model:
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
    return Model(lambda x: flow().log_prob(x), lambda n: flow().sample((n,)), list(flow.parameters()))


def nflows(architecture: Architecture) -> Model:
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
    return Model(flow.log_prob, flow.sample, list(flow.parameters()))


def normflows(architecture: Architecture) -> Model:
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
    return Model(flow.log_prob, lambda n: flow.sample(n)[0], list(flow.parameters()), notes)


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


LIBRARIES: dict[str, Callable[[Architecture], Model]] = {
    "flowcli": flowcli,
    "Pyro": pyro,
    "zuko": zuko,
    "nflows": nflows,
    "normflows": normflows,
}
# The names under which they are installed and imported.
PACKAGES = {"flowcli": ("flowcli", "flowcli"), "Pyro": ("pyro-ppl", "pyro")}


def installed() -> list[str]:
    return [name for name in LIBRARIES if find_spec(PACKAGES.get(name, (name, name))[1])]


def build(library: str, architecture: Architecture, seed: int = 0) -> Model:
    """A library's flow, its weights drawn from a seed and then moved away from the library's start."""
    torch.manual_seed(seed)
    model = LIBRARIES[library](architecture)
    perturb(model.parameters, seed)
    return model
