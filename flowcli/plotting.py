"""Pictures of a model: what is drawn of it, and from which rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from matplotlib.figure import Figure

from flowcli.conditioning import Condition
from flowcli.errors import DataError, FlowcliError, UsageError
from flowcli.evaluation.latents import normal_latents
from flowcli.expression import Expression
from flowcli.flows.density import TableDensity
from flowcli.flows.mixture import MixtureDensity
from flowcli.flows.rows import Rows
from flowcli.model import Model
from flowcli.plots.density import exact_density, exact_grid, sampled_density
from flowcli.plots.elementwise import elementwise, logit_picture
from flowcli.plots.flow_path import Step, factor_with, flow_path
from flowcli.plots.latents import latents
from flowcli.plots.pairs import pairs
from flowcli.plots.shown_column import ShownColumn
from flowcli.plots.steps import film, steps
from flowcli.plots.training import training
from flowcli.plots.warp import draw_parameters, warp
from flowcli.runs import HISTORY, METRICS
from flowcli.tables.arrays import floats_of, integers, numbers, texts
from flowcli.tables.columns import Column, describe_missing
from flowcli.tables.table import Origin, Table
from flowcli.transforms import registry
from flowcli.transforms.bijection import Bijection, Chain
from flowcli.transforms.catalogue import CONDITIONER

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowcli.config.schema import Part

Floats = npt.NDArray[np.float64]

MOST_COLUMNS = 8
# For the limits of a grid, where no data say them.
ROWS_FOR_LIMITS = 2000


@dataclass(frozen=True)
class Data:
    """Rows to compare a model with, and what they are called in a picture."""

    table: Table
    name: str


def pairs_picture(model: Model, name: str, data: Data, columns: Sequence[str], n: int, seed: int) -> Figure:
    """Data against about ``n`` samples of the model, drawn given the data's context columns where it has any.

    Args:
        columns: their names; none: the first ones.

    Raises:
        UsageError: a column is not known.
        DataError: the data lack a column, or context cells cannot be used.
    """
    chosen = choose(model.header.columns, columns) or shown_by_default(model.header.columns)
    _require(data.table, chosen)
    given, each = None, n
    if model.encoder.context:
        rows = np.arange(len(data.table))[:: max(1, -(-len(data.table) // n))]
        given, each = data.table.take(rows), -(-n // len(rows))
    samples = pa.concat_tables(model.sample_chunks(each, given, seed))
    told = f"{samples.num_rows:,} samples of {name}{' given their context' if given is not None else ''}"
    return pairs(chosen, data.table.cells, samples, data.name, told)


def shown_by_default(columns: Sequence[Column]) -> list[Column]:
    """The first of those that there is something to see of, modelled ones before the context."""
    there = [column for column in columns if column.kind not in ("constant", "identifier")]
    return sorted(there, key=lambda column: column.context)[:MOST_COLUMNS]


def density_columns(columns: Sequence[Column], names: Sequence[str]) -> list[Column]:
    """The one or two columns of a density: those named, else the first two numbers, else the first modelled one."""
    if names:
        return choose(columns, names)
    there = [c for c in columns if c.kind not in ("constant", "identifier") and not c.context]
    return [column for column in there if column.numeric][:2] or there[:1]


def density_picture(
    model: Model,
    name: str,
    columns: Sequence[Column],
    data: Data | None,
    draw: Callable[[int], Iterator[pa.Table]],
    n: int,
    context: Table | None,
    conditioned: bool,
) -> Figure:
    """The density over one or two columns.

    Exact where these are all of the model's, numbers without spikes and holes, and it depends on nothing but the
    ``context``; else from samples.

    Args:
        draw: so many rows of what is wanted.
        conditioned: whether that is more than the ``context``.
    """
    data_name = "" if data is None else data.name
    cells = None if data is None else data.table.cells
    exact = not conditioned and [*columns] == [c for c in model.encoder.numbers if not c.partial and c.kind == "number"]
    if not exact or model.encoder.modelled != len(columns):
        samples = pa.concat_tables(draw(n))
        return sampled_density(columns, cells, samples, data_name, f"{samples.num_rows:,} samples of {name}")
    places = exact_grid(columns, *([] if cells is None else [cells]), pa.concat_tables(draw(ROWS_FOR_LIMITS)))
    log_density = _log_density(model, columns, places, context)
    return exact_density(columns, places, log_density, cells, data_name, name)


def _log_density(model: Model, columns: Sequence[Column], places: Sequence[Floats], context: Table | None) -> Floats:
    """``(m,)``, or ``(m, m)`` with a row for each place along the second column."""
    grid = np.meshgrid(*places)
    cells = {c.name: numbers(values.reshape(-1)) for c, values in zip(columns, grid, strict=True)}
    if context is not None:
        same = np.zeros(grid[0].size, dtype=np.int64)
        cells |= {name: context.column(name).take(integers(same)).combine_chunks() for name in context.names}
    table = Table(pa.table(cells), (Origin("the grid", 1, grid[0].size),))
    return model.log_prob(table).reshape(grid[0].shape)


def rows_that_fit(data: Data, columns: Sequence[Column], values: Mapping[str, str], where: Expression | None) -> Data:
    """The data's rows that have these values and fulfil the expression."""
    if not values and where is None:
        return data
    rows = np.flatnonzero(Condition(columns, values, where).holds(data.table.cells))
    return Data(data.table.take(rows), f"{len(rows):,} of {data.name} that fit")


