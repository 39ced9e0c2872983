"""Discrete flow of labels: each shifted around the circle of its categories, given the labels before it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowcli.errors import ConfigError
from flowcli.flows.base import FreeOrConditional
from flowcli.flows.labels import LabelModel, choose
from flowcli.transforms.networks import Conditioner

# The shift of one-hot rows is a (K, K) table for each row.
MOST_LABELS = 100


class ModularShift(nn.Module):
    """One layer: ``z_k = (x_k - mu_k(x before k, context)) mod K_k``, a permutation of the labels' combinations.

    ``mu`` is the category of the largest logit. Its gradient is that of the logits' softmax (straight
    through), as in Tran et al. 2019, section 4.2; the value has no noise, so that a score is exact.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        context_features: int,
        order: Sequence[int],
        hidden: list[int],
        activation: str,
        temperature: float,
    ) -> None:
        super().__init__()
        self.order = list(order)
        self.temperature = temperature
        inputs = itertools.accumulate((cardinalities[k] for k in self.order[:-1]), initial=context_features)
        self.conditioners = nn.ModuleList(
            Conditioner(width, cardinalities[k], hidden, activation) if width else nn.Identity()
            for width, k in zip(inputs, self.order, strict=True)
        )
        for k, conditioner in zip(self.order, self.conditioners, strict=True):
            if isinstance(conditioner, Conditioner):
                # At zero all logits are equal and the shift is none; a little noise lets them part.
                nn.init.normal_(conditioner.output.weight, std=0.01)
                with torch.no_grad():
                    conditioner.output.bias.copy_(torch.eye(cardinalities[k])[0] * 0.1)

    def _shift(self, at: int, before: list[Tensor], context: Tensor | None, like: Tensor) -> Tensor | None:
        """One-hot shift of the column at a place of the order, or ``None`` for no shift."""
        conditioner = self.conditioners[at]
        if not isinstance(conditioner, Conditioner):
            return None
        inputs = before if context is None else [*before, context]
        logits = conditioner(torch.cat(inputs, dim=-1))
        soft = torch.softmax(logits / self.temperature, dim=-1)
        hard: Tensor = (torch.arange(like.shape[-1], device=like.device) == logits.argmax(-1, keepdim=True)).to(
            like.dtype
        )
        return hard + soft - soft.detach() if torch.is_grad_enabled() else hard

    def to_base(self, one_hots: list[Tensor], context: Tensor | None) -> list[Tensor]:
        """One-hot ``z`` of one-hot ``x``, a tensor ``(..., K_k)`` for each column."""
        return self._moved(one_hots, context, -1)

    def to_data(self, one_hots: list[Tensor], context: Tensor | None) -> list[Tensor]:
        """The inverse of :meth:`to_base`, column after column."""
        return self._moved(one_hots, context, 1)

    def _moved(self, one_hots: list[Tensor], context: Tensor | None, sign: int) -> list[Tensor]:
        result = list(one_hots)
        # Shifts depend on the data's side of the columns before, whichever way this goes.
        data = one_hots if sign < 0 else result
        for at, k in enumerate(self.order):
            shift = self._shift(at, [data[j] for j in self.order[:at]], context, one_hots[k])
            if shift is not None:
                result[k] = _turned(one_hots[k], shift, sign)
        return result


def _turned(one_hot: Tensor, shift: Tensor, sign: int) -> Tensor:
    """One-hot of ``(category + sign * shift) mod K``; where gradients are wanted, linear in both."""
    size = one_hot.shape[-1]
    positions = torch.arange(size, device=one_hot.device)
    if not torch.is_grad_enabled():
        # A label that training had not stays no label.
        code = (one_hot.argmax(-1, keepdim=True) + sign * shift.argmax(-1, keepdim=True)) % size
        return (positions == code).to(one_hot.dtype) * one_hot.sum(-1, keepdim=True)
    source = (positions.unsqueeze(1) - sign * positions) % size
    return (one_hot[..., source] * shift.unsqueeze(-2)).sum(-1)


class ModularFlow(LabelModel):
    """Layers of :class:`ModularShift` over a base of independent categories, which the context may move.

    Tran, Vafa, Agrawal, Dinh & Poole 2019, "Discrete flows". Probabilities are exact: a layer only permutes
    the combinations of labels. Shapes as in :class:`LabelModel`.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        context_features: int,
        *,
        layers: int,
        hidden: list[int],
        activation: str,
        temperature: float,
    ) -> None:
        super().__init__(cardinalities)
        if max(cardinalities, default=0) > MOST_LABELS:
            raise ConfigError(
                [f"modular_flow takes columns of at most {MOST_LABELS} labels, and one has {max(cardinalities)}"]
            )
        natural = list(range(len(self.cardinalities)))
        self.layers = nn.ModuleList(
            ModularShift(
                self.cardinalities,
                context_features,
                natural if layer % 2 == 0 else natural[::-1],
                hidden,
                activation,
                temperature,
            )
            for layer in range(layers)
        )
        # Added to the logarithms of the frequencies.
        total = sum(self.cardinalities)
        self.base = FreeOrConditional((total,), context_features, hidden if context_features else None, activation)

    def _base_log_probabilities(self, context: Tensor | None) -> list[Tensor]:
        logits = torch.log(self.frequencies) + self.base.given(context)
        return [torch.log_softmax(part, dim=-1) for part in torch.split(logits, self.cardinalities, dim=-1)]

    def log_prob(self, codes: Tensor, context: Tensor | None) -> Tensor:
        one_hot = self.one_hot(codes)
        total = one_hot.new_zeros(codes.shape[:-1])
        if not self.cardinalities:
            return total
        latent = list(torch.split(one_hot, self.cardinalities, dim=-1))
        for layer in reversed(self.layers):
            assert isinstance(layer, ModularShift)
            latent = layer.to_base(latent, context)
        for z, log_probabilities in zip(latent, self._base_log_probabilities(context), strict=True):
            total = total + (z * log_probabilities).sum(-1)
        return torch.where((codes < 0).any(-1), -torch.inf, total)

    def sample(self, uniforms: Tensor, context: Tensor | None) -> Tensor:
        if not self.cardinalities:
            return torch.zeros_like(uniforms, dtype=torch.long)
        latent = []
        for k, log_probabilities in enumerate(self._base_log_probabilities(context)):
            code = choose(uniforms[..., k], log_probabilities)
            positions = torch.arange(self.cardinalities[k], device=uniforms.device)
            latent.append((positions == code.unsqueeze(-1)).to(self.frequencies.dtype))
        for layer in self.layers:
            assert isinstance(layer, ModularShift)
            latent = layer.to_data(latent, context)
        return torch.stack([one_hot.argmax(-1) for one_hot in latent], dim=-1)
