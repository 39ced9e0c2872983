"""What columns a density is over, and what it is given. No torch here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """The columns of a table density, each kind in the table's order.

    ``labels`` have their number of categories, ``ordinals`` the scale of their numbers, ``context`` columns the
    width of their encoding. ``constant``
    columns, modelled or context, take no part; a config may name them all the same.
    """

    numbers: tuple[str, ...] = ()
    labels: tuple[tuple[str, int], ...] = ()
    ordinals: tuple[tuple[str, float], ...] = ()
    context: tuple[tuple[str, int], ...] = ()
    constant: tuple[str, ...] = ()

    @property
    def modelled(self) -> list[str]:
        """The names of the columns that the density is over."""
        return [*self.numbers, *(name for name, _ in self.labels), *(name for name, _ in self.ordinals)]
