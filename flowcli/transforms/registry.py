"""Looking transforms up by name, and building them. Torch is imported by the builders alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from flowcli.errors import ConfigError, FlowcliError
from flowcli.transforms.catalogue import ENTRIES, Cost, Entry

if TYPE_CHECKING:
    from flowcli.transforms.bijection import Bijection
    from flowcli.transforms.transformer import Transformer

ENTRY_POINT_GROUP = "flowcli.transforms"


@cache
def entries() -> Mapping[str, Entry]:
    """All entries by name, in alphabetical order: flowcli's own, then those of installed packages.

    A package adds entries by pointing names of the entry-point group ``flowcli.transforms`` at
    :class:`Entry` objects, in a module that does not import torch.

    Raises:
        FlowcliError: an entry point cannot be loaded, does not hold an entry, or takes a name that is in use.
    """
    # Here, not above: it imports half of the standard library, and help does not need it.
    from importlib.metadata import entry_points

    found = {entry.name: entry for entry in ENTRIES}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            entry = point.load()
        except Exception as error:
            raise FlowcliError(f"entry point {point.value} of {ENTRY_POINT_GROUP} cannot be loaded: {error}") from error
        if not isinstance(entry, Entry):
            raise FlowcliError(f"entry point {point.value} of {ENTRY_POINT_GROUP} is not a transform's Entry")
        if entry.name in found:
            raise FlowcliError(f"entry point {point.value} of {ENTRY_POINT_GROUP}: '{entry.name}' is taken")
        found[entry.name] = entry
    return dict(sorted(found.items()))


def costs(name: str, parameters: Mapping[str, Any]) -> tuple[Cost, Cost]:
    """The cost of scoring and of sampling with a transform and these parameters."""
    entry = entries()[name]
    scoring, sampling = entry.scoring_cost, entry.sampling_cost
    if parameters.get("direction") == "sampling":
        scoring, sampling = sampling, scoring
    inner = parameters.get("transformer")
    if not isinstance(inner, Mapping):
        return scoring, sampling
    (transformer, its_parameters), *_ = inner.items()
    inner_scoring, inner_sampling = costs(transformer, its_parameters)
    return _nested(scoring, inner_scoring), _nested(sampling, inner_sampling)


def _nested(layer: Cost, transformer: Cost) -> Cost:
    """The cost of a conditioner's layer whose transformer has a cost of its own."""
    if layer == "d passes":
        return "d passes" if transformer == "1 pass" else "d root findings"
    return transformer


def min_features(name: str, parameters: Mapping[str, Any]) -> int:
    """The smallest number of columns for which a transform with these parameters is more than a normal's map."""
    inner = parameters.get("transformer")
    lone_is_normal = isinstance(inner, Mapping) and any(entries()[choice].affine for choice in inner)
    return max(entries()[name].min_features, 2 if lone_is_normal else 1)


def build_transformer(choice: Mapping[str, Mapping[str, Any]]) -> Transformer:
    """The transformer of an elementwise entry, from ``{name: parameters}``."""
    (name, parameters), *_ = choice.items()
    return cast("Transformer", _imported(entries()[name].transformer)(**parameters))


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def build(name: str, features: int, context_features: int, parameters: Mapping[str, Any]) -> Bijection:
    """Build one transform for ``features`` columns.

    ``context_features`` is passed on as 0 to a transform that takes no context.

    Raises:
        ConfigError: the transform needs more columns than there are.
    """
    entry = entries()[name]
    needed = min_features(name, parameters)
    if features < needed:
        advice = "use 'spline' or 'spline_autoregressive'" if entry.takes_context else "leave it out"
        raise ConfigError([f"{name} needs at least {needed} number columns, and there is {features}; {advice}"])
    construct = _imported(entry.builder)
    built = cast("Bijection", construct(features, context_features if entry.takes_context else 0, **parameters))
    built.registered_name = name
    return built
