"""Where a column's numbers can lie, as plain data: no torch here. The maps themselves are in :mod:`.supports`."""

from __future__ import annotations

from dataclasses import dataclass

# What stands in a column's place in a row that has none: it is in every map's domain.
PLACEHOLDER = 0.5

# Of each map, whether its numbers must be above 0, and below 1.
DOMAINS: dict[str, tuple[bool, bool]] = {
    "none": (False, False),
    "log": (True, False),
    "softplus": (True, False),
    "logit": (True, True),
    "arcsinh": (False, False),
}


@dataclass(frozen=True)
class Support:
    """The map of one column: ``y = (map(u) - center) / spread``, where ``u`` is in units of ``unit`` data units.

    ``step`` is the distance of neighbours on the column's grid, in units of ``u``; 0 for none.
    """

    map: str = "none"
    center: float = 0.0
    spread: float = 1.0
    unit: float = 1.0
    step: float = 0.0
