"""How every figure that moves looks, by Bokeh, and how it comes into a page."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt
from bokeh.embed import json_item
from bokeh.models import BasicTicker, BasicTickFormatter, PlainText
from bokeh.plotting import figure
from bokeh.resources import Resources

HEIGHT = 280
FONT = "system-ui, sans-serif"
TEXT, FAINT = "#333333", "#e3e3e3"


def new_plot(x_label: str, y_label: str, **more: Any) -> figure:
    """An empty figure as wide as its place, without tools: a page is scrolled over it."""
    plot = figure(
        height=HEIGHT,
        min_width=200,
        sizing_mode="stretch_width",
        tools="",
        toolbar_location=None,
        outline_line_color=None,
        background_fill_color=None,
        border_fill_color=None,
        **more,
    )
    # A text between dollars would be taken for TeX.
    for axis, label in ((plot.xaxis[0], x_label), (plot.yaxis[0], y_label)):
        axis.axis_label = PlainText(text=label)
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font = axis.major_label_text_font = FONT
        axis.axis_label_text_font_size, axis.major_label_text_font_size = "12px", "11px"
        axis.axis_label_text_color = axis.major_label_text_color = TEXT
        axis.axis_line_color = axis.major_tick_line_color = "#888888"
        axis.minor_tick_line_color = None
    # 0.0012 rather than 1.200e-3.
    plot.yaxis[0].formatter = BasicTickFormatter(power_limit_low=-5)
    if "x_axis_type" not in more:
        plot.xaxis[0].ticker = BasicTicker(desired_num_ticks=5)
    plot.grid.grid_line_color = FAINT
    plot.xgrid.visible = False
    return plot


def as_item(plot: figure) -> dict[str, Any]:
    """What :func:`script` makes the figure of, as JSON."""
    return dict(json_item(plot))


def script() -> str:
    """Bokeh's own script, without the parts that no figure here needs."""
    bokeh, *_ = Resources(mode="inline", components=["bokeh"]).js_raw  # what follows sets a level, and says so
    return bokeh


def as_base64(values: npt.NDArray[np.float64]) -> str:
    """Numbers as float32, in base64."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode()
