"""The networks that produce a transformer's parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowcli.transforms.masked_product import blocks_of, masked_linear
from flowcli.transforms.node import is_transformed

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU, "elu": nn.ELU}
# The activations, each overwriting what it is given.
IN_PLACE: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.ReLU: torch.relu_,
    nn.Tanh: torch.tanh_,
    nn.SiLU: lambda units: functional.silu(units, inplace=True),
    nn.ELU: lambda units: functional.elu(units, inplace=True),
}

# Conditioners see their inputs squashed beyond about this many standard deviations: a row far outside
# the data then gets the parameters of a row at the edge, not a network's straight-line extrapolation.
INPUT_BOUND = 10.0


def squash(inputs: Tensor) -> Tensor:
    """Nearly the identity on the data's range, bounded by ``INPUT_BOUND``, strictly increasing."""
    return INPUT_BOUND * torch.tanh(inputs / INPUT_BOUND)


def _without_gradient(inputs: Tensor, hidden: nn.Sequential, output: nn.Linear) -> Tensor:
    """``output(hidden(squash(inputs)))``, ``(..., outputs)``, in fewer operations, in place.

    A unit of all rows lies together in memory, which its product and what comes after are faster for.
    """
    rows = inputs.reshape(math.prod(inputs.shape[:-1]), inputs.shape[-1])
    units = (rows.mT / INPUT_BOUND).tanh_().mul_(INPUT_BOUND)
    for part in (*hidden, output):
        if isinstance(part, nn.Linear):
            units = (_weight(part) @ units).add_(part.bias.unsqueeze(-1))
        else:
            units = IN_PLACE[type(part)](units)
    return units.mT.reshape(*inputs.shape[:-1], len(output.bias))


def _weight(layer: nn.Linear) -> Tensor:
    return layer.seen_weight() if isinstance(layer, MaskedLinear) else layer.weight


class Conditioner(nn.Module):
    """A multilayer perceptron from ``(..., inputs)`` to ``(..., outputs)`` that starts at zero everywhere."""

    def __init__(self, inputs: int, outputs: int, hidden: list[int], activation: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = inputs
        for next_width in hidden:
            layers += [nn.Linear(width, next_width), ACTIVATIONS[activation]()]
            width = next_width
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(width, outputs)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return _without_gradient(inputs, self.hidden, self.output)
        return cast(Tensor, self.output(self.hidden(squash(inputs))))


class MaskedLinear(nn.Linear):
    """A linear layer in which output ``i`` sees input ``j`` only where ``mask[i, j]`` is true."""

    mask: Tensor
    # Whether the weight is zero outside the mask already; see :func:`take_as_masked`.
    masked = False

    def __init__(self, mask: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, inputs: Tensor) -> None:
        """``mask``: of the outputs ``(o, 1)`` and the inputs ``(i,)``, each with a degree."""
        super().__init__(len(inputs), len(outputs))
        seen = mask(outputs.unsqueeze(1), inputs)
        self.blocks = blocks_of(seen)
        self.register_buffer("mask", seen.to(self.weight.dtype), persistent=False)
        with torch.no_grad():
            self.weight.mul_(self.mask)

    def seen_weight(self) -> Tensor:
        """The weight, ``(outputs, inputs)``, zero where an output does not see an input."""
        return self.weight if self.masked else self.weight * self.mask

    def forward(self, inputs: Tensor) -> Tensor:
        # On a GPU one product is faster than some, whatever it is of.
        if self.blocks and inputs.device.type == "cpu" and not is_transformed():
            return masked_linear(inputs, self.seen_weight(), self.bias, self.blocks)
        return functional.linear(inputs, self.seen_weight(), self.bias)


def masks_of(module: nn.Module) -> dict[nn.Parameter, Tensor]:
    """The masks of the masked layers' weights."""
    layers = [layer for layer in module.modules() if isinstance(layer, MaskedLinear)]
    return {cast(nn.Parameter, layer.weight): layer.mask for layer in layers}


def take_as_masked(module: nn.Module, masked: bool = True) -> None:
    """Have masked layers take their weights as they are: whoever moves these then keeps them within the masks."""
    for layer in module.modules():
        if isinstance(layer, MaskedLinear):
            layer.masked = masked


class MaskedAutoregressiveNetwork(nn.Module):
    """MADE (Germain, Gregor, Murray & Larochelle 2015): parameters of feature ``k`` from features before ``k``.

    The features are in the network's own order; whoever uses another order permutes around it. Context
    is seen by every unit. Starts at zero everywhere.

    Shapes: features ``(..., d)``, context ``(..., c)``, result ``(..., d, outputs_per_feature)``.
    """

    def __init__(
        self, features: int, context_features: int, outputs_per_feature: int, hidden: list[int], activation: str
    ) -> None:
        super().__init__()
        self.features = features
        self.outputs_per_feature = outputs_per_feature
        # A unit of degree m sees features 1..m. Units of degree 0 see the context alone, and carry it to
        # the first feature.
        lowest = 0 if context_features else min(1, features - 1)
        degrees = torch.cat([torch.arange(1, features + 1), torch.zeros(context_features, dtype=torch.long)])
        layers: list[nn.Module] = []
        # Of each hidden layer, by feature, where the units begin that see no feature after those before it.
        self.first_units: list[list[int]] = []
        for width in hidden:
            # From the top, so that a very narrow layer keeps what sees the most.
            next_degrees = torch.linspace(max(features - 1, lowest), lowest, width).round().long()
            layers += [MaskedLinear(torch.ge, next_degrees, degrees), ACTIVATIONS[activation]()]
            degrees = next_degrees
            self.first_units.append([int((degrees > feature).sum()) for feature in range(features)])
        self.hidden = nn.Sequential(*layers)
        output_degrees = torch.arange(1, features + 1).repeat_interleave(outputs_per_feature)
        self.output = MaskedLinear(torch.gt, output_degrees, degrees)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, features: Tensor, context: Tensor | None) -> Tensor:
        inputs = features if context is None else torch.cat([features, context], dim=-1)
        if torch.is_grad_enabled():
            parameters = self.output(self.hidden(squash(inputs)))
        else:
            parameters = _without_gradient(inputs, self.hidden, self.output)
        return cast(Tensor, parameters.unflatten(-1, (self.features, self.outputs_per_feature)))

    def layers(self) -> list[tuple[MaskedLinear, nn.Module]]:
        """The hidden layers, each with the activation that follows it."""
        parts = list(self.hidden)
        return [(cast(MaskedLinear, layer), act) for layer, act in zip(parts[::2], parts[1::2], strict=True)]

    def parameters_of(self, feature: int, features: Tensor, context: Tensor | None) -> Tensor:
        """The parameters of one feature, ``(..., outputs_per_feature)``; later features are not looked at."""
        inputs = features if context is None else torch.cat([features, context], dim=-1)
        rows = slice(feature * self.outputs_per_feature, (feature + 1) * self.outputs_per_feature)
        return functional.linear(self.hidden(squash(inputs)), self.output.seen_weight()[rows], self.output.bias[rows])