def latents_picture(model: Model, name: str, data: Data, note: Callable[[str], None]) -> Figure:
    """The latents of the data's rows.

    Raises:
        UsageError: the model has no latents.
        DataError: no row has any.
    """
    names = [f"z{at}" for at in range(1, len(model.encoder.numbers) + 1)]
    if not names:
        raise UsageError("the model has no number columns, and so no latents")
    possible = np.flatnonzero(np.isfinite(model.log_prob(data.table, on_bad_row="empty")))
    left_out = len(data.table) - len(possible)
    if left_out:
        note(f"{left_out:,} rows have no latents: the model cannot score them, or holds them impossible")
    if not len(possible):
        raise DataError(f"{data.table.source()}: no row has latents")
    if len(names) > MOST_COLUMNS:
        note(f"shown are the first {MOST_COLUMNS} of {len(names):,} latents")
        names = names[:MOST_COLUMNS]
    flow = model.header.config.flow
    assert flow is not None
    rows = data.table.take(possible)
    if model.components:
        # Those of a component that is drawn for each row are normal if the model is right.
        encoded = Rows.of(model.encoded(rows), model.device, torch.float64)
        z = normal_latents(model.density, encoded, np.random.default_rng(0))[:, : len(names)]
        return latents(z, names, f"latents of {data.name}")
    parts: list[Part] = [flow] if flow.factors is None else [*flow.factors]
    others = {part.base.name for part in parts} - {"normal"}
    if others:
        note(f"the base is {', '.join(sorted(others))}: these latents are not normal even if the model is right")
    cells = model.encode(rows)
    z = np.stack([floats_of(cells.column(latent)) for latent in names], axis=1)
    return latents(z, names, f"latents of {data.name}")


def training_picture(folder: Path) -> Figure:
    """How the training of a run went.

    Raises:
        UsageError: the folder has no history, or one without an epoch.
        FlowcliError: it is damaged.
    """
    if not (folder / HISTORY).is_file() or not (folder / METRICS).is_file():
        raise UsageError(f"{folder}: holds no {HISTORY} and {METRICS}: a training is drawn from its run folder")
    try:
        with (folder / HISTORY).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        columns = ("epoch", "training_log_likelihood", "validation_log_likelihood", "learning_rate")
        history = {name: np.array([float(row[name] or "nan") for row in rows]) for name in columns}
        metrics: dict[str, Any] = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FlowcliError(f"{folder}: {HISTORY} or {METRICS} cannot be read: {error}") from None
    if not rows:
        raise UsageError(f"{folder}: its training had no epoch")
    return training(history, metrics)


def transform_picture(name: str, parameters: Mapping[str, Any], seed: int) -> Figure:
    """What a registered transform does, with these parameters: of one column, or in the plane.

    Raises:
        ConfigError: it cannot be built for two columns.
    """
    entry = registry.entries()[name]
    if entry.transformer:
        own = {p.name: parameters[p.name] for p in entry.parameters if p not in CONDITIONER}
        return elementwise(name, registry.build_transformer({name: own}))
    if entry.domain == "unit":
        return logit_picture()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transform = registry.build(name, max(2, registry.min_features(name, parameters)), 0, parameters)
    draw_parameters(transform, seed)
    return warp(name, transform.double().eval(), seed)


