"""What the models of label columns share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LabelModel(nn.Module):
    """A joint distribution of label columns, given a context.

    Shapes: codes ``(n, l)`` of integers, -1 for a label that training had not; context ``(n, c)`` or
    ``None``; log-probabilities ``(n,)`` in nats.
    """

    column: Tensor
    code: Tensor
    frequencies: Tensor

    def __init__(self, cardinalities: Sequence[int]) -> None:
        super().__init__()
        self.cardinalities = list(cardinalities)
        each, total = torch.tensor(self.cardinalities, dtype=torch.long), sum(self.cardinalities)
        columns = torch.repeat_interleave(torch.arange(len(each)), each, output_size=total)
        self.register_buffer("column", columns, persistent=False)
        codes = [torch.arange(size) for size in self.cardinalities]
        self.register_buffer("code", torch.cat(codes) if codes else each, persistent=False)
        self.register_buffer("frequencies", torch.ones(total))

    def one_hot(self, codes: Tensor) -> Tensor:
        """``(n, sum of cardinalities)``; a row of zeros for a label that training had not."""
        return (codes[..., self.column] == self.code).to(self.frequencies.dtype)

    def damage(self) -> str:
        """What is wrong with the buffers, as loaded from a file: frequencies are positive and sum to one."""
        columns = torch.split(self.frequencies, self.cardinalities)
        sound = all(bool((f > 0).all()) and abs(float(f.sum()) - 1) < 1e-3 for f in columns)
        return "" if sound else "the labels' frequencies are none"

    @torch.no_grad()
    def initialize(self, codes: Tensor) -> None:
        """Set the frequencies from training rows; what none of them has counts as half a row."""
        counts = self.one_hot(codes).sum(0)
        columns = torch.split(torch.where(counts > 0, counts, 0.5), self.cardinalities)
        self.frequencies.copy_(torch.cat([column / column.sum() for column in columns]))

    def log_prob(self, codes: Tensor, context: Tensor | None) -> Tensor:
        """Log-probability; ``-inf`` where a label was not in training."""
        raise NotImplementedError

    def sample(self, uniforms: Tensor, context: Tensor | None) -> Tensor:
        """Codes ``(n, l)`` from uniform numbers ``(n, l)``, by inversion."""
        raise NotImplementedError


def choose(uniforms: Tensor, log_probabilities: Tensor) -> Tensor:
    """The category ``(...)`` that a uniform number ``(...)`` falls on, given log-probabilities ``(..., k)``."""
    below = torch.cumsum(torch.exp(log_probabilities), dim=-1) <= uniforms.unsqueeze(-1)
    return below.sum(-1).clamp_max(log_probabilities.shape[-1] - 1)
