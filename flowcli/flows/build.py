"""From a config to an untrained density."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import import_module
from itertools import compress
from typing import Any, cast

import torch

from flowcli.config.distributions import BASES, LABEL_MODELS, ORDINAL_MODELS
from flowcli.config.schema import Chain as ChainConfig
from flowcli.config.schema import Choice, FlowConfig, Part, check_factors
from flowcli.config.schema import Factor as FactorConfig
from flowcli.errors import MOST_PROBLEMS, ConfigError
from flowcli.flows.base import Base
from flowcli.flows.density import Density, Place, TableDensity
from flowcli.flows.factor import Factor
from flowcli.flows.flow import Flow
from flowcli.flows.integer_flow import IntegerFlow
from flowcli.flows.labels import LabelModel
from flowcli.flows.layout import Layout
from flowcli.flows.mixture import MixtureDensity
from flowcli.flows.size import MOST_MODELLED, MOST_WEIGHTS, Limited, TooLarge
from flowcli.transforms import registry
from flowcli.transforms.bijection import Bijection, Chain
from flowcli.transforms.heavy_tails import KeptTails
from flowcli.transforms.permute import orders_of_a_model

# What a key can do about a network that is too large.
_LOWER = "lower repeat, hidden, layers, bins, units or components"
LONGEST_CLOSE_NAME = 100


def build_density(config: FlowConfig, layout: Layout, seed: int = 0) -> Density:
    """The density of a table's columns.

    Weights come from ``seed``, random orders of the columns do not; torch's global generator is left as it was.

    Raises:
        ConfigError: a transform does not fit the columns, factors do not cover them, or the network is too large.
    """
    try:
        return assemble(config, layout, Limited(), seed)
    except TooLarge as error:
        raise ConfigError([f"with {error} the network has more than {MOST_WEIGHTS:,} weights: {_LOWER}"]) from None


def assemble(config: FlowConfig, layout: Layout, limit: Limited, seed: int = 0) -> Density:
    """As :func:`build_density`, up to a size.

    Raises:
        ConfigError: as there.
        TooLarge: the network is larger; the message names the part that made it so.
    """
    if len(layout.modelled) > MOST_MODELLED:
        raise ConfigError([f"{len(layout.modelled):,} columns to model: at most {MOST_MODELLED:,}; --drop some"])
    with torch.random.fork_rng(devices=[]), limit, orders_of_a_model():
        torch.default_generator.manual_seed(seed)
        if config.mixture is not None:
            copies = [member for member in config.mixture for _ in range(member.copies)]
            return MixtureDensity([_of_factors([part], [_whole(layout)], layout) for part in copies])
        if config.factors is None:
            return _of_factors([config], [_whole(layout)], layout)
        parts = [config.factors[number] for number in check_factors(config.factors)]
        places = _places(config, layout)
        # A factor whose columns are all constant has nothing to model.
        kept = [place.numbers + place.labels + place.ordinals != () for place in places]
        return _of_factors([*compress(parts, kept)], [*compress(places, kept)], layout, whole=False)


def _of_factors(parts: Sequence[Part], places: Sequence[Place], layout: Layout, whole: bool = True) -> TableDensity:
    factors = [_named_factor(part, place, layout) for part, place in zip(parts, places, strict=True)]
    return TableDensity(factors, places, [size for _, size in layout.labels], whole, layout.supports, layout.states)


def _whole(layout: Layout) -> Place:
    """All columns, given the whole context."""
    return Place(
        numbers=tuple(range(len(layout.numbers))),
        labels=tuple(range(len(layout.labels))),
        ordinals=tuple(range(len(layout.ordinals))),
        context=tuple(range(sum(width for _, width in layout.context))),
    )


def _places(config: FlowConfig, layout: Layout) -> list[Place]:
    """The places of the config's factors, parents first.

    Raises:
        ConfigError: a factor names a column that there is not, or a column is in none.
    """
    assert config.factors is not None
    labels = [name for name, _ in layout.labels]
    ordinals = [name for name, _ in layout.ordinals]
    features, start = {}, 0
    for name, width in layout.context:
        features[name] = tuple(range(start, start + width))
        start += width
    own = dict.fromkeys([*layout.modelled, *layout.constant])
    problems: list[str] = []
    places = []
    for number in check_factors(config.factors):
        factor = config.factors[number]
        for key, names, known in (("columns", factor.columns, own), ("given", factor.given, {**own, **features})):
            unknown = [name for name in names if name not in known][: MOST_PROBLEMS - len(problems)]
            for name in unknown:
                close = difflib.get_close_matches(name, known, n=1) if len(name) <= LONGEST_CLOSE_NAME else []
                hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(map(repr, known))}"
                kind = "modelled column" if key == "columns" else "column"
                if key == "columns" and name in features:
                    hint = "it is a context column, which a factor is 'given'"
                problems.append(f"factor {'+'.join(factor.columns)}, {key}: no {kind} {name!r}; {hint}")
        places.append(
            Place(
                numbers=_positions(factor.columns, layout.numbers),
                labels=_positions(factor.columns, labels),
                ordinals=_positions(factor.columns, ordinals),
                parent_numbers=_positions(factor.given, layout.numbers),
                parent_labels=_positions(factor.given, labels),
                parent_ordinals=_positions(factor.given, ordinals),
                context=tuple(at for name in factor.given for at in features.get(name, ())),
            )
        )
    covered = {name for factor in config.factors for name in factor.columns}
    left = [name for name in layout.modelled if name not in covered]
    if left:
        problems.append(f"flow.factors: {', '.join(map(repr, left))} in no factor; --drop leaves columns out")
    if problems:
        raise ConfigError(problems)
    return places


def _positions(names: Sequence[str], columns: Sequence[str]) -> tuple[int, ...]:
    places = {name: at for at, name in reversed([*enumerate(columns)])}
    return tuple(places[name] for name in names if name in places)


def _named_factor(part: Part, place: Place, layout: Layout) -> Factor:
    """A factor; what is wrong with one of several is told with its columns."""
    try:
        return _factor(part, place, layout)
    except ConfigError as error:
        if not isinstance(part, FactorConfig):
            raise
        raise ConfigError([f"factor {'+'.join(part.columns)}: {problem}" for problem in error.problems]) from None


def _factor(part: Part, place: Place, layout: Layout) -> Factor:
    sizes = [layout.labels[column][1] for column in place.labels]
    parents = len(place.parent_numbers) + len(place.parent_ordinals) + len(place.context)
    parents += sum(layout.labels[column][1] for column in place.parent_labels)
    labels = cast(LabelModel, _build(part.labels, sizes, parents)) if sizes else None
    given = parents + sum(sizes)
    ordinals: IntegerFlow | None = None
    if place.ordinals:
        scales = [layout.ordinals[column][1] for column in place.ordinals]
        ordinals = cast(IntegerFlow, _build(part.ordinals, scales, given))
    given += len(place.ordinals)
    if not place.numbers:
        _refuse_idle(part, layout)
        return Factor(labels, ordinals, None)
    columns = [layout.numbers[column] for column in place.numbers]
    if part.transforms is None:
        raise ConfigError(["needs transforms for its number columns"])
    base = cast(Base, _build(part.base, len(columns), given))
    chain = _build_chain(part, columns, given, layout.constant, moved=False)
    supports = [layout.supports[column] for column in place.numbers] if layout.supports else []
    if part.heavy_tails == "kept" and any(support.map == "arcsinh" for support in supports):
        chain = Chain([*chain.bijections(), KeptTails(supports)])
    in_layout = [layout.state_of(number) for number in place.numbers]
    states = [None if state is None else place.labels.index(state) for state in in_layout]
    if any(state is not None for state in states) and not chain.skips():
        raise ConfigError(["a transform that mixes all columns cannot leave out missing cells or spikes"])
    return Factor(labels, ordinals, Flow(base, chain), states)


def _refuse_idle(part: Part, layout: Layout) -> None:
    """A factor without numbers has no use for a flow; a whole config without, as a preset, is taken all the same."""
    idle = [key for key in ("transforms", "base", "heavy_tails") if getattr(part, key) != getattr(Part(), key)]
    if isinstance(part, FactorConfig) and idle and not set(part.columns) & set(layout.constant):
        raise ConfigError([f"has no number columns, and no use for {' and '.join(idle)}"])


_ENTRIES = {entry.name: entry for entry in (*BASES, *LABEL_MODELS, *ORDINAL_MODELS)}


def _build(choice: Choice, features: Any, context_features: int) -> Any:
    """A base distribution, or a model of labels or ordinals."""
    entry = _ENTRIES[choice.name]
    if entry.part == "base" and entry.takes_context and not context_features:
        raise ConfigError(
            [f"base {entry.name} needs something to depend on: context columns, labels, ordinals or parents"]
        )
    module, _, builder = entry.builder.partition(":")
    try:
        return getattr(import_module(module), builder)(features, context_features, **choice.parameters.model_dump())
    except TooLarge:
        raise TooLarge(choice.name) from None


def _build_chain(
    config: Part | ChainConfig, columns: list[str], context_features: int, constant: Sequence[str], moved: bool
) -> Chain:
    """The chain of a config; ``moved`` is whether a permutation stands between it and the data."""
    parts: list[Bijection] = []
    for turn in range(config.repeat):
        transforms = config.transforms or []
        for at, transform in enumerate(transforms):
            later = transforms[at + 1 :] if turn + 1 == config.repeat else transforms
            moved_here = moved or any(_permutes(other) for other in later)
            if isinstance(transform.parameters, ChainConfig):
                parts.append(_build_chain(transform.parameters, columns, context_features, constant, moved_here))
                continue
            parameters = transform.parameters.model_dump()
            if isinstance(parameters.get("split"), list):
                if moved_here:
                    raise ConfigError(
                        [
                            f"{transform.name}.split names columns, which a permute between it and the data moves; "
                            "leave the permute out, or the names"
                        ]
                    )
                parameters["split"] = _split_positions(transform.name, parameters["split"], columns, constant)
            try:
                parts.append(registry.build(transform.name, len(columns), context_features, parameters))
            except TooLarge:
                raise TooLarge(transform.name) from None
    return Chain(parts)


def _permutes(transform: Choice) -> bool:
    inner = transform.parameters
    if isinstance(inner, ChainConfig):
        return any(_permutes(other) for other in inner.transforms)
    return transform.name == "permute"


def _split_positions(name: str, kept: list[str], columns: list[str], constant: Sequence[str]) -> list[int]:
    """Positions from 0 of the columns that a coupling keeps; constant ones are not there to be kept."""
    unknown = [column for column in kept if column not in columns and column not in constant]
    if unknown:
        raise ConfigError([f"{name}.split: no column {unknown[0]!r} to keep; there are {', '.join(columns)}"])
    positions = [columns.index(column) for column in kept if column in columns]
    if len(positions) in (0, len(columns)):
        what = "every column, and none is left to transform" if positions else "no column that varies"
        raise ConfigError([f"{name}.split: keeps {what}"])
    return positions
