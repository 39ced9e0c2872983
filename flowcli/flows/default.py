"""The architecture when the config names none."""

from __future__ import annotations

import math
from typing import Any

from flowcli.config.distributions import BASES
from flowcli.config.schema import Config, FlowConfig, Part, TrainConfig, transform_names
from flowcli.errors import ConfigError
from flowcli.flows.layout import Layout
from flowcli.transforms.registry import entries

# Tables of up to so many rows are too small to spare a part for validation alone.
MOST_FOLDED_ROWS = 5_000
FOLDS = 5
VALIDATION_SHARE = 0.1
# Mixtures of normals are tried with these numbers of components, as long as each has so many rows.
COMPONENTS = (1, 2, 4, 8, 16, 32, 64)
# In larger tables with these.
LARGE_COMPONENTS = (1, 32, 64, 128)
# Their start takes time as this product of rows and squared columns; where it is far less there are more copies.
ROWS_TIMES_SQUARED_COLUMNS = 1_000_000
MOST_COPIES = 12
ROWS_FOR_A_COMPONENT = 15
# Mixtures given labels or a context have so many: a few, as their networks can bend each. Of few rows with labels some
# are of one, as that is all that the rows of a label may say.
CONDITIONAL_COMPONENTS = 4
FEW_CATEGORIES = 50
LARGE_ROWS = 25_000
LEARNING_RATE = 16e-3
PATIENCE, CUTS = 10, 3
# What training takes on one core of the year 2021: a step, and of a layer each number of each row.
SECONDS_FOR_A_LAYER = 10e-3
SECONDS_FOR_A_NUMBER = 0.9e-6
SECONDS_FOR_ITS_UNITS = 8e-9
# A category of a label takes as long as so much of a number.
PART_FOR_A_CATEGORY = 1 / 6
SECONDS_FOR_A_THOUSAND_ROWS = 40.0
# For tables of up to so many rows; where a context, or labels in small tables, bring twice as many kinds, half of it.
MOST_SECONDS = ((1_000, 40.0), (20_000, 250.0), (50_000, 500.0))
MORE_KINDS = 2
FEWEST_EPOCHS, MOST_EPOCHS = 8, 1000
# An epoch has about so many batches: side by side, small ones take as long as larger ones.
BATCHES_OF_A_MIXTURE = 6
# Networks of a context learn its rows by heart; the noise of smaller batches keeps them from it.
LARGEST_BATCH, LARGEST_CONDITIONAL_BATCH = 512, 256


def with_split(config: Config, rows: int) -> Config:
    """The config with the folds and the validation rows decided, for a table of so many rows.

    Raises:
        ConfigError: folds are asked for where they have no use.
    """
    mixture = None if config.flow is None else config.flow.mixture
    mixed = config.flow is None or mixture is not None
    folds, validation = config.train.folds, config.data.validation
    if folds is not None and folds > 1:
        if not mixed:
            raise ConfigError(["train.folds: only a mixture has use for folds; see flow.mixture"])
        if validation:
            raise ConfigError(["train.folds: the rows that each member leaves out take the place of data.validation"])
    if folds is None:
        # Of each kind there must be as many as there are parts, so that every row is left out by one.
        many = mixed and all(member.copies >= FOLDS for member in mixture or [])
        folds = FOLDS if many and validation is None and rows <= MOST_FOLDED_ROWS else 1
    if validation is None:
        validation = VALIDATION_SHARE if folds == 1 else 0.0
    return config.model_copy(
        update={
            "train": config.train.model_copy(update={"folds": folds}),
            "data": config.data.model_copy(update={"validation": validation}),
        }
    )


def with_default(flow: FlowConfig | None, rows: int, layout: Layout) -> FlowConfig:
    """The config's flow, or one that is chosen for the table: its transforms alone where just these are missing."""
    if flow is None:
        return default_mixture(rows, layout)
    if flow.transforms is not None or flow.factors is not None or flow.mixture is not None:
        return flow
    chosen = FlowConfig.model_validate(default_chain(rows, len(layout.numbers)))
    return flow.model_copy(update={"repeat": chosen.repeat, "transforms": chosen.transforms})


def default_mixture(rows: int, layout: Layout) -> FlowConfig:
    """Flows that start differently, and mixtures of normals of many sizes; held-out rows decide what each counts.

    Small tables get many small flows, large ones a few large ones. Tables of numbers alone have mixtures of normals,
    which depend on nothing, those with labels or a context mixture density networks; with a context some flows have a
    base that depends on it. Where columns have heavy tails, some flows see them as they are.
    """
    features = len(layout.numbers)
    network: dict[str, Any] = {"hidden": [_size(rows)[1]] * 2, "activation": "silu"}
    members = [*_normals(rows, layout), {"copies": _copies(rows), **default_chain(rows, features)}]
    if features > 1 and any(support.map == "arcsinh" for support in layout.supports):
        members.append({"copies": _copies(rows), **_kept_tails(network)})
    if features and layout.context:
        # Of another kind in all that can differ: what one cannot learn from few rows, the other may.
        base = {"conditional_normal": network}
        members.append({"copies": _copies(rows), **default_chain(rows, features, "silu"), "base": base})
    return FlowConfig.model_validate({"mixture": [*members, *_density_networks(rows, layout, network)]})


