"""Label columns, one after the other: ``p(l_1 | context) p(l_2 | l_1, context) ...``, each a softmax."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowcli.flows.labels import LabelModel, choose
from flowcli.transforms.networks import Conditioner


class AutoregressiveSoftmax(LabelModel):
    """A softmax for each label column, given those before it.

    A column with nothing before it and no context has its training frequencies, which are the
    maximum-likelihood solution and are not trained. Every other one has a network that starts there.
    Shapes as in :class:`LabelModel`.
    """

    def __init__(
        self, cardinalities: Sequence[int], context_features: int, *, hidden: list[int], activation: str
    ) -> None:
        super().__init__(cardinalities)
        self.ends = [0, *itertools.accumulate(self.cardinalities)]
        self.conditioners = nn.ModuleList(
            Conditioner(context_features + before, size, hidden, activation)
            if context_features + before
            else nn.Identity()
            for before, size in zip(self.ends, self.cardinalities, strict=False)
        )

    def _log_probabilities(self, position: int, one_hot: Tensor, context: Tensor | None) -> Tensor:
        """Of each category of one column, ``(n, k)``, given the columns before it."""
        start, end = self.ends[position], self.ends[position + 1]
        logits = torch.log(self.frequencies[start:end]).expand(*one_hot.shape[:-1], -1)
        conditioner = self.conditioners[position]
        if isinstance(conditioner, Conditioner):
            before = one_hot[..., :start]
            logits = logits + conditioner(before if context is None else torch.cat([before, context], dim=-1))
        return torch.log_softmax(logits, dim=-1)

    def log_prob(self, codes: Tensor, context: Tensor | None) -> Tensor:
        one_hot = self.one_hot(codes)
        total = one_hot.new_zeros(codes.shape[:-1])
        for position in range(len(self.cardinalities)):
            log_probabilities = self._log_probabilities(position, one_hot, context)
            code = codes[..., position]
            chosen = log_probabilities.gather(-1, code.clamp_min(0).unsqueeze(-1)).squeeze(-1)
            total = total + torch.where(code < 0, -torch.inf, chosen)
        return total

    def sample(self, uniforms: Tensor, context: Tensor | None) -> Tensor:
        codes = torch.full(uniforms.shape, -1, dtype=torch.long, device=uniforms.device)
        for position in range(len(self.cardinalities)):
            log_probabilities = self._log_probabilities(position, self.one_hot(codes), context)
            codes[..., position] = choose(uniforms[..., position], log_probabilities)
        return codes
