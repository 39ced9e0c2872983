"""The density over one column or two: exact, on a grid, or from samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from flowcli.plots.panels import SHARES, draw_histogram, draw_marginal, draw_model, draw_points
from flowcli.plots.shown_column import ShownColumn
from flowcli.plots.smoothing import levels_holding, smooth_density_2d
from flowcli.plots.style import DENSITIES, MODEL, WIDTH, data_key, model_key, new_figure, styled
from flowcli.tables.columns import Column

Floats = npt.NDArray[np.float64]

# Places of a grid: along one column, and along each of two.
PLACES, PLACES_EACH_WAY = 801, 161
MOST_POINTS = 500


def sampled_density(
    columns: Sequence[Column], data: pa.Table | None, samples: pa.Table, data_name: str, model_name: str
) -> Figure:
    """One column's marginal, or the joint one of two, from samples; with the data, where there are any."""
    noise = np.random.default_rng(0)
    shown, rows = _shown(columns, data, samples)
    drawn = [column.places(samples.column(column.column.name)) for column in shown]
    limits = [column.limits(*each) for column, *each in zip(shown, drawn, *([rows] if rows else []), strict=True)]
    with styled():
        figure = new_figure(0.55 * WIDTH if len(shown) == 1 else 0.75 * WIDTH)
        axes = figure.subplots()
        axes.set_xlim(limits[0])
        if len(shown) == 1:
            draw_marginal(axes, shown[0], rows[0] if rows else None, drawn[0], noise)
            axes.set_ylabel("probability" if shown[0].is_label else _density_label(shown))
        else:
            axes.set_ylim(limits[1])
            if any(column.is_label for column in shown):
                draw_model(axes, (shown[0], drawn[0]), (shown[1], drawn[1]), noise)
                if rows:
                    draw_points(axes, (shown[0], rows[0]), (shown[1], rows[1]), noise)
            else:
                there = np.isfinite(drawn[0]) & np.isfinite(drawn[1])
                x, y = (column.spread(places[there], noise) for column, places in zip(shown, drawn, strict=True))
                _image(figure, axes, shown, *smooth_density_2d(x, y, *limits), rows)
        _finish(figure, axes, shown, data_name if rows else "", model_name)
    return figure


def exact_grid(columns: Sequence[Column], *tables: pa.Table) -> list[Floats]:
    """Places along each of one or two number columns, where these tables' rows are, within the column's bounds."""
    count = PLACES if len(columns) == 1 else PLACES_EACH_WAY
    found = []
    for column in columns:
        shown = ShownColumn(column, tables[0].column(column.name))
        limits = shown.limits(*(shown.places(table.column(column.name)) for table in tables))
        found.append(np.linspace(*shown.within_bounds(*limits), count))
    return found


def exact_density(
    columns: Sequence[Column],
    places: Sequence[Floats],
    log_density: Floats,
    data: pa.Table | None,
    data_name: str,
    model_name: str,
) -> Figure:
    """The density over all number columns of a model, one or two.

    Args:
        places: along each column, ``(m,)``.
        log_density: there, in nats, ``(m,)``, or ``(m, m)`` with a row for each place along the second column.
    """
    shown, rows = _shown(columns, data, pa.table({column.name: pa.array([], pa.string()) for column in columns}))
    density = np.exp(log_density)
    with styled():
        figure = new_figure(0.55 * WIDTH if len(shown) == 1 else 0.75 * WIDTH)
        axes = figure.subplots()
        axes.set_xlim(places[0][0], places[0][-1])
        if len(shown) == 1:
            if rows:
                draw_histogram(axes, shown[0], rows[0])
            axes.plot(places[0], density, color=MODEL, linewidth=1.8, label="model")
            axes.set_xlim(places[0][0], places[0][-1])
            axes.set_ylim(0, 1.08 * axes.dataLim.ymax)
            axes.set_ylabel(_density_label(shown))
        else:
            axes.set_ylim(places[1][0], places[1][-1])
            _image(figure, axes, shown, places[0], places[1], density, rows)
        _finish(figure, axes, shown, data_name if rows else "", model_name)
    return figure


def _shown(
    columns: Sequence[Column], data: pa.Table | None, samples: pa.Table
) -> tuple[list[ShownColumn], list[Floats] | None]:
    shown = [ShownColumn(column, (samples if data is None else data).column(column.name)) for column in columns]
    return shown, None if data is None else [column.places(data.column(column.column.name)) for column in shown]


def _image(
    figure: Figure,
    axes: Axes,
    shown: Sequence[ShownColumn],
    x: Floats,
    y: Floats,
    density: Floats,
    rows: list[Floats] | None,
) -> None:
    """The density as colours, and lines around the regions of highest density that hold :data:`SHARES` of it."""
    scale = Normalize(0, float(density.max()) or 1.0)
    mesh = axes.pcolormesh(x, y, density, shading="nearest", cmap=DENSITIES, norm=scale, rasterized=True)
    levels = levels_holding(density, SHARES)
    if len(levels):
        axes.contour(x, y, density, levels, colors="white", linewidths=0.7, alpha=0.8)
    if rows:
        there = np.isfinite(rows[0]) & np.isfinite(rows[1])
        some = np.flatnonzero(there)[:: max(1, -(-int(there.sum()) // MOST_POINTS))]
        axes.scatter(
            rows[0][some], rows[1][some], s=7, facecolor="white", edgecolor="black", linewidth=0.4, label="data"
        )
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    figure.colorbar(mesh, ax=axes, label=_density_label(shown), pad=0.01, fraction=0.05)


def _density_label(shown: Sequence[ShownColumn]) -> str:
    units = [column.column.unit for column in shown]
    return f"density [1 / ({' · '.join(units)})]" if all(units) and len(units) > 1 else _per(units[0], all(units))


def _per(unit: str, known: bool) -> str:
    return f"density [1 / {unit}]" if known else "density"


def _finish(figure: Figure, axes: Axes, shown: Sequence[ShownColumn], data_name: str, model_name: str) -> None:
    shown[0].dress(axes.xaxis, 8)
    axes.set_xlabel(shown[0].name)
    if len(shown) == 2:
        shown[1].dress(axes.yaxis, 7)
        axes.set_ylabel(shown[1].name)
    image = len(shown) == 2 and not any(column.is_label for column in shown)
    keys = [data_key(data_name)] if data_name else []
    if image:
        for key in keys:
            key.set(markerfacecolor="white", markeredgecolor="black", markeredgewidth=0.6)
        lines = f"{100 * SHARES[-1]:.0f}, {', '.join(f'{100 * share:.0f}' for share in SHARES[-2::-1])}%"
        keys += [model_key(f"{model_name}; lines around its densest {lines}")]
        keys[-1].set(color="#b0b0b0", linewidth=1.2)
    else:
        keys += [model_key(model_name)]
    figure.legend(handles=keys, loc="outside upper left", ncols=2, columnspacing=1.5)
