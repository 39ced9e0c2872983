"""What an elementwise transform does, for a range of each of its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from flowcli.plots.style import GREY, WIDTH, new_figure, shades, styled
from flowcli.transforms import sinh_arcsinh
from flowcli.transforms.affine import AffineTransformer
from flowcli.transforms.deep_sigmoid import DeepSigmoidTransformer
from flowcli.transforms.logit import Logit
from flowcli.transforms.sinh_arcsinh import SinhArcsinhTransformer
from flowcli.transforms.spline_bins import SplineTransformer
from flowcli.transforms.splines import LinearSpline
from flowcli.transforms.sum_of_squares import SumOfSquaresTransformer
from flowcli.transforms.transformer import Transformer
from flowcli.transforms.unconstrained_monotonic import UnconstrainedMonotonicTransformer

Floats = npt.NDArray[np.float64]

PLACES = 241
REACH = 3.5
STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)
X_REACH = 6.0
# The density's axis goes no further up: a standard normal's peak is at 0.4.
HIGHEST_PEAK = 1.2


@dataclass(frozen=True)
class Variation:
    """One parameter that is varied: its values, and the transformer's raw parameters ``(p,)`` for each."""

    name: str
    values: Sequence[float]
    raw: Callable[[float], Floats]


@dataclass(frozen=True)
class Curve:
    """A map at places ``z``: the values ``x``, and the logarithm of its slope."""

    z: Floats
    x: Floats
    log_slope: Floats


def curve(transformer: Transformer, raw: Floats, z: Floats) -> Curve:
    """The transformer with these raw parameters."""
    with torch.no_grad():
        x, log_slope = transformer.forward(torch.from_numpy(z), torch.from_numpy(raw).expand(len(z), -1))
    return Curve(z, x.numpy(), log_slope.numpy())


def elementwise(name: str, transformer: Transformer) -> Figure:
    """A column of panels for each parameter: the map, its slope, and the density it makes of a standard normal."""
    varied = variations(transformer)
    z = np.linspace(-REACH, REACH, PLACES)
    normal = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    with styled():
        figure, grid = _grid(name, len(varied))
        for column, variation in enumerate(varied):
            for value, colour in zip(variation.values, shades(len(variation.values)), strict=True):
                found = curve(transformer, variation.raw(value), z)
                _draw(grid[:, column], found, normal, colour, f"{value:g}".replace("-", "−"))
            grid[0, column].set_title(variation.name)
            grid[0, column].legend(loc="upper left", fontsize=7, handlelength=1.2, labelspacing=0.2, borderpad=0.1)
            grid[0, column].axline((0, 0), slope=1, color=GREY, linewidth=0.7, linestyle=":")
            grid[2, column].plot(z, normal, color=GREY, linewidth=0.8, linestyle=":")
        _dress(grid)
    return figure


def logit_picture() -> Figure:
    """The logit, which has no parameter, and the density that it makes of a uniform variable."""
    z = np.linspace(0, 1, PLACES + 2)[1:-1]
    with torch.no_grad():
        x, log_slope = Logit(1, 0).forward_and_log_det(torch.from_numpy(z)[:, None])
    with styled():
        figure, grid = _grid("logit", 1)
        found = Curve(z, x[:, 0].numpy(), log_slope.numpy())
        _draw(grid[:, 0], found, np.ones_like(z), shades(1)[0], "logit")
        _dress(grid, base="uniform", reach=(0.0, 1.0))
    return figure


def _grid(name: str, columns: int) -> tuple[Figure, Any]:
    width = WIDTH if columns > 1 else 0.6 * WIDTH
    figure = new_figure(7.2, width)
    figure.suptitle(name, x=0.01, ha="left", weight="bold")
    return figure, figure.subplots(3, columns, squeeze=False, sharey="row")


def _draw(column: Sequence[Axes], found: Curve, base: Floats, colour: object, label: str) -> None:
    top, middle, bottom = column
    top.plot(found.z, found.x, color=colour, label=label)
    middle.plot(found.z, np.exp(found.log_slope), color=colour)
    bottom.plot(found.x, base * np.exp(-found.log_slope), color=colour)


