"""The batches of an epoch: all rows once, in random order; those of a large table are read in shuffled blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flowcli.flows.rows import Rows
from flowcli.training.processes import current
from flowcli.training.shared_rows import SharedRows

# Rows that lie together on the disk are read together; of so many blocks, from all over the table, the rows are mixed.
BLOCK_ROWS = 4096
BLOCKS_MIXED = 64
ORDER, NOISE = 1, 2


def generator_at(seed: int, purpose: int, *place: int) -> torch.Generator:
    """Random numbers for one purpose at one place in the run: the same after a resume, and on every device."""
    state = np.random.SeedSequence([seed, purpose, *place]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


@dataclass(frozen=True)
class Batch:
    """Rows of one step that this process has, of ``size`` rows in all.

    ``places``: of all of these in the table; ``own``: which of them are here, ``None`` for all.
    """

    rows: Rows
    places: Tensor
    size: int
    own: Tensor | None = None


class Batches:
    """Batches of rows for each step of each epoch, on a device.

    A table of up to ``BLOCKS_MIXED`` blocks is kept on the device, and its order is a permutation of its rows. Of a
    larger one as many blocks at a time, which a permutation of the blocks has put together, are copied there, and
    their rows are permuted. Several processes go through the same batches, however many they are: each takes an equal
    part of every batch, or, of rows that they share, those that it holds.
    """

    def __init__(self, rows: Rows | SharedRows, batch_size: int, seed: int, device: torch.device) -> None:
        self.seed, self.device, self._processes = seed, device, current()
        self._shared = rows if isinstance(rows, SharedRows) else None
        self._total = len(rows)
        self._blocks = max(1, math.ceil(self._total / BLOCK_ROWS))
        self._groups = math.ceil(self._blocks / BLOCKS_MIXED)
        here = rows.here if isinstance(rows, SharedRows) else rows
        self._rows = here.to(device) if self._groups == 1 else here
        sizes = np.full(self._blocks, BLOCK_ROWS)
        sizes[-1] = self._total - (self._blocks - 1) * BLOCK_ROWS
        self._batches = [
            math.ceil(sizes[start : start + BLOCKS_MIXED].sum() / batch_size)
            for start in range(0, self._blocks, BLOCKS_MIXED)
        ]
        self.steps = sum(self._batches)

    def of(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from its step ``first``, counted from 0."""
        skipped = 0
        for group, batches in enumerate(self._batches):
            if first < skipped + batches:
                rows, places, here = self._group(epoch, group)
                count = len(rows) if places is None else len(places)
                order = torch.randperm(count, generator=generator_at(self.seed, ORDER, epoch, group))
                order = order.to(self.device)
                for batch in order.tensor_split(batches)[max(first - skipped, 0) :]:
                    yield self._batch(rows, batch, batch if places is None else places[batch], here)
            skipped += batches

    def _batch(self, rows: Rows, batch: Tensor, places: Tensor, here: Tensor | None) -> Batch:
        """The batch of these rows of a group; ``here`` is as :meth:`_group` gives it."""
        own = None
        if here is not None:
            batch = here[batch]
            own = (batch >= 0).nonzero().squeeze(-1)
        elif self._processes.world > 1:
            own = torch.arange(len(batch), device=self.device)[self._processes.part_of(len(batch))]
        return Batch(rows.take(batch if own is None else batch[own]), places, len(places), own)

    def _group(self, epoch: int, group: int) -> tuple[Rows, Tensor | None, Tensor | None]:
        """Of the blocks that are together in this epoch the rows that are here, and the places of all their rows.

        The places are ``None`` where these are all rows of the table. At last, of shared rows, where each of the
        blocks' rows stands among those that are here, -1 if it does not.
        """
        shared = self._shared
        if self._groups == 1 and shared is None:
            return self._rows, None, None
        blocks = list(range(self._blocks))
        if self._groups > 1:
            # The last block, which is not full, is never moved, so that each epoch has as many steps in each group.
            blocks[:-1] = torch.randperm(self._blocks - 1, generator=generator_at(self.seed, ORDER, epoch)).tolist()
        blocks = blocks[group * BLOCKS_MIXED : (group + 1) * BLOCKS_MIXED]
        first, end = (0, self._total) if shared is None else (shared.first, shared.first + len(shared.here))
        starts = np.array(blocks) * BLOCK_ROWS
        low, high = starts.clip(first, end) - first, (starts + BLOCK_ROWS).clip(first, end) - first
        rows = Rows.concatenated([self._rows.slice(a, b - a) for a, b in zip(low.tolist(), high.tolist(), strict=True)])
        places = (torch.from_numpy(starts).unsqueeze(-1) + torch.arange(BLOCK_ROWS)).reshape(-1)
        places = places[places < self._total]
        here = None
        if shared is not None:
            held = (places >= first) & (places < end)
            here = torch.where(held, held.cumsum(0) - 1, -1).to(self.device)
        return rows.to(self.device), places.to(self.device), here
