"""Reordering of the columns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast

import torch
from torch import Tensor

from flowcli.errors import ConfigError
from flowcli.transforms.bijection import Skipping, ValueAndLogDet

# Of the random orders of the model that is being built; without one they come from torch's global generator.
_ORDERS: ContextVar[torch.Generator | None] = ContextVar("orders", default=None)


@contextmanager
def orders_of_a_model() -> Iterator[None]:
    """Within it each random order is another, and all of them are the same the next time.

    An order is part of the architecture: a flow can be a nat better with one than with another, and a second seed is to
    tell what chance does to one model, not to try another.
    """
    token = _ORDERS.set(torch.Generator().manual_seed(0))
    try:
        yield
    finally:
        _ORDERS.reset(token)


def random_order(features: int) -> Tensor:
    """Indices ``(d,)``; see :func:`orders_of_a_model`."""
    return torch.randperm(features, generator=_ORDERS.get())


def column_order(order: str | list[int], features: int, key: str) -> Tensor:
    """The order of the columns as indices ``(d,)``: ``natural``, ``reverse``, ``random`` or a given list from 1.

    Raises:
        ConfigError: a given order is not a permutation of ``1..d``; the message names ``key``.
    """
    if order == "natural":
        return torch.arange(features)
    if order == "reverse":
        return torch.arange(features - 1, -1, -1)
    if order == "random":
        return random_order(features)
    if sorted(order) != list(range(1, features + 1)):
        raise ConfigError(
            [f"{key}: {order} is not an order of the {features} columns; it must hold each of 1..{features} once"]
        )
    return torch.tensor([cast(int, position) - 1 for position in order])


class Ordered(Skipping):
    """A bijection that takes the columns in an order of its own: a buffer, so that it is saved with the weights."""

    order: Tensor
    restore: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)
        self.register_buffer("restore", torch.argsort(order))
        self.see_order()
        self.register_load_state_dict_post_hook(_see_order)  # type: ignore[no-untyped-call]

    def see_order(self) -> None:
        """Look at the order again, after it was set from outside."""
        self._natural = torch.equal(self.order.cpu(), torch.arange(len(self.order)))

    def ordered(self, value: Tensor) -> Tensor:
        """The columns ``(..., d)`` in the order of the bijection."""
        return value if self._natural else value.index_select(-1, self.order)

    def restored(self, value: Tensor) -> Tensor:
        """The columns ``(..., d)``, which are in the order of the bijection, as they were."""
        return value if self._natural else value.index_select(-1, self.restore)

    def damage(self) -> str:
        # Indexing with what is no order would fail, or lose a column.
        whole = torch.equal(self.order.sort().values, torch.arange(len(self.order)))
        return "" if whole and torch.equal(self.order.argsort(), self.restore) else "an order of columns is not one"


def _see_order(module: Ordered, keys: object) -> None:
    module.see_order()


class Permute(Ordered):
    """``x_i = z_order[i]``."""

    compiles = True

    def __init__(self, features: int, context_features: int, *, order: str | list[int]) -> None:
        super().__init__(column_order(order, features, "permute.order"))

    def forward_and_log_det(
        self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        return self.ordered(z), z.new_zeros(z.shape[:-1])

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        return self.restored(x), x.new_zeros(x.shape[:-1])

    def moved(self, present: Tensor, inverse: bool) -> Tensor:
        return self.restored(present) if inverse else self.ordered(present)
