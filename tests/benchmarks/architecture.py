"""What every library builds for speed.py, and what a built model can be asked to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor

BINS = 8
BOUND = 5.0
OUTPUTS_OF_SPLINE = 3 * BINS - 1
# Of a weight, times the square root of how many a unit has.
NOISE = 0.3
LEARNING_RATE = 1e-4

Call = Callable[[], Any]


@dataclass(frozen=True)
class Architecture:
    """Layers over ``features`` columns, each with a network with two hidden layers of ``width`` units.

    Autoregressive layers take the columns forwards and backwards in turn; coupling layers keep every second column,
    the even and the odd ones in turn.
    """

    kind: Literal["MAF", "spline coupling", "spline autoregressive"]
    features: int
    width: int
    layers: int = 5

    @property
    def name(self) -> str:
        return f"{self.kind} d={self.features} [{self.width}, {self.width}] x {self.layers}"

    @property
    def hidden(self) -> list[int]:
        return [self.width, self.width]

    @property
    def spline(self) -> bool:
        return self.kind != "MAF"

    @property
    def coupling(self) -> bool:
        return self.kind == "spline coupling"

    def kept(self, layer: int) -> list[int]:
        """The columns that a coupling layer keeps."""
        return [column for column in range(self.features) if column % 2 == layer % 2]

    def sizes(self, layer: int) -> list[int]:
        """The widths of a layer's network, from inputs to outputs."""
        if not self.coupling:
            return [self.features, *self.hidden, self.features * (OUTPUTS_OF_SPLINE if self.spline else 2)]
        kept = len(self.kept(layer))
        return [kept, *self.hidden, (self.features - kept) * OUTPUTS_OF_SPLINE]


class Model(Protocol):
    """A library's flow in float32, each thing done in the fast way of that library, and finished when it returns."""

    parameters: int
    # In what it differs from the architecture.
    notes: list[str]

    def training_step(self, rows: Tensor, size: int) -> Call:
        """A step of Adam on the next ``size`` of the rows."""

    def scoring(self, rows: Tensor, size: int) -> Call:
        """The log-densities of the next ``size`` of the rows."""

    def sampling(self, size: int) -> Call:
        """``size`` new rows."""

    def error(self, rows: Tensor) -> float:
        """The largest difference, absolute or relative, of its log-densities from those in float64."""