def _dress(grid: Any, base: str = "normal", reach: tuple[float, float] = (-REACH, REACH)) -> None:
    """Limits for each row of panels, and names of its axes."""
    tops, middles, bottoms = grid
    for axes in (*tops, *middles):
        axes.set(xlim=reach, xlabel="z")
    for axes in bottoms:
        axes.set(xlim=(-X_REACH, X_REACH), xlabel="x")
    tops[0].set_ylim(-X_REACH, X_REACH)
    slopes = np.concatenate([line.get_ydata() for axes in middles for line in axes.get_lines()])
    low, high = np.quantile(slopes, [0.005, 0.995])
    for axes in middles:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if high / low < 1000 else (1.0,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    middles[0].set_ylim(min(low / 1.2, 0.5), max(high * 1.2, 2.0))
    peaks = [line.get_ydata().max() for axes in bottoms for line in axes.get_lines()]
    bottoms[0].set_ylim(0, min(1.08 * max(peaks), HIGHEST_PEAK))
    tops[0].set_ylabel("x = f(z)")
    middles[0].set_ylabel("dx/dz")
    bottoms[0].set_ylabel(f"density of x, z {base}")


def variations(transformer: Transformer) -> list[Variation]:
    """What is varied of a transformer; of one that is not known here, two random directions of its parameters."""
    for kind, varied in _VARIED.items():
        if isinstance(transformer, kind):
            return varied(transformer)
    directions = np.random.default_rng(0).standard_normal((2, transformer.parameter_count))
    return [
        Variation(f"all parameters, direction {number}", STEPS, lambda value, way=way: value * way)  # type: ignore[misc]
        for number, way in enumerate(directions, 1)
    ]


def _along(transformer: Transformer, *places: int, start: Floats | None = None) -> Callable[[float], Floats]:
    """Raw parameters that are all zero, or ``start``, but at these places."""

    def raw(value: float) -> Floats:
        parameters = np.zeros(transformer.parameter_count) if start is None else start.copy()
        parameters[list(places)] = value
        return parameters

    return raw


def unclipped(value: float, bound: float) -> float:
    """What :func:`flowcli.transforms.transformer.soft_clip` takes to a value."""
    return value / (1 - abs(value) / bound)


def _affine(transformer: Transformer) -> list[Variation]:
    assert isinstance(transformer, AffineTransformer)
    scale, bound = _along(transformer, 1), transformer.log_scale_bound
    scales = [value for value in (0.4, 0.6, 1.0, 1.6, 2.5) if abs(math.log(value)) < bound]
    return [
        Variation("shift t", STEPS, _along(transformer, 0)),
        Variation("scale exp(s)", scales, lambda value: scale(unclipped(math.log(value), bound))),
    ]


def _sinh_arcsinh(transformer: Transformer) -> list[Variation]:
    tail, bound = _along(transformer, 1), sinh_arcsinh.LOG_TAIL_BOUND
    return [
        Variation("skewness epsilon", (-1.0, -0.5, 0.0, 0.5, 1.0), _along(transformer, 0)),
        Variation(
            "tail weight delta", (0.5, 0.7, 1.0, 1.5, 2.5), lambda value: tail(unclipped(math.log(value), bound))
        ),
    ]


def _spline(transformer: Transformer) -> list[Variation]:
    assert isinstance(transformer, (SplineTransformer, LinearSpline))
    bins = transformer.bins
    bin_ = bins // 2
    found = [
        Variation(f"log width of bin {bin_ + 1}", STEPS, _along(transformer, bin_)),
        Variation(f"log height of bin {bin_ + 1}", STEPS, _along(transformer, bins + bin_)),
    ]
    if isinstance(transformer, SplineTransformer):
        found.append(Variation(f"log slope at knot {bin_}", STEPS, _along(transformer, 2 * bins + bin_ - 1)))
    return found


def _deep_sigmoid(transformer: Transformer) -> list[Variation]:
    assert isinstance(transformer, DeepSigmoidTransformer)
    units = transformer.units
    slopes, offsets, weights = (range(part * units, (part + 1) * units) for part in range(3))
    # Sigmoids one beside the other, without which their slopes and weights would show as a scale or not at all.
    apart = np.zeros(transformer.parameter_count)
    apart[list(offsets)] = np.where(np.arange(units) % 2 == 0, 3.0, -3.0)
    tilt = np.where(np.arange(units) % 2 == 0, 1.0, -1.0)

    def weighted(value: float) -> Floats:
        raw = apart.copy()
        raw[list(weights)] = value * tilt
        return raw

    return [
        Variation("log slopes, offsets apart", STEPS, _along(transformer, *slopes, start=apart)),
        Variation("all offsets", STEPS, _along(transformer, *offsets)),
        Variation("weights, offsets apart", STEPS, weighted),
    ]


def _sum_of_squares(transformer: Transformer) -> list[Variation]:
    assert isinstance(transformer, SumOfSquaresTransformer)
    degree = transformer.shape[1] - 1
    found = [
        Variation(f"coefficient of u^{power} in p_1", STEPS, _along(transformer, power))
        for power in range(min(degree, 2) + 1)
    ]
    return found[1:] or found


def _unconstrained_monotonic(transformer: Transformer) -> list[Variation]:
    assert isinstance(transformer, UnconstrainedMonotonicTransformer)
    units = transformer.units
    height = 2 * units + units // 2
    return [
        Variation("log slope everywhere", STEPS, _along(transformer, 3 * units)),
        Variation(f"height of unit {units // 2 + 1}", STEPS, _along(transformer, height)),
        Variation("all heights, up and down in turn", STEPS, _in_turn(transformer, 2 * units, units)),
    ]


def _in_turn(transformer: Transformer, first: int, count: int) -> Callable[[float], Floats]:
    signs = np.zeros(transformer.parameter_count)
    signs[first : first + count] = np.where(np.arange(count) % 2 == 0, 1.0, -1.0)
    return lambda value: value * signs


_VARIED: dict[type[Transformer], Callable[[Transformer], list[Variation]]] = {
    AffineTransformer: _affine,
    SinhArcsinhTransformer: _sinh_arcsinh,
    SplineTransformer: _spline,
    LinearSpline: _spline,
    DeepSigmoidTransformer: _deep_sigmoid,
    SumOfSquaresTransformer: _sum_of_squares,
    UnconstrainedMonotonicTransformer: _unconstrained_monotonic,
}
