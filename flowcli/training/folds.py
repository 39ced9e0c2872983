"""Which training rows each density of an ensemble leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flowcli.flows.rows import Rows
from flowcli.training.batches import generator_at
from flowcli.training.processes import current

FOLDS = 3


@dataclass(frozen=True)
class Folds:
    """A partition of the rows into parts of (nearly) the same size; member ``m`` leaves out part ``m mod count``.

    ``part`` ``(n,)``: of each row; ``numbers`` ``(k,)``: of the members that are trained side by side.
    """

    part: Tensor
    count: int
    numbers: Tensor

    @classmethod
    def of(cls, rows: int, count: int, numbers: Sequence[int], seed: int, device: torch.device) -> Folds:
        """A random partition; the same for every ensemble of a seed."""
        order = torch.randperm(rows, generator=generator_at(seed, FOLDS))
        part = torch.empty(rows, dtype=torch.long)
        part[order] = torch.arange(rows) % count
        return cls(part.to(device), count, torch.tensor(numbers, device=device))

    def learns(self, places: Tensor) -> Tensor:
        """Which densities learn from the rows at these places, ``(k, n)``."""
        return self.part[places] != (self.numbers % self.count).unsqueeze(-1)

    def learned_by(self, member: int) -> Tensor:
        """The places of the rows that a member learns from."""
        return (self.part != member % self.count).nonzero().squeeze(-1)

    def left_out_by(self, member: int) -> Tensor:
        """The places of the rows that it leaves out."""
        return (self.part == member % self.count).nonzero().squeeze(-1)

    def left_out(self, rows: Rows) -> Rows:
        """The rows that each density leaves out, ``(k, n, ...)``, of each as many as of the one with the fewest.

        Several processes have a part of them each.
        """
        places = [self.left_out_by(member) for member in self.numbers.tolist()]
        own = current().part_of(min(map(len, places)))
        fewest = own.stop - own.start
        each = rows.take(torch.cat([part[own] for part in places]))
        return Rows(
            *(
                part.reshape(len(places), fewest, part.shape[1])
                for part in (each.numbers, each.labels, each.ordinals, each.context)
            )
        )


def folded_loss(each: Tensor, learns: Tensor, own: Tensor | None = None) -> Tensor:
    """The mean over an ensemble's densities of their mean negative log-likelihood of the rows that they learn from.

    ``own``: which of the batch's rows, of which ``learns`` tells, are here; the part of these is given then.
    """
    total = torch.where(learns if own is None else learns[:, own], each, 0.0).sum(-1)
    return -(total / learns.sum(-1).clamp_min(1)).mean()
