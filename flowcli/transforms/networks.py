"""The networks that produce a transformer's parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU, "elu": nn.ELU}

# Conditioners see their inputs squashed beyond about this many standard deviations: a row far outside
# the data then gets the parameters of a row at the edge, not a network's straight-line extrapolation.
INPUT_BOUND = 10.0


def squash(inputs: Tensor) -> Tensor:
    """Nearly the identity on the data's range, bounded by ``INPUT_BOUND``, strictly increasing."""
    return INPUT_BOUND * torch.tanh(inputs / INPUT_BOUND)


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
        return cast(Tensor, self.output(self.hidden(squash(inputs))))


class MaskedLinear(nn.Linear):
    """A linear layer in which output ``i`` sees input ``j`` only where ``mask[i, j]`` is true."""

    mask: Tensor

    def __init__(self, mask: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, inputs: Tensor) -> None:
        """``mask``: of the outputs ``(o, 1)`` and the inputs ``(i,)``, each with a degree."""
        super().__init__(len(inputs), len(outputs))
        self.register_buffer("mask", mask(outputs.unsqueeze(1), inputs).to(self.weight.dtype), persistent=False)

    def masked_weight(self) -> Tensor:
        """The weight, ``(outputs, inputs)``, zero where an output does not see an input."""
        return self.weight * self.mask

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, self.masked_weight(), self.bias)


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

    def _last_hidden(self, features: Tensor, context: Tensor | None) -> Tensor:
        inputs = features if context is None else torch.cat([features, context], dim=-1)
        return cast(Tensor, self.hidden(squash(inputs)))

    def forward(self, features: Tensor, context: Tensor | None) -> Tensor:
        parameters = self.output(self._last_hidden(features, context))
        return cast(Tensor, parameters.unflatten(-1, (self.features, self.outputs_per_feature)))

    def layers(self) -> list[tuple[MaskedLinear, nn.Module]]:
        """The hidden layers, each with the activation that follows it."""
        parts = list(self.hidden)
        return [(cast(MaskedLinear, layer), act) for layer, act in zip(parts[::2], parts[1::2], strict=True)]

    def parameters_of(self, feature: int, features: Tensor, context: Tensor | None) -> Tensor:
        """The parameters of one feature, ``(..., outputs_per_feature)``; later features are not looked at."""
        rows = slice(feature * self.outputs_per_feature, (feature + 1) * self.outputs_per_feature)
        weight = self.output.weight[rows] * self.output.mask[rows]
        return functional.linear(self._last_hidden(features, context), weight, self.output.bias[rows])
