"""Label columns, one after the other: ``p(l_1 | context) p(l_2 | l_1, context) ...``, each a softmax."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowcli.transforms.networks import Conditioner

HIDDEN = [64]


class LabelModel(nn.Module):
    """A joint distribution of label columns.

    A column with nothing before it and no context has its training frequencies, which are the
    maximum-likelihood solution and are not trained. Every other one has a network that starts there.

    Shapes: codes ``(n, l)`` of integers, -1 for a label that training had not; context ``(n, c)``.
    """

    column: Tensor
    code: Tensor
    frequencies: Tensor

    def __init__(self, cardinalities: Sequence[int], context_features: int) -> None:
        super().__init__()
        self.cardinalities = list(cardinalities)
        self.ends = torch.tensor([0, *cardinalities]).cumsum(0).tolist()
        each = torch.tensor(self.cardinalities, dtype=torch.long)
        self.register_buffer("column", torch.repeat_interleave(torch.arange(len(each)), each), persistent=False)
        codes = [torch.arange(size) for size in self.cardinalities]
        self.register_buffer("code", torch.cat(codes) if codes else each, persistent=False)
        self.register_buffer("frequencies", torch.ones(int(each.sum())))
        self.conditioners = nn.ModuleList(
            Conditioner(context_features + before, size, HIDDEN, "relu") if context_features + before else nn.Identity()
            for before, size in zip(self.ends, self.cardinalities, strict=False)
        )

    def is_sound(self) -> bool:
        """Whether the frequencies, as loaded from a file, are positive and sum to one in each column."""
        columns = torch.split(self.frequencies, self.cardinalities)
        return all(bool((f > 0).all()) and abs(float(f.sum()) - 1) < 1e-3 for f in columns)

    def one_hot(self, codes: Tensor) -> Tensor:
        """``(n, sum of cardinalities)``; a row of zeros for a label that training had not."""
        return (codes[..., self.column] == self.code).to(self.frequencies.dtype)

    @torch.no_grad()
    def initialize(self, codes: Tensor) -> None:
        """Set the frequencies from training rows."""
        counts = self.one_hot(codes).sum(0)
        self.frequencies.copy_(counts / len(codes))

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
        """Log-probability in nats, ``(n,)``; ``-inf`` where a label was not in training."""
        one_hot = self.one_hot(codes)
        total = one_hot.new_zeros(codes.shape[:-1])
        for position in range(len(self.cardinalities)):
            log_probabilities = self._log_probabilities(position, one_hot, context)
            code = codes[..., position]
            chosen = log_probabilities.gather(-1, code.clamp_min(0).unsqueeze(-1)).squeeze(-1)
            total = total + torch.where(code < 0, -torch.inf, chosen)
        return total

    def sample(self, uniforms: Tensor, context: Tensor | None) -> Tensor:
        """Codes ``(n, l)`` from uniform noise ``(n, l)``, by inversion."""
        codes = torch.full(uniforms.shape, -1, dtype=torch.long, device=uniforms.device)
        for position, size in enumerate(self.cardinalities):
            log_probabilities = self._log_probabilities(position, self.one_hot(codes), context)
            cumulative = torch.cumsum(torch.exp(log_probabilities), dim=-1)
            below = (cumulative <= uniforms[..., position : position + 1]).sum(-1)
            codes[..., position] = below.clamp_max(size - 1)
        return codes
