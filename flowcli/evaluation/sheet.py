"""Encoded rows as plain columns, to compare samples with rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from flowcli.flows.layout import Layout
from flowcli.transforms.supports import Supports

if TYPE_CHECKING:
    from flowcli.preprocess.encoder import Encoded

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

# What is written and read again differs in its last digits: numbers that agree in so many decimals are the same.
DECIMALS = 9


@dataclass(frozen=True)
class Sheet:
    """Columns of rows, by name.

    ``numbers`` (n, d): number and then ordinal columns, on the real line in units of their spread, NaN where a row has
    none. ``codes`` (n, l): categories; behind the label columns, the states of the number columns that have holes
    or spikes, under their names; ``sizes``: how many categories each has. ``context`` (n, c) as it is encoded.
    """

    numbers: Floats
    codes: Codes
    context: Floats
    number_names: tuple[str, ...]
    code_names: tuple[str, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, encoded: Encoded, layout: Layout) -> Sheet:
        """The columns of encoded rows, none of which is bad or outside its bounds."""
        names = (*layout.numbers, *(name for name, _ in layout.ordinals))
        u = torch.from_numpy(encoded.numbers)
        real = Supports(layout.supports).to_real(u)[0].numpy() if layout.numbers else encoded.numbers
        for number in range(len(layout.numbers)):
            state = layout.state_of(number)
            if state is not None:
                real[:, number] = np.where(encoded.labels[:, state] == 0, real[:, number], np.nan)
        ordinals = encoded.ordinals / np.array([scale for _, scale in layout.ordinals])
        numbers = np.round(np.concatenate([real, ordinals], axis=1), DECIMALS)
        codes, sizes = tuple(name for name, _ in layout.labels), tuple(size for _, size in layout.labels)
        return cls(numbers, encoded.labels, encoded.context, names, codes, sizes)

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: Codes) -> Sheet:
        """The rows at these indices."""
        return replace(self, numbers=self.numbers[rows], codes=self.codes[rows], context=self.context[rows])

    def distances(self) -> Floats:
        """Coordinates ``(n, p)`` whose distances say how alike rows are: categories that differ are 1 apart."""
        parts = [np.nan_to_num(self.numbers, nan=0.0), self.context]
        for codes, size in zip(self.codes.T, self.sizes, strict=True):
            parts.append((codes[:, None] == np.arange(size)) / np.sqrt(2))
        return np.concatenate(parts, axis=1)


def within_bounds(encoded: Encoded) -> Codes:
    """The rows that have a density: no label that training had not, no number beyond its bounds."""
    return np.flatnonzero(~encoded.outside & (encoded.labels >= 0).all(axis=1))