def _normals(rows: int, layout: Layout) -> list[dict[str, Any]]:
    """Mixtures of normals of many sizes, for numbers that are given nothing."""
    features = len(layout.numbers)
    # What says that a cell is missing is a label, too; of several, a density without training knows only each alone.
    states = sum(state is not None for state in layout.states)
    if not features or layout.ordinals or layout.context or not len(layout.labels) == states <= 1:
        return []
    if rows <= MOST_FOLDED_ROWS:
        copies, sizes = FOLDS, [size for size in COMPONENTS if size == 1 or size * ROWS_FOR_A_COMPONENT <= rows]
    else:
        copies, sizes = ROWS_TIMES_SQUARED_COLUMNS // (rows * features**2), [*LARGE_COMPONENTS]
    copies = max(1, min(MOST_COPIES, copies))
    return [
        {"copies": copies, "epochs": 0, "transforms": [], "base": {"gaussian_mixture": {"components": size}}}
        for size in sizes
    ]


def _density_networks(rows: int, layout: Layout, network: dict[str, Any]) -> list[dict[str, Any]]:
    """Mixture density networks, for numbers that depend on labels or a context, or of few rows on what is missing."""
    small, categories = rows <= MOST_FOLDED_ROWS, _categories(layout)
    depend = categories or layout.context or (small and (layout.labels or layout.ordinals))
    if not layout.numbers or not depend:
        return []
    # They take far less time than the flows, unless the labels, which each member has a model of, take most of it.
    copies = 2 * _copies(rows) if small or categories <= FEW_CATEGORIES else _copies(rows)
    # Behind the linear map columns that nearly determine each other are of one size, and small moves small.
    linear = ["triangular_affine"] if len(layout.numbers) > 1 else []
    sizes = [1, CONDITIONAL_COMPONENTS] if small and layout.labels else [CONDITIONAL_COMPONENTS]
    bases = [{"conditional_gaussian_mixture": {"components": size, **network}} for size in sizes]
    return [{"copies": copies, "transforms": linear, "base": base} for base in bases]


def _categories(layout: Layout) -> int:
    """Of all labels together, without those that say whether a cell is missing."""
    return sum(size for place, (_, size) in enumerate(layout.labels) if place not in layout.states)


def _kept_tails(network: dict[str, Any]) -> dict[str, Any]:
    """A masked autoregressive flow with five layers, as its paper has it, of columns as they are.

    A column's tail may come from a scale that another column sets; its map then bends what is straight.
    """
    steps = [{"affine_autoregressive": network}, {"permute": {"order": "reverse"}}]
    return {"heavy_tails": "kept", "repeat": 5, "transforms": steps}


def _copies(rows: int) -> int:
    return FOLDS if rows <= MOST_FOLDED_ROWS else 4 if rows < LARGE_ROWS else 2


def _size(rows: int) -> tuple[int, int]:
    """How many layers, and how wide."""
    return (2, 32) if rows < 300 else (3, 64) if rows < LARGE_ROWS else (4, 128)


def default_chain(rows: int, features: int, activation: str = "relu") -> dict[str, Any]:
    """Autoregressive rational-quadratic splines between linear maps, sized by the training rows.

    The map nearest to the data takes its maximum-likelihood values and the splines start at the
    identity, so that training starts at the full-covariance Gaussian. Few rows get narrow networks.
    """
    layers, width = _size(rows)
    steps: list[Any] = [
        {"spline_autoregressive": {"hidden": [width, width], "activation": activation}},
        "triangular_affine",
    ]
    if features > 1:
        steps.append({"permute": {"order": "random"}})
    return {"repeat": layers, "transforms": steps}


def default_training(config: TrainConfig, rows: int, layout: Layout) -> TrainConfig:
    """How a mixture is trained, the default one above all: in about the time that a table of so many rows is worth.

    The time is guessed from the sizes alone, so that a second fit does the same.
    """
    layers, width = _size(rows)
    most = LARGEST_CONDITIONAL_BATCH if layout.context else LARGEST_BATCH
    batch_size = config.batch_size or min(most, max(16, 2 ** round(math.log2(rows / BATCHES_OF_A_MIXTURE))))
    features = len(layout.modelled)
    categories = sum(size for _, size in layout.labels)
    numbers = batch_size * _copies(rows) * (layers * max(1, features) + PART_FOR_A_CATEGORY * categories)
    step = SECONDS_FOR_A_LAYER * layers + (SECONDS_FOR_A_NUMBER + SECONDS_FOR_ITS_UNITS * width) * numbers
    # With a limit of the user's the clock decides, and the epochs are more than it will allow.
    seconds = _seconds(rows, layout) if config.max_time is None else 2 * config.max_time
    epochs = max(FEWEST_EPOCHS, round(seconds / step / math.ceil(rows / batch_size)))
    chosen = {
        "batch_size": batch_size,
        "epochs": min(MOST_EPOCHS, epochs),
        "learning_rate": LEARNING_RATE,
        "patience": PATIENCE,
        "cuts": CUTS,
    }
    return config.model_copy(update={key: value for key, value in chosen.items() if getattr(config, key) is None})


def _seconds(rows: int, layout: Layout) -> float:
    """What training may take: it grows more slowly than the rows, and some with the columns."""
    most = next((seconds for up_to, seconds in MOST_SECONDS if rows <= up_to), math.inf)
    most /= MORE_KINDS if layout.context or (layout.labels and rows <= MOST_FOLDED_ROWS) else 1
    seconds = SECONDS_FOR_A_THOUSAND_ROWS * math.pow(max(1.0, rows / 1000), 0.6)
    return min(most, seconds * math.sqrt(max(1.0, len(layout.numbers) / 10)))


def mixes_all_columns(flow: FlowConfig | None) -> list[str]:
    """The names of the config's transforms and bases that cannot leave out columns of a row."""
    parts: list[Part] = [] if flow is None else [*(flow.factors or flow.mixture or [flow])]
    names = [name for part in parts for name in (part.base.name, *transform_names(part))]
    able = {entry.name for entry in (*BASES, *entries().values()) if entry.skips_absent}
    return [name for name in dict.fromkeys(names) if name not in able]
