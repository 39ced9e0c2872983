"""The shape of every transform: value and log-determinant in one pass, in either direction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import torch
from pyro.distributions.torch_transform import TransformModule
from torch import Tensor
from torch.distributions import constraints

ValueAndLogDet = tuple[Tensor, Tensor]

ROWS_AT_ONCE = 8192


class Bijection(TransformModule):
    """An invertible map between two copies of R^d, from the base's side ``z`` to the data's side ``x``.

    Subclasses write :meth:`forward_and_log_det` and :meth:`inverse_and_log_det`; from these two follow
    the methods of a Pyro transform, so that an unconditional bijection works as it is in
    ``pyro.distributions.TransformedDistribution``. There is no cache: a score never outlives the weights
    that it was computed with.

    Shapes: ``z`` and ``x`` are ``(..., d)``, ``context`` is ``(..., c)`` or ``None``, log-determinants
    are ``(...)``, in nats.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True
    # Whether zero parameters are a sensible place to be pulled to by weight decay (the identity, say).
    decays_to_zero = True
    # What a config calls it.
    registered_name = ""
    # Whether scoring is a fixed sequence of operations, which a compiler can fuse.
    compiles = False

    def __init__(self) -> None:
        super().__init__(cache_size=0)  # type: ignore[no-untyped-call]

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        """Return ``x`` and ``log|det dx/dz|`` at ``z``."""
        raise NotImplementedError

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        """Return ``z`` and ``log|det dz/dx|`` at ``x``."""
        raise NotImplementedError

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set parameters from training rows ``x`` (n, d), for transforms whose start depends on the data.

        ``x`` is what this transform sees on the data's side. The default leaves the parameters alone.
        """

    def damage(self) -> str:
        """What is wrong with the buffers, as loaded from a file; nothing by default."""
        return ""

    def _call(self, z: Tensor) -> Tensor:
        return self.forward_and_log_det(z)[0]

    def _inverse(self, x: Tensor) -> Tensor:
        return self.inverse_and_log_det(x)[0]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Pyro's name for the log-determinant at an input ``x`` whose image is ``y``."""
        return self.forward_and_log_det(x)[1]


class Skipping(Bijection):
    """A bijection that can leave out columns of a row, and is then one between the columns that are there.

    ``present`` ``(..., d)`` says which are, ``None`` that all are. What is absent stands as 0 on both sides, moves
    nothing, and has no part in the log-determinant.
    """

    def forward_and_log_det(
        self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        raise NotImplementedError

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        raise NotImplementedError

    def initialize(self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> None:
        pass

    def moved(self, present: Tensor, inverse: bool) -> Tensor:
        """Where the columns that are present in ``z`` stand in ``x``, or with ``inverse`` the other way."""
        return present


class Chain(Skipping):
    """Bijections one after the other: ``x = T_K(... T_1(z))``, the first nearest to the base.

    It can leave out columns where each of its parts can.
    """

    compiles = True

    def __init__(self, parts: Iterable[Bijection]) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList(parts)

    def bijections(self) -> list[Bijection]:
        """The parts, from base to data."""
        return [cast(Bijection, part) for part in self.parts]

    def skips(self) -> bool:
        """Whether each part can leave out columns."""
        return all(part.skips() if isinstance(part, Chain) else isinstance(part, Skipping) for part in self.parts)

    def forward_and_log_det(
        self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        return self._through(z, context, present, inverse=False)

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        return self._through(x, context, present, inverse=True)

    def _through(self, value: Tensor, context: Tensor | None, present: Tensor | None, inverse: bool) -> ValueAndLogDet:
        total = value.new_zeros(value.shape[:-1])
        for part in reversed(self.bijections()) if inverse else self.bijections():
            value, log_det = _apply(part, value, context, present, inverse)
            present = None if present is None else cast(Skipping, part).moved(present, inverse)
            total = total + log_det
        return value, total

    def walk(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> Iterator[tuple[Bijection, Tensor, Tensor | None]]:
        """The way from data to base: each part, those of chains within it too, its ``z``, and what is present there."""
        for part in reversed(self.bijections()):
            if isinstance(part, Chain):
                for inner, z, there in part.walk(x, context, present):
                    x, present = z, there
                    yield inner, z, there
                continue
            x = _apply(part, x, context, present, inverse=True)[0]
            present = None if present is None else cast(Skipping, part).moved(present, inverse=True)
            yield part, x, present

    def initialize(self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> None:
        for part in reversed(self.bijections()):
            if present is None:
                part.initialize(x, context)
            else:
                cast(Skipping, part).initialize(x, context, present)
            x = _inverse_in_pieces(part, x, context, present)
            present = None if present is None else cast(Skipping, part).moved(present, inverse=True)

    def moved(self, present: Tensor, inverse: bool) -> Tensor:
        for part in reversed(self.bijections()) if inverse else self.bijections():
            present = cast(Skipping, part).moved(present, inverse)
        return present


def _apply(
    part: Bijection, value: Tensor, context: Tensor | None, present: Tensor | None, inverse: bool
) -> ValueAndLogDet:
    """One part, in one direction; only one that can leave out columns is told of them."""
    if present is None:
        return part.inverse_and_log_det(value, context) if inverse else part.forward_and_log_det(value, context)
    skipping = cast(Skipping, part)
    direction = skipping.inverse_and_log_det if inverse else skipping.forward_and_log_det
    return direction(value, context, present)


def _inverse_in_pieces(part: Bijection, x: Tensor, context: Tensor | None, present: Tensor | None) -> Tensor:
    """``z`` of many rows ``(n, d)``: the parameters of all of them at once would fill the memory."""
    pieces = []
    for start in range(0, len(x), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        given, there = (None if part_of is None else part_of[rows] for part_of in (context, present))
        pieces.append(_apply(part, x[rows], given, there, inverse=True)[0])
    return torch.cat(pieces)


def sum_features(log_det: Tensor, present: Tensor | None = None) -> Tensor:
    """Sum elementwise log-derivatives ``(..., d)``, of the columns that are present, to a log-determinant ``(...)``."""
    return log_det.sum(-1) if present is None else torch.where(present, log_det, 0.0).sum(-1)


def only(value: Tensor, present: Tensor | None) -> Tensor:
    """``value`` with 0 for what is absent."""
    return value if present is None else torch.where(present, value, 0.0)
