"""Block neural autoregressive flows: one network, triangular in blocks and increasing in each column's own."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowcli.transforms.bijection import ValueAndLogDet, sum_features
from flowcli.transforms.networks import squash
from flowcli.transforms.one_way import OneWay
from flowcli.transforms.root_finding import solve_increasing_onto


def _log_tanh_slope(value: Tensor) -> Tensor:
    return 2 * (math.log(2) - value.abs() - functional.softplus(-2 * value.abs()))


class BlockTriangularLinear(nn.Module):
    """A linear layer whose block for column ``k`` sees those of columns before freely, its own with positive weights.

    De Cao, Aziz & Titov 2019, section 3: positive weights are exponentials, and each row is as long
    as a parameter of its own says.
    """

    own: Tensor
    before: Tensor

    def __init__(self, features: int, units_in: int, units_out: int) -> None:
        super().__init__()
        self.shape = (features, units_out, features, units_in)
        rows, columns = features * units_out, features * units_in
        # First: what is as large, and derived, is made only where the weights may be.
        self.raw = nn.Parameter(torch.randn(rows, columns) / math.sqrt(columns))
        blocks = torch.ones(units_out, units_in)
        self.register_buffer("own", torch.kron(torch.eye(features), blocks), persistent=False)
        self.register_buffer(
            "before", torch.kron(torch.tril(torch.ones(features, features), diagonal=-1), blocks), persistent=False
        )
        self.log_length = nn.Parameter(torch.zeros(rows))
        # Spread out: units of one column differ in where they bend.
        self.bias = nn.Parameter(2 * torch.rand(rows) - 1)

    def weights(self) -> tuple[Tensor, Tensor]:
        """The matrix ``(d out, d in)`` and its blocks on the diagonal ``(d, out, in)``."""
        # The exponential of what is not on the diagonal could overflow, and 0 times infinity is no number.
        free = self.raw * self.before + torch.exp(self.raw * self.own) * self.own
        weight = free * (torch.exp(self.log_length) / torch.linalg.vector_norm(free, dim=-1)).unsqueeze(-1)
        return weight, torch.diagonal(weight.view(self.shape), dim1=0, dim2=2).movedim(-1, 0)


# The logit of the network's share to start with: the map is mostly the identity.
SMALL_SHARE = -2.0


class BlockNeuralAutoregressive(OneWay):
    """``f(v) = (1 - g) v + g h(v)``, ``h`` a network of tanh layers, triangular in blocks; ``g`` in (0, 1) by column.

    De Cao, Aziz & Titov 2019, section 3. The determinant is the product of the slopes of ``h_k`` in ``v_k``,
    which come along in the same pass as products of the blocks on the diagonal, in logarithms. ``h`` is
    bounded, so that far out ``f`` is a straight line of slope ``1 - g``, and onto. The context shifts what
    the units of every hidden layer see.
    """

    def __init__(
        self, features: int, context_features: int, *, direction: str, hidden_factor: int, layers: int
    ) -> None:
        super().__init__(direction)
        self.features = features
        widths = [1, *[hidden_factor] * layers, 1]
        self.layers = nn.ModuleList(BlockTriangularLinear(features, *pair) for pair in pairwise(widths))
        # From where the network has a small share, to which weight decay pulls.
        self.gate = nn.Parameter(torch.zeros(features))
        self.context: nn.Linear | None = None
        if context_features:
            self.context = nn.Linear(context_features, layers * features * hidden_factor)

    def _layers(self, context: Tensor | None) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each layer its matrix, the blocks on its diagonal, and what is added, ``(..., d, out)``."""
        layers = [cast(BlockTriangularLinear, layer) for layer in self.layers]
        biases = [layer.bias for layer in layers]
        if self.context is not None:
            if context is None:
                raise ValueError("this transform was built for a context, and none was given")
            shifts = self.context(squash(context)).chunk(len(layers) - 1, dim=-1)
            biases[:-1] = [bias + shift for bias, shift in zip(biases[:-1], shifts, strict=True)]
        return [
            (*layer.weights(), torch.unflatten(bias, -1, (self.features, -1)))
            for layer, bias in zip(layers, biases, strict=True)
        ]

    def _gated(self, value: Tensor, inner: Tensor, log_slope: Tensor, gate: Tensor) -> ValueAndLogDet:
        """The network's value and log-slope, mixed with the identity's."""
        mixed = torch.logaddexp(functional.logsigmoid(-gate), functional.logsigmoid(gate) + log_slope)
        return value + torch.sigmoid(gate) * (inner - value), mixed

    def formula(self, value: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        inner, log_slope = value.unsqueeze(-1), torch.zeros_like(value).unsqueeze(-1)
        for i, (weight, blocks, added) in enumerate(self._layers(context)):
            if i:
                log_slope = log_slope + _log_tanh_slope(inner)
                inner = torch.tanh(inner)
            inner = torch.unflatten(functional.linear(inner.flatten(-2), weight), -1, (self.features, -1)) + added
            log_slope = _log_product(blocks, log_slope)
        result, log_slopes = self._gated(value, inner.squeeze(-1), log_slope.squeeze(-1), self.gate + SMALL_SHARE)
        return result, sum_features(log_slopes)

    def solve(self, value: Tensor, context: Tensor | None = None) -> Tensor:
        layers = self._layers(context)
        # What each layer sees of the columns that are solved: ``(..., k in)`` for k columns.
        seen = [value.new_zeros(*value.shape[:-1], 0) for _ in layers]
        for k in range(self.features):
            column = _Column(self, k, layers, seen)
            root = solve_increasing_onto(column.value_and_slope, value[..., k], guess=value[..., k])
            own = column.inputs(root)
            seen = [torch.cat(pair, dim=-1) for pair in zip(seen, own, strict=True)]
        return seen[0]


class _Column:
    """Column ``k`` of the network as a function of its own input, those before it being known."""

    def __init__(
        self,
        flow: BlockNeuralAutoregressive,
        k: int,
        layers: list[tuple[Tensor, Tensor, Tensor]],
        seen: list[Tensor],
    ) -> None:
        self.flow = flow
        self.gate = flow.gate[k] + SMALL_SHARE
        self.blocks = [blocks[k] for _, blocks, _ in layers]
        self.added = []
        for (weight, blocks, added), known in zip(layers, seen, strict=True):
            units = blocks.shape[1]
            rows = weight[k * units : (k + 1) * units, : known.shape[-1]]
            self.added.append(functional.linear(known, rows) + added[..., k, :])

    def inputs(self, value: Tensor) -> list[Tensor]:
        """What each layer sees of this column, ``(..., in)``."""
        inputs = [value.unsqueeze(-1)]
        for block, added in zip(self.blocks[:-1], self.added, strict=False):
            inputs.append(torch.tanh(functional.linear(inputs[-1], block) + added))
        return inputs

    def value_and_slope(self, value: Tensor) -> tuple[Tensor, Tensor]:
        inner, slope = value.unsqueeze(-1), torch.ones_like(value).unsqueeze(-1)
        for i, (block, added) in enumerate(zip(self.blocks, self.added, strict=True)):
            if i:
                inner = torch.tanh(inner)
                slope = slope * (1 - inner * inner)
            inner, slope = functional.linear(inner, block) + added, functional.linear(slope, block)
        share = torch.sigmoid(self.gate)
        return value + share * (inner.squeeze(-1) - value), 1 - share + share * slope.squeeze(-1)


def _log_product(blocks: Tensor, log_slope: Tensor) -> Tensor:
    """``log(blocks @ exp(log_slope))`` for ``(d, out, in)`` and ``(..., d, in)``, by the largest of each sum."""
    largest = log_slope.detach().amax(-1, keepdim=True)
    product = (blocks @ torch.exp(log_slope - largest).unsqueeze(-1)).squeeze(-1)
    return largest + torch.log(product)
