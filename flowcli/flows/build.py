"""From a config to an untrained density."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import import_module
from typing import Any, cast

import torch

from flowcli.config.distributions import BASES, LABEL_MODELS, ORDINAL_MODELS
from flowcli.config.schema import Chain as ChainConfig
from flowcli.config.schema import Choice, FlowConfig, Part, check_factors
from flowcli.errors import ConfigError
from flowcli.flows.base import Base
from flowcli.flows.density import Place, TableDensity
from flowcli.flows.factor import Factor
from flowcli.flows.flow import Flow
from flowcli.flows.integer_flow import IntegerFlow
from flowcli.flows.labels import LabelModel
from flowcli.flows.layout import Layout
from flowcli.transforms import registry
from flowcli.transforms.bijection import Bijection, Chain


def build_density(config: FlowConfig, layout: Layout, seed: int = 0) -> TableDensity:
    """The density of a table's columns.

    Weights and random orders come from ``seed``; torch's global generator is left as it was.

    Raises:
        ConfigError: a transform does not fit the columns, or factors do not cover them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if config.factors is None:
            parts: list[Part] = [config]
            places = [_whole(layout)]
        else:
            parts = [config.factors[number] for number in check_factors(config.factors)]
            places = _places(config, layout)
            # A factor whose columns are all constant has nothing to model.
            kept = [place.numbers + place.labels + place.ordinals != () for place in places]
            parts = [part for part, keep in zip(parts, kept, strict=True) if keep]
            places = [place for place, keep in zip(places, kept, strict=True) if keep]
        factors = [_factor(part, place, layout) for part, place in zip(parts, places, strict=True)]
        return TableDensity(factors, places, [size for _, size in layout.labels])


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
    ordinals = [ordinal.name for ordinal in layout.ordinals]
    features, start = {}, 0
    for name, width in layout.context:
        features[name] = tuple(range(start, start + width))
        start += width
    problems = []
    places = []
    for number in check_factors(config.factors):
        factor = config.factors[number]
        for key, names, known in (
            ("columns", factor.columns, [*layout.modelled, *layout.constant]),
            ("given", factor.given, [*layout.modelled, *layout.constant, *features]),
        ):
            for name in names:
                if name not in known:
                    close = difflib.get_close_matches(name, known, n=1)
                    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(map(repr, known))}"
                    kind = "modelled column" if key == "columns" else "column"
                    problems.append(f"flow.factors.{number}.{key}: no {kind} {name!r}; {hint}")
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
    return tuple(columns.index(name) for name in names if name in columns)


def _factor(part: Part, place: Place, layout: Layout) -> Factor:
    sizes = [layout.labels[column][1] for column in place.labels]
    parents = len(place.parent_numbers) + len(place.parent_ordinals) + len(place.context)
    parents += sum(layout.labels[column][1] for column in place.parent_labels)
    labels = cast(LabelModel, _build(part.labels, sizes, parents)) if sizes else None
    given = parents + sum(sizes)
    ordinals: IntegerFlow | None = None
    if place.ordinals:
        units = [(layout.ordinals[column].mean, layout.ordinals[column].scale) for column in place.ordinals]
        ordinals = cast(IntegerFlow, _build(part.ordinals, units, given))
    given += len(place.ordinals)
    if not place.numbers:
        return Factor(labels, ordinals, None)
    columns = [layout.numbers[column] for column in place.numbers]
    if part.transforms is None:
        raise ConfigError([f"flow.factors: the factor of {', '.join(map(repr, columns))} needs transforms"])
    base = cast(Base, _build(part.base, len(columns), given))
    return Factor(labels, ordinals, Flow(base, _build_chain(part, columns, given)))


_ENTRIES = {entry.name: entry for entry in (*BASES, *LABEL_MODELS, *ORDINAL_MODELS)}


def _build(choice: Choice, features: Any, context_features: int) -> Any:
    """A base distribution, or a model of labels or ordinals."""
    entry = _ENTRIES[choice.name]
    if entry.part == "base" and entry.takes_context and not context_features:
        raise ConfigError([f"base {entry.name} needs context columns or labels to depend on, and there are none"])
    module, _, builder = entry.builder.partition(":")
    return getattr(import_module(module), builder)(features, context_features, **choice.parameters.model_dump())


def _build_chain(config: Part | ChainConfig, columns: list[str], context_features: int) -> Chain:
    parts: list[Bijection] = []
    for _ in range(config.repeat):
        for transform in config.transforms or []:
            if isinstance(transform.parameters, ChainConfig):
                parts.append(_build_chain(transform.parameters, columns, context_features))
                continue
            parameters = transform.parameters.model_dump()
            if isinstance(parameters.get("split"), list):
                parameters["split"] = _split_positions(transform.name, parameters["split"], columns)
            parts.append(registry.build(transform.name, len(columns), context_features, parameters))
    return Chain(parts)


def _split_positions(name: str, kept: list[str], columns: list[str]) -> list[int]:
    """Positions from 0 of the columns that a coupling keeps."""
    unknown = [column for column in kept if column not in columns]
    if unknown:
        raise ConfigError([f"{name}.split: no column {unknown[0]!r} to transform; there are {', '.join(columns)}"])
    if len(kept) == len(columns):
        raise ConfigError([f"{name}.split: keeps every column, and none is left to transform"])
    return [columns.index(column) for column in kept]
