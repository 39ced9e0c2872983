"""Encoded rows as tensors on a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from flowcli.preprocess.encoder import Encoded


@dataclass(frozen=True)
class Rows:
    """Numbers ``(n, d)``, label codes ``(n, l)``, ordinals ``(n, o)`` in a float type, and context ``(n, c)``."""

    numbers: Tensor
    labels: Tensor
    ordinals: Tensor
    context: Tensor

    @classmethod
    def of(cls, encoded: Encoded, device: torch.device, dtype: torch.dtype) -> Rows:
        """Copy encoded rows to a device."""
        return cls(
            torch.from_numpy(encoded.numbers).to(device, dtype),
            torch.from_numpy(encoded.labels).to(device),
            torch.from_numpy(encoded.ordinals).to(device, dtype),
            torch.from_numpy(encoded.context).to(device, dtype),
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def _each(self, function: Callable[[Tensor], Tensor]) -> Rows:
        return Rows(*(function(part) for part in (self.numbers, self.labels, self.ordinals, self.context)))

    def to(self, device: torch.device) -> Rows:
        """The rows on a device."""
        return self._each(lambda part: part.to(device))

    def take(self, index: Tensor) -> Rows:
        """The rows at these indices; codes that are stored in fewer bytes come in eight."""
        rows = self._each(lambda part: part.index_select(0, index) if part.shape[1] else part.new_empty(len(index), 0))
        return Rows(rows.numbers, rows.labels.long(), rows.ordinals, rows.context)

    def slice(self, start: int, size: int) -> Rows:
        """``size`` rows from ``start`` on, as a view."""
        return self._each(lambda part: part[start : start + size])

    def chunks(self, size: int) -> list[Rows]:
        """The rows in order, ``size`` at a time."""
        return [self.slice(start, size) for start in range(0, len(self), size)]

    @classmethod
    def concatenated(cls, parts: Sequence[Rows]) -> Rows:
        """Rows one after the other."""
        each = [(part.numbers, part.labels, part.ordinals, part.context) for part in parts]
        return cls(*(torch.cat(tensors) for tensors in zip(*each, strict=True)))
