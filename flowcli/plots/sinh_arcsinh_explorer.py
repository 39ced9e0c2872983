"""The sinh-arcsinh family, to be moved: its map, and the density that it makes of a standard normal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, Range1d

from flowcli.plots.interactive import as_item, new_plot
from flowcli.plots.style import GREY, MODEL

PLACES = 601
REACH, X_REACH = 6.0, 8.0
HIGHEST_PEAK = 0.9


@dataclass(frozen=True)
class Parameter:
    """A parameter of the family, with the range that is shown of it."""

    name: str
    symbol: str
    meaning: str
    low: float
    high: float
    start: float


PARAMETERS = (
    Parameter("epsilon", "ε", "skewness", -2.0, 2.0, 0.0),
    Parameter("delta", "δ", "tail weight: below 1 heavier than a normal's, above 1 lighter", 0.3, 3.0, 1.0),
    Parameter("location", "t", "location", -4.0, 4.0, 0.0),
    Parameter("scale", "exp(s)", "scale", 0.2, 3.0, 1.0),
)


def plots() -> list[dict[str, Any]]:
    """The map and the density of the normal itself, from which the page's script moves them."""
    z = np.linspace(-REACH, REACH, PLACES)
    normal = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    # Each figure is a document of its own, with a source of its own.
    of_map_source, source = (ColumnDataSource({"z": z, "x": z, "density": normal}, name="family") for _ in range(2))
    of_map = new_plot(
        "z, standard normal", "x", x_range=Range1d(start=-4, end=4), y_range=Range1d(start=-X_REACH, end=X_REACH)
    )
    of_map.line([-X_REACH, X_REACH], [-X_REACH, X_REACH], color=GREY, line_dash="dotted")
    of_map.line(x="z", y="x", source=of_map_source, color=MODEL, line_width=2)
    density = new_plot(
        "x", "density", x_range=Range1d(start=-X_REACH, end=X_REACH), y_range=Range1d(start=0, end=HIGHEST_PEAK)
    )
    density.line(z, normal, color=GREY, line_dash="dotted")
    density.varea(x="x", y1=0, y2="density", source=source, color=MODEL, alpha=0.2)
    density.line(x="x", y="density", source=source, color=MODEL, line_width=2)
    return [{"item": as_item(of_map)}, {"item": as_item(density)}]
