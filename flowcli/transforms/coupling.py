"""Coupling layers: one part of the columns is transformed, given the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from flowcli.transforms.affine import AdditiveTransformer, AffineTransformer
from flowcli.transforms.bijection import Bijection, ValueAndLogDet, only, sum_features
from flowcli.transforms.networks import Conditioner
from flowcli.transforms.permute import Ordered, random_order
from flowcli.transforms.registry import build_transformer
from flowcli.transforms.splines import spline
from flowcli.transforms.transformer import Transformer


def split_order(split: str | list[int], features: int) -> tuple[Tensor, int]:
    """Columns in the order kept first, transformed after, and how many are kept.

    A list holds the positions of those that are kept, from 0. Otherwise ``features // 2`` are kept.
    """
    if isinstance(split, list):
        return torch.tensor([*split, *(k for k in range(features) if k not in split)]), len(split)
    return _halves(split, features), features // 2


def _halves(split: str, features: int) -> Tensor:
    if split == "half":
        return torch.arange(features)
    if split == "alternate":
        return torch.cat([torch.arange(1, features, 2), torch.arange(0, features, 2)])
    return random_order(features)


class Coupling(Ordered):
    """``x_kept = z_kept``, ``x_rest = tau(z_rest; theta(z_kept, context))`` (Dinh, Sohl-Dickstein & Bengio 2017)."""

    def __init__(
        self,
        features: int,
        context_features: int,
        transformer: Transformer,
        *,
        split: str | list[int],
        hidden: list[int],
        activation: str,
    ) -> None:
        order, kept = split_order(split, features)
        super().__init__(order)
        self.transformer = transformer
        self.compiles = transformer.compiles
        self.kept = kept
        self.transformed = features - kept
        self.conditioner = Conditioner(
            self.kept + context_features, self.transformed * transformer.parameter_count, hidden, activation
        )

    def _couple(self, value: Tensor, context: Tensor | None, present: Tensor | None, inverse: bool) -> ValueAndLogDet:
        kept, rest = torch.split(self.ordered(value), [self.kept, self.transformed], dim=-1)
        inputs = kept if context is None else torch.cat([kept, context], dim=-1)
        parameters = self.conditioner(inputs).unflatten(-1, (self.transformed, self.transformer.parameter_count))
        transform = self.transformer.inverse if inverse else self.transformer.forward
        rest, log_slope = transform(rest, parameters)
        there = None if present is None else present.index_select(-1, self.order[self.kept :])
        result = self.restored(torch.cat([kept, only(rest, there)], dim=-1))
        return result, sum_features(log_slope, there)

    def forward_and_log_det(
        self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        return self._couple(z, context, present, inverse=False)

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        return self._couple(x, context, present, inverse=True)


# The entries' builders. ``layer`` holds split, hidden and activation.


def coupling(
    features: int, context_features: int, *, transformer: Mapping[str, Mapping[str, Any]], **layer: Any
) -> Bijection:
    """A coupling layer with any elementwise transform."""
    return Coupling(features, context_features, build_transformer(transformer), **layer)


def additive_coupling(features: int, context_features: int, **layer: Any) -> Bijection:
    """NICE's layer: a shift alone."""
    return Coupling(features, context_features, AdditiveTransformer(), **layer)


def affine_coupling(features: int, context_features: int, *, log_scale_bound: float, **layer: Any) -> Bijection:
    """Real NVP's layer: one network gives shift and log-scale."""
    return Coupling(features, context_features, AffineTransformer(log_scale_bound), **layer)


def spline_coupling(
    features: int, context_features: int, *, kind: str, bins: int, bound: float, **layer: Any
) -> Bijection:
    """A coupling layer with a monotone spline."""
    return Coupling(features, context_features, spline(kind, bins, bound), **layer)
