"""What a transform of several columns does to the plane."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from flowcli.flows.base import log_normal
from flowcli.plots.panels import draw_regions
from flowcli.plots.style import BLACK, DATA, GREY, new_figure, styled
from flowcli.transforms.bijection import Bijection

Floats = npt.NDArray[np.float64]

LINES, PLACES_ON_LINE = 13, 61
REACH = 3.0
POINTS = 400
SIZE = 1.2
PLACES_EACH_WAY = 101


@torch.no_grad()
def draw_parameters(transform: nn.Module, seed: int) -> None:
    """Move all parameters by random numbers under which the transform does something that can be seen."""
    generator = torch.Generator().manual_seed(seed)
    for module in transform.modules():
        for parameter in module.parameters(recurse=False):
            # A network's output is to be about as large as its input.
            scale = SIZE * parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.6 if parameter.dim() else 1.5
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_((scale * noise).to(parameter.dtype))


@torch.no_grad()
def warp(name: str, transform: Bijection, seed: int) -> Figure:
    """A grid and normal points before and after, and the density of these points.

    Args:
        transform: one of two columns, in float64.
        seed: of the points.
    """
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(POINTS, 2, generator=generator, dtype=torch.float64)
    lines = _grid_lines()
    images, moved = transform.forward_and_log_det(lines)[0], transform.forward_and_log_det(points)[0]
    x_limits, y_limits = _limits(moved)
    places = [torch.linspace(*limits, PLACES_EACH_WAY, dtype=torch.float64) for limits in (x_limits, y_limits)]
    density = plane_density(transform, *places)
    with styled():
        figure = new_figure(3.2)
        figure.suptitle(name, x=0.01, ha="left", weight="bold")
        before, after, dense = figure.subplots(1, 3)
        _draw_plane(before, lines, points)
        before.set(xlim=(-3.4, 3.4), ylim=(-3.4, 3.4), title="z, normal", xlabel="z₁", ylabel="z₂")
        before.set_box_aspect(1)
        _draw_plane(after, images, moved)
        draw_regions(dense, places[0].numpy(), places[1].numpy(), density.numpy())
        for axes in (after, dense):
            axes.set(xlim=x_limits, ylim=y_limits, xlabel="x₁", ylabel="x₂")
            axes.set_box_aspect(1)
        after.set_title("x = T(z)")
        dense.set_title("density of x")
    return figure


def plane_density(transform: Bijection, x: Tensor, y: Tensor) -> Tensor:
    """The density at places ``(m,)`` and ``(k,)`` of what the transform makes of a standard normal, ``(k, m)``."""
    second, first = torch.meshgrid(y, x, indexing="ij")
    z, log_det = transform.inverse_and_log_det(torch.stack([first, second], dim=-1))
    return torch.exp(log_normal(z) + log_det)


def _grid_lines() -> Tensor:
    """Lines one way and the other, ``(2 LINES, PLACES_ON_LINE, 2)``."""
    at = torch.linspace(-REACH, REACH, LINES, dtype=torch.float64)
    along = torch.linspace(-REACH, REACH, PLACES_ON_LINE, dtype=torch.float64)
    fixed, moving = torch.meshgrid(at, along, indexing="ij")
    return torch.cat([torch.stack([fixed, moving], dim=-1), torch.stack([moving, fixed], dim=-1)])


def _draw_plane(axes: Axes, lines: Tensor, points: Tensor) -> None:
    for number, line in enumerate(lines):
        one_way = number < LINES
        axes.plot(
            line[:, 0], line[:, 1], color=BLACK if one_way else GREY, linewidth=0.6, linestyle="-" if one_way else "--"
        )
    axes.scatter(points[:, 0], points[:, 1], s=5, color=DATA, alpha=0.6, linewidth=0, zorder=3)


def _limits(points: Tensor) -> list[tuple[float, float]]:
    """Of a square that holds nearly all points: what is a circle is to look like one."""
    low, high = points.quantile(0.005, dim=0), points.quantile(0.995, dim=0)
    half = 0.64 * float((high - low).max())
    return [(float(middle) - half, float(middle) + half) for middle in (low + high) / 2]
