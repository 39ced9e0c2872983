"""What columns a density is over, and what it is given. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowcli.transforms.support import Support


@dataclass(frozen=True)
class Layout:
    """The columns of a table density, each kind in the table's order.

    ``labels`` have their number of categories, ``ordinals`` the scale of their numbers, ``context`` columns the
    width of their encoding. ``constant`` columns, modelled or context, take no part; a config may name them all
    the same.

    A number column has a map to the real line in ``supports`` (none: it is the identity), and in ``states`` the
    position among the labels of what says whether a row has a number there at all (``None``: all have). Such a
    state has the number column's name.
    """

    numbers: tuple[str, ...] = ()
    labels: tuple[tuple[str, int], ...] = ()
    ordinals: tuple[tuple[str, float], ...] = ()
    context: tuple[tuple[str, int], ...] = ()
    constant: tuple[str, ...] = ()
    supports: tuple[Support, ...] = ()
    states: tuple[int | None, ...] = ()

    @property
    def modelled(self) -> list[str]:
        """The names of the columns that the density is over."""
        names = [*self.numbers, *(name for name, _ in self.labels), *(name for name, _ in self.ordinals)]
        return list(dict.fromkeys(names))

    def state_of(self, number: int) -> int | None:
        """The position among the labels of a number column's state."""
        return self.states[number] if self.states else None
