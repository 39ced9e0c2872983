"""The batches of an epoch: all rows once, in random order; those of a large table are read in shuffled blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from flowcli.flows.rows import Rows

# Rows that lie together on the disk are read together; of so many blocks, from all over the table, the rows are mixed.
BLOCK_ROWS = 4096
BLOCKS_MIXED = 64
ORDER, NOISE = 1, 2


def generator_at(seed: int, purpose: int, *place: int) -> torch.Generator:
    """Random numbers for one purpose at one place in the run: the same after a resume, and on every device."""
    state = np.random.SeedSequence([seed, purpose, *place]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


class Batches:
    """Batches of rows for each step of each epoch, on a device.

    A table of up to ``BLOCKS_MIXED`` blocks is kept on the device, and its order is a permutation of its rows. Of a
    larger one as many blocks at a time, which a permutation of the blocks has put together, are copied there, and
    their rows are permuted.
    """

    def __init__(self, rows: Rows, batch_size: int, seed: int, device: torch.device) -> None:
        self.seed, self.device = seed, device
        blocks = max(1, math.ceil(len(rows) / BLOCK_ROWS))
        self._groups = math.ceil(blocks / BLOCKS_MIXED)
        self._rows = rows.to(device) if self._groups == 1 else rows
        sizes = np.full(blocks, BLOCK_ROWS)
        sizes[-1] = len(rows) - (blocks - 1) * BLOCK_ROWS
        self._blocks = blocks
        self._batches = [
            math.ceil(sizes[start : start + BLOCKS_MIXED].sum() / batch_size)
            for start in range(0, blocks, BLOCKS_MIXED)
        ]
        self.steps = sum(self._batches)

    def of(self, epoch: int, first: int = 0) -> Iterator[tuple[Rows, Tensor]]:
        """The batches of an epoch, from its step ``first``, counted from 0, with their rows' places in the table."""
        skipped = 0
        for group, batches in enumerate(self._batches):
            if first < skipped + batches:
                rows, places = self._group(epoch, group)
                order = torch.randperm(len(rows), generator=generator_at(self.seed, ORDER, epoch, group))
                order = order.to(self.device)
                for batch in order.tensor_split(batches)[max(first - skipped, 0) :]:
                    yield rows.take(batch), batch if places is None else places[batch]
            skipped += batches

    def _group(self, epoch: int, group: int) -> tuple[Rows, Tensor | None]:
        """The rows of the blocks that are together in this epoch, and their places where these are not all rows."""
        if self._groups == 1:
            return self._rows, None
        # The last block, which is not full, is never moved, so that each epoch has as many steps in each group.
        order = torch.randperm(self._blocks - 1, generator=generator_at(self.seed, ORDER, epoch))
        blocks = [*order.tolist(), self._blocks - 1][group * BLOCKS_MIXED : (group + 1) * BLOCKS_MIXED]
        rows = Rows.concatenated([self._rows.slice(block * BLOCK_ROWS, BLOCK_ROWS) for block in blocks])
        starts = torch.tensor(blocks).unsqueeze(-1) * BLOCK_ROWS
        places = (starts + torch.arange(BLOCK_ROWS)).reshape(-1)[: len(rows)]
        return rows.to(self.device), places.to(self.device)


def spread_evenly(rows: Rows, most: int) -> Tensor:
    """Indices of at most so many rows, at equal distances."""
    return torch.arange(0, len(rows), max(1, math.ceil(len(rows) / most)), device=rows.numbers.device)
