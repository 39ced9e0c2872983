"""How every picture looks: its size, its type, and colours that the colour-blind can tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# In inches, at DPI dots each: 800 pixels wide.
WIDTH = 8.0
DPI = 100

# Okabe & Ito 2008, "Color universal design".
BLUE, VERMILION, ORANGE, GREEN, BLACK, GREY = "#0072B2", "#D55E00", "#E69F00", "#009E73", "#000000", "#777777"
DATA, MODEL = BLUE, VERMILION
DENSITIES = "viridis"
# Its lightest colours are hard to see as lines on white.
DARKEST, LIGHTEST = 0.0, 0.85

_STYLE: dict[str, Any] = {
    "font.size": 9,
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.4,
    "hatch.linewidth": 0.7,
    # A column may be called $x$.
    "text.parse_math": False,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    # Text stays text.
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "svg.hashsalt": "flowcli",
}


@contextmanager
def styled() -> Iterator[None]:
    """This style, whatever the user's own settings are; they are as they were afterwards."""
    with style.context(["default", _STYLE]):
        yield


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of this size, in inches, that makes room for all of its text."""
    figure = Figure(figsize=(width, height), layout="constrained")
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(w_pad=0.05, h_pad=0.05)  # type: ignore[call-arg]
    return figure


def shades(count: int) -> list[Any]:
    """So many colours from dark to light, for lines that are in an order."""
    colours = mpl.colormaps[DENSITIES]
    return [colours(DARKEST + (LIGHTEST - DARKEST) * at / max(count - 1, 1)) for at in range(count)]


def data_key(label: str) -> Line2D:
    """What stands for data in a legend."""
    return Line2D([], [], linestyle="", marker="o", markersize=5, color=DATA, label=label)


def model_key(label: str) -> Line2D:
    """What stands for the model in a legend."""
    return Line2D([], [], linestyle="-", linewidth=2, color=MODEL, label=label)