@dataclass(frozen=True)
class FlowSteps:
    """The rows of a model after each of its transforms, along two columns."""

    path: list[Step]
    columns: list[ShownColumn]
    what: str

    def picture(self) -> Figure:
        """Small multiples."""
        return steps(self.path, self.columns, self.what)

    def film(self) -> bytes:
        """A GIF."""
        return film(self.path, self.columns)


def flow_steps(model: Model, name: str, columns: Sequence[str], n: int, context: Table | None, seed: int) -> FlowSteps:
    """``n`` rows of the model, given one row of context, step by step from base to data.

    Args:
        columns: two number columns; none: the first two that are in one factor.

    Raises:
        UsageError: there are no such two columns.
    """
    density, of_member = _one_chain(model)
    numbers_of = model.encoder.numbers
    if columns:
        chosen = choose(model.header.columns, columns)
        if len(chosen) != 2 or any(column not in numbers_of for column in chosen):
            raise UsageError("--columns: the steps are drawn along two modelled number columns")
        pair = numbers_of.index(chosen[0]), numbers_of.index(chosen[1])
        factor = factor_with(density, pair)
        if factor is None:
            raise UsageError(
                f"--columns: {' and '.join(columns)} are in different factors, each with a flow of its own"
            )
    else:
        factor = next((at for at, place in enumerate(density.places) if len(place.numbers) > 1), None)
        if factor is None:
            raise UsageError("the model has no flow of two number columns whose steps could be drawn")
        pair = density.places[factor].numbers[0], density.places[factor].numbers[1]
    encoded = np.zeros((1, 0)) if context is None else model.encoder.encode_context(context).context
    uniforms = torch.from_numpy(np.random.default_rng(seed).random((n, density.noise_features)))
    given = torch.from_numpy(encoded).expand(n, -1)
    with torch.inference_mode():
        rows = density.sample(uniforms.to(model.device), given.to(model.device))
    *before, last = flow_path(density, factor, pair, rows)
    nothing = pa.chunked_array([texts([])])
    shown = [ShownColumn(numbers_of[at], nothing) for at in pair]
    places = [column.of_encoded(last.points[:, at]) for at, column in enumerate(shown)]
    of_factor = "" if len(density.places) == 1 else f", the factor of {', '.join(_names(model, density, factor))}"
    return FlowSteps(
        [*before, Step(last.name, np.stack(places, axis=1))],
        shown,
        f"{len(last.points):,} rows of {name}{of_factor}{of_member}",
    )


def _one_chain(model: Model) -> tuple[TableDensity, str]:
    """The density whose steps are shown, and, of a mixture, which member that is: the heaviest one with transforms."""
    density = model.density
    if isinstance(density, TableDensity):
        return density, ""
    assert isinstance(density, MixtureDensity)
    weights = density.weights.tolist()
    moving = [k for k, member in density.weighted() if any(isinstance(m, Bijection) for m in _steps_of(member))]
    number = max(moving or [k for k, _ in density.weighted()], key=weights.__getitem__)
    return density.member(number), f", member {number + 1} of a mixture of {len(weights)}"


def _steps_of(member: TableDensity) -> list[torch.nn.Module]:
    return [module for module in member.modules() if not isinstance(module, Chain)]


def _names(model: Model, density: TableDensity, factor: int) -> list[str]:
    return [model.encoder.numbers[at].name for at in density.places[factor].numbers]


def choose(columns: Sequence[Column], names: Sequence[str]) -> list[Column]:
    """The columns with these names, in their order.

    Raises:
        UsageError: one is not known, or has nothing to show.
    """
    known = {column.name: column for column in columns if column.kind not in ("constant", "identifier")}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"--columns: {describe_missing(unknown, list(known), 'the model')}")
    return [known[name] for name in names]


def _require(table: Table, columns: Sequence[Column]) -> None:
    missing = [column.name for column in columns if column.name not in table.names]
    if missing:
        raise DataError(describe_missing(missing, table.names, table.source()))
