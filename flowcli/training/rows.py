"""Encoded rows as tensors on a device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flowcli.preprocess.encoder import Encoded


@dataclass(frozen=True)
class Rows:
    """Numbers ``(n, d)``, label codes ``(n, l)`` and context ``(n, c)``."""

    numbers: Tensor
    labels: Tensor
    context: Tensor

    @classmethod
    def of(cls, encoded: Encoded, device: torch.device, dtype: torch.dtype) -> Rows:
        """Copy encoded rows to a device."""
        return cls(
            torch.from_numpy(encoded.numbers).to(device, dtype),
            torch.from_numpy(encoded.labels).to(device),
            torch.from_numpy(encoded.context).to(device, dtype),
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, index: Tensor) -> Rows:
        """The rows at these indices."""
        return Rows(self.numbers[index], self.labels[index], self.context[index])

    def chunks(self, size: int) -> list[Rows]:
        """The rows in order, ``size`` at a time."""
        return [
            Rows(self.numbers[at : at + size], self.labels[at : at + size], self.context[at : at + size])
            for at in range(0, len(self), size)
        ]
