"""Densities of one architecture, trained side by side."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from flowcli.errors import ModelError
from flowcli.flows.density import Density, TableDensity
from flowcli.flows.rows import Rows
from flowcli.transforms.normalizing import BatchNorm
from flowcli.transforms.permute import Ordered

# On the weights of members that are tried together.
NOISE = 0.1


class _There(nn.Module):
    """A density as a module with one function."""

    def __init__(self, density: TableDensity) -> None:
        super().__init__()
        self.density = density

    def forward(self, numbers: Tensor, labels: Tensor, ordinals: Tensor, context: Tensor, log_det: Tensor) -> Tensor:
        return self.density.log_prob_there(Rows(numbers, labels, ordinals, context), log_det)


class Ensemble(Density):
    """``k`` densities, every parameter and buffer of which is one tensor ``(k, ...)``.

    Small networks leave a processor waiting for the next operation; of many at once each operation does more.
    """

    def __init__(self, members: Sequence[TableDensity]) -> None:
        """``members`` are left as they are."""
        first = members[0]
        super().__init__(first.columns, first.cardinalities, first.supports, first.states)
        self.size = len(members)
        self.each = _There(copy.deepcopy(first))
        states = [_tensors_of(member) for member in members]
        for name, module in self.each.density.named_modules():
            for own, parameter in list(module.named_parameters(recurse=False)):
                stacked = torch.stack([state[_joined(name, own)] for state in states])
                setattr(module, own, nn.Parameter(stacked, requires_grad=parameter.requires_grad))
            for own, _ in list(module.named_buffers(recurse=False)):
                module._buffers[own] = torch.stack([state[_joined(name, own)] for state in states])
            if isinstance(module, Ordered):
                module.see_order()  # the first one's may be the natural order, and the others' not

    def log_prob_there(self, rows: Rows, log_det: Tensor) -> Tensor:
        """Of each member the log-density of each row, ``(k, n)``; rows ``(k, n, ...)`` are each member's own."""
        own = 0 if log_det.dim() == 2 else None

        def of_one(state: Mapping[str, Tensor], *inputs: Tensor) -> Any:
            return functional_call(self.each, dict(state), inputs)

        found: Tensor = torch.vmap(of_one, in_dims=(0, own, own, own, own, own))(
            dict([*self.each.named_parameters(), *self.each.named_buffers()]),
            rows.numbers,
            rows.labels,
            rows.ordinals,
            rows.context,
            log_det,
        )
        return found

    def state_of(self, member: int) -> dict[str, Tensor]:
        """The state of one of them, for its ``load_state_dict``."""
        return {name: tensor[member].clone() for name, tensor in self.each.density.state_dict().items()}


def _joined(module: str, own: str) -> str:
    return f"{module}.{own}" if module else own


def _tensors_of(density: TableDensity) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in (*density.named_parameters(), *density.named_buffers())}


def can_be_together(members: Sequence[TableDensity], rows: Rows) -> bool:
    """Whether an ensemble of the members has their log-densities of some rows."""
    if any(isinstance(module, BatchNorm) for module in members[0].modules()):
        return False  # its running statistics are set as rows go through
    # At their start all of them may be the identity.
    moved = [_moved(member, number) for number, member in enumerate(members)]
    there, log_det = members[0].on_real_line(rows)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # What is done for one after the other, with a warning, gains nothing.
            warnings.filterwarnings("error", "There is a performance drop")
            together = Ensemble(moved).log_prob_there(there, log_det)
            apart = torch.stack([member.log_prob_there(there, log_det) for member in moved])
    except (RuntimeError, ValueError, NotImplementedError, ModelError, UserWarning):
        return False  # a search, or another choice by value
    return bool(torch.allclose(together, apart, rtol=1e-3, atol=1e-3, equal_nan=True))


@torch.no_grad()
def _moved(member: TableDensity, number: int) -> TableDensity:
    """A copy with noise on its weights."""
    generator = torch.Generator().manual_seed(number)
    moved = copy.deepcopy(member)
    for parameter in moved.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter.add_(NOISE * noise.to(parameter.device))
    return moved
