"""Integer discrete flow: whole numbers, each with a probability."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from flowcli.flows.base import FreeOrConditional, inside_unit
from flowcli.flows.labels import choose
from flowcli.transforms.networks import Conditioner
from flowcli.transforms.transformer import soft_clip

LOG_SCALE_BOUND = 7.0


class IntegerFlow(nn.Module):
    """``p(x | context)`` for columns of whole numbers (Hoogeboom, Peters, van den Berg & Welling 2019).

    Each layer shifts every second column by a rounded network of the others, ``z = x - round(t)``, which
    permutes the integers; the base of each column is a mixture of logistics, discretised to bins of one.
    With a context a network of it moves the base too. Rounding passes gradients straight through.

    Networks and base work in units of each column's ``scale``, around 0. Shapes: ``x`` ``(n, o)``, whole
    numbers in a float type; context ``(n, c)`` or ``None``; log-probabilities ``(n,)``.
    """

    scale: Tensor

    def __init__(
        self,
        scales: Sequence[float],
        context_features: int,
        *,
        layers: int,
        components: int,
        hidden: list[int],
        activation: str,
    ) -> None:
        super().__init__()
        columns = len(scales)
        self.components = components
        self.noise_features = 2 * columns
        self.register_buffer("scale", torch.tensor(list(scales), dtype=torch.get_default_dtype()), persistent=False)
        self.shifted = [list(range(layer % 2, columns, 2)) for layer in range(layers)]
        self.kept = [list(range(1 - layer % 2, columns, 2)) for layer in range(layers)]
        self.conditioners = nn.ModuleList(
            Conditioner(len(kept) + context_features, len(shifted), hidden, activation)
            if shifted and len(kept) + context_features
            else nn.Identity()
            for shifted, kept in zip(self.shifted, self.kept, strict=True)
        )
        # Of each component: log-weight, location and log-scale.
        self.base = FreeOrConditional(
            (columns, components, 3), context_features, hidden if context_features else None, activation
        )
        with torch.no_grad():
            # At the quantiles of a normal, so that components differ from the start.
            place = (torch.arange(components) + 0.5) / components
            self.base.free[..., 1] = torch.special.ndtri(place)
            self.base.free[..., 2] = -math.log(components**0.5 * 2)

    def standardized(self, x: Tensor) -> Tensor:
        """``x`` in units of each column's scale."""
        return x / self.scale

    def _shift(self, layer: int, value: Tensor, context: Tensor | None) -> Tensor | None:
        """Whole numbers to shift the layer's columns by, or ``None`` for no shift."""
        conditioner = self.conditioners[layer]
        if not isinstance(conditioner, Conditioner):
            return None
        kept, shifted = self.kept[layer], self.shifted[layer]
        inputs = self.standardized(value)[..., kept]
        shift = conditioner(inputs if context is None else torch.cat([inputs, context], dim=-1)) * self.scale[shifted]
        rounded = torch.round(shift)
        return rounded.detach() + shift - shift.detach() if torch.is_grad_enabled() else rounded

    def _move(self, value: Tensor, layer: int, context: Tensor | None, sign: int) -> Tensor:
        shift = self._shift(layer, value, context)
        if shift is None:
            return value
        columns = list(value.unbind(-1))
        for position, k in enumerate(self.shifted[layer]):
            columns[k] = columns[k] + sign * shift[..., position]
        return torch.stack(columns, dim=-1)

    def _base_parameters(self, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, locations and log-scales ``(..., o, components)``, in the columns' units."""
        weights, locations, scales = self.base.given(context).unbind(-1)
        log_scales = soft_clip(scales, LOG_SCALE_BOUND) + torch.log(self.scale).unsqueeze(-1)
        return torch.log_softmax(weights, dim=-1), locations * self.scale.unsqueeze(-1), log_scales

    def log_prob(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Log-probability in nats; it sums to one over all whole numbers."""
        for layer in reversed(range(len(self.shifted))):
            x = self._move(x, layer, context, -1)
        log_weights, locations, log_scales = self._base_parameters(context)
        away = x.unsqueeze(-1) - locations
        width = torch.exp(-log_scales)
        # The logistic's mass of a bin, as a product: a difference of two near-equal numbers would lose it.
        mass = logsigmoid((away + 0.5) * width) + logsigmoid((0.5 - away) * width) + torch.log(-torch.expm1(-width))
        return torch.logsumexp(log_weights + mass, dim=-1).sum(-1)

    def sample(self, uniforms: Tensor, context: Tensor | None) -> Tensor:
        """Whole numbers ``(n, o)`` from uniform numbers ``(n, 2 o)``."""
        which, place = uniforms.chunk(2, dim=-1)
        log_weights, locations, log_scales = self._base_parameters(context)
        component = choose(which, log_weights.expand(*which.shape, -1)).unsqueeze(-1)
        location, log_scale = (
            values.expand(*which.shape, -1).gather(-1, component).squeeze(-1) for values in (locations, log_scales)
        )
        x = torch.round(location + torch.exp(log_scale) * torch.logit(inside_unit(place)))
        for layer in range(len(self.shifted)):
            x = self._move(x, layer, context, 1)
        return x
