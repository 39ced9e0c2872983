"""Autoregressive layers: each column transformed, given the columns before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from flowcli.transforms.affine import AffineTransformer
from flowcli.transforms.bijection import Bijection, ValueAndLogDet, only, sum_features
from flowcli.transforms.deep_sigmoid import DeepSigmoidTransformer
from flowcli.transforms.incremental import Incremental
from flowcli.transforms.networks import MaskedAutoregressiveNetwork
from flowcli.transforms.permute import Ordered, column_order
from flowcli.transforms.registry import build_transformer
from flowcli.transforms.splines import spline
from flowcli.transforms.sum_of_squares import SumOfSquaresTransformer
from flowcli.transforms.transformer import Transformer
from flowcli.transforms.unconstrained_monotonic import UnconstrainedMonotonicTransformer


class Autoregressive(Ordered):
    """One triangular map, in either direction.

    ``direction="density"`` (MAF, Papamakarios, Pavlakou & Murray 2017): ``z_k = tau^-1(x_k; theta(x_<k))``;
    scoring is one pass of the network, sampling d passes. ``direction="sampling"`` (IAF, Kingma et al.
    2016): ``x_k = tau(z_k; theta(z_<k))``; sampling is one pass, scoring d passes. Without gradients the d passes
    are d steps, with the work of about one pass (:mod:`.incremental`).
    """

    def __init__(
        self,
        features: int,
        context_features: int,
        transformer: Transformer,
        *,
        direction: str,
        order: str | list[int],
        hidden: list[int],
        activation: str,
    ) -> None:
        super().__init__(column_order(order, features, "order"))
        self.transformer = transformer
        self.density = direction == "density"
        self.compiles = self.density and transformer.compiles
        self.network = MaskedAutoregressiveNetwork(
            features, context_features, transformer.parameter_count, hidden, activation
        )

    def _one_pass(self, value: Tensor, context: Tensor | None, present: Tensor | None, inverse: bool) -> ValueAndLogDet:
        """The direction in which all conditioning values are known at once."""
        ordered = self.ordered(value)
        transform = self.transformer.inverse if inverse else self.transformer.forward
        result, log_slope = transform(ordered, self.network(ordered, context))
        there = None if present is None else self.ordered(present)
        return self.restored(only(result, there)), sum_features(log_slope, there)

    def _column_by_column(
        self, value: Tensor, context: Tensor | None, present: Tensor | None, inverse: bool
    ) -> ValueAndLogDet:
        """The other direction: column ``k`` needs the results of the columns before it."""
        if not torch.is_grad_enabled():
            return self._unit_by_unit(value, context, present, inverse)
        ordered = self.ordered(value)
        transform = self.transformer.inverse if inverse else self.transformer.forward
        there = None if present is None else self.ordered(present)
        known = torch.zeros_like(ordered)
        log_slopes = []
        for k in range(ordered.shape[-1]):
            parameters = self.network.parameters_of(k, known, context)
            column, log_slope = transform(ordered[..., k], parameters)
            column = only(column, None if there is None else there[..., k])
            # A new tensor each time: autograd still needs the old one.
            known = torch.cat([known[..., :k], column.unsqueeze(-1), known[..., k + 1 :]], dim=-1)
            log_slopes.append(log_slope)
        return self.restored(known), sum_features(torch.stack(log_slopes, dim=-1), there)

    def _unit_by_unit(
        self, value: Tensor, context: Tensor | None, present: Tensor | None, inverse: bool
    ) -> ValueAndLogDet:
        """The same without gradients, at the price of about one pass of the network."""
        batch, features = value.shape[:-1], value.shape[-1]
        ordered = self.ordered(value).reshape(-1, features)
        given = None if context is None else context.expand(*batch, -1).reshape(-1, context.shape[-1])
        there = None if present is None else self.ordered(present).expand(*batch, -1).reshape(-1, features)
        transform = self.transformer.inverse if inverse else self.transformer.forward
        rows = ordered.shape[0]
        network = Incremental(self.network, rows, given)
        # A column's rows together, which is how the network works.
        known, log_det = ordered.new_empty(features, rows), ordered.new_zeros(rows)
        for k, column in enumerate(ordered.T.contiguous()):
            result, log_slope = transform(column, network.parameters_of(k))
            present_here = None if there is None else there[:, k]
            known[k] = only(result, present_here)
            log_det += only(log_slope, present_here)
            network.know(k, known[k])
        return self.restored(known.T).reshape(value.shape), log_det.reshape(batch)

    def forward_and_log_det(
        self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        apply = self._column_by_column if self.density else self._one_pass
        return apply(z, context, present, inverse=False)

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        apply = self._one_pass if self.density else self._column_by_column
        return apply(x, context, present, inverse=True)


# The entries' builders. ``layer`` holds direction, order, hidden and activation.


def autoregressive(
    features: int, context_features: int, *, transformer: Mapping[str, Mapping[str, Any]], **layer: Any
) -> Bijection:
    """An autoregressive layer with any elementwise transform."""
    return Autoregressive(features, context_features, build_transformer(transformer), **layer)


def affine_autoregressive(features: int, context_features: int, *, log_scale_bound: float, **layer: Any) -> Bijection:
    """MAF or IAF."""
    return Autoregressive(features, context_features, AffineTransformer(log_scale_bound), **layer)


def spline_autoregressive(
    features: int, context_features: int, *, kind: str, bins: int, bound: float, **layer: Any
) -> Bijection:
    """An autoregressive layer with a monotone spline."""
    return Autoregressive(features, context_features, spline(kind, bins, bound), **layer)


# In the last three the transformer's formula goes the way of the layer's one pass.


def neural_autoregressive(
    features: int, context_features: int, *, direction: str, units: int, **layer: Any
) -> Bijection:
    """NAF: an autoregressive layer with sums of sigmoids."""
    transformer = DeepSigmoidTransformer(units=units, direction=direction)
    return Autoregressive(features, context_features, transformer, direction=direction, **layer)


def polynomial_autoregressive(
    features: int, context_features: int, *, direction: str, polynomials: int, degree: int, bound: float, **layer: Any
) -> Bijection:
    """An autoregressive layer with increasing polynomials."""
    transformer = SumOfSquaresTransformer(polynomials=polynomials, degree=degree, bound=bound, direction=direction)
    return Autoregressive(features, context_features, transformer, direction=direction, **layer)


def unconstrained_monotonic_autoregressive(
    features: int, context_features: int, *, direction: str, units: int, bound: float, **layer: Any
) -> Bijection:
    """UMNN: an autoregressive layer with integrals of positive networks."""
    transformer = UnconstrainedMonotonicTransformer(units=units, bound=bound, direction=direction)
    return Autoregressive(features, context_features, transformer, direction=direction, **layer)
