"""A masked autoregressive network that is asked for one feature after the other, each weight used once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from flowcli.transforms.networks import IN_PLACE, MaskedAutoregressiveNetwork, squash

# So many units of a layer are reached by a product of their own at each step; the others by one product for all.
UNITS_AT_ONCE = 96


@dataclass
class _Layer:
    """Outputs ``(units, n)`` in the making: ``sums`` hold the bias and what is known of the inputs.

    ``first[k]``: where the outputs begin that see no feature from ``k`` on.
    """

    weight: Tensor
    sums: Tensor
    first: list[int]
    activate: Callable[[Tensor], Tensor]

    def begin(self, feature: int) -> int:
        """Where the outputs end that see a feature from this one on."""
        return self.first[feature - 1] if feature else len(self.sums)


class Incremental:
    """The parameters of features 0, 1, ... in turn, where a feature becomes known after its parameters.

    A unit of degree ``m`` sees the features before ``m``, so that it can be computed as soon as these are known, and
    never changes. All the steps together then take about as much as one pass of the network. Features come in blocks,
    as in a blocked triangular solve: within a block a step adds up what the block has found out so far, and at its
    end that is added to all later units at once.

    It works in place, and so without gradients. Columns are rows of its buffers ``(units, n)``, and units lie in
    descending order of their degrees: what is used together lies together.
    """

    def __init__(self, network: MaskedAutoregressiveNetwork, rows: int, context: Tensor | None) -> None:
        """``context`` is ``(n, c)``, or ``None``."""
        features = network.features
        self._outputs = network.outputs_per_feature
        self._layers = []
        for (layer, activation), first in zip(network.layers(), network.first_units, strict=True):
            sums = layer.bias.unsqueeze(-1).repeat(1, rows)
            self._layers.append(_Layer(layer.seen_weight(), sums, first, IN_PLACE[type(activation)]))
        self._weight = network.output.seen_weight()
        self._parameters = network.output.bias.unsqueeze(-1).repeat(1, rows)
        self._inputs = self._weight.new_empty(features, rows)
        self._block = 0
        widest = max((len(layer.sums) for layer in self._layers), default=0)
        self._features_at_once = max(1, UNITS_AT_ONCE * features // widest) if widest else features
        if context is not None:
            weight, sums = (
                (self._layers[0].weight, self._layers[0].sums) if self._layers else (self._weight, self._parameters)
            )
            sums.addmm_(weight[:, features:], squash(context).T)

    def parameters_of(self, feature: int) -> Tensor:
        """``(n, outputs_per_feature)``; to be asked for each feature once, in order."""
        if feature - self._block == self._features_at_once:
            self._end_block(feature)
        found, seen = self._inputs[self._block : feature], slice(self._block, feature)
        for layer in self._layers:
            new = slice(layer.first[feature], layer.begin(feature))
            if new.start < new.stop:
                layer.activate(layer.sums[new].addmm_(layer.weight[new, seen], found))
            seen = slice(layer.first[feature], layer.begin(self._block))
            found = layer.sums[seen]
        own = slice(feature * self._outputs, (feature + 1) * self._outputs)
        parameters = self._parameters[own]
        if seen.start < seen.stop:
            parameters.addmm_(self._weight[own, seen], found)
        return parameters.T

    def know(self, feature: int, values: Tensor) -> None:
        """The feature's values ``(n,)``."""
        self._inputs[feature] = squash(values)

    def _end_block(self, feature: int) -> None:
        """Add what the block has found out to all that is still to come, which begins with this feature."""
        found, seen = self._inputs[self._block : feature], slice(self._block, feature)
        for layer in self._layers:
            later = slice(0, layer.begin(feature))
            layer.sums[later].addmm_(layer.weight[later, seen], found)
            seen = slice(layer.begin(feature), layer.begin(self._block))
            found = layer.sums[seen]
        later = slice(feature * self._outputs, None)
        self._parameters[later].addmm_(self._weight[later, seen], found)
        self._block = feature
