"""What a search tries: the keys, their ranges, and the config that a choice of them makes. No torch here.

A key is a dotted key of a config, or one of the words that :data:`WORDS` explains, of which the list of transforms
is made: ``transform``, ``linear`` and a random order of the columns, as in the flow that is chosen without a config.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowcli.config.distributions import BASES
from flowcli.config.keys import TUNE, set_key
from flowcli.config.schema import MOST_HIDDEN, Config, Tried, label
from flowcli.errors import ConfigError, UsageError
from flowcli.transforms.registry import entries, min_features

WORDS = {
    "transform": "the flexible layer, by its name in 'flowcli transforms', alone or with parameters",
    "linear": "the map between the layers, by its name, or none",
    "width": "units of each hidden layer of the layers' networks",
    "depth": "number of hidden layers",
    "bins": "bins of a spline",
    "dropout": "dropout of the layers' networks",
    "components": "components of a gaussian_mixture base",
}
NO_MAP = "none"
# Of each word the parameter of a transform that it sets.
_PARAMETERS = {"width": "hidden", "depth": "hidden", "bins": "bins", "dropout": "dropout"}
_REPEAT, _BASE, _MIXTURE = "flow.repeat", "flow.base", "gaussian_mixture"


def _between(low: float, high: float, log: bool = False) -> Tried:
    return Tried(low=low, high=high, log=log)


def _among(*choices: Any) -> Tried:
    return Tried(choices=list(choices))


DEFAULT: dict[str, Tried] = {
    "transform": _among("spline_autoregressive", "spline_coupling", "affine_autoregressive", "affine_coupling"),
    "linear": _among("triangular_affine", "lu_linear", NO_MAP),
    _REPEAT: _between(1, 8),
    "width": _between(16, 256, log=True),
    "depth": _between(1, 3),
    "bins": _between(4, 32, log=True),
    "dropout": _between(0.0, 0.5),
    _BASE: _among("normal", "student_t", _MIXTURE),
    "components": _between(2, 32, log=True),
    "train.learning_rate": _between(1e-4, 3e-2, log=True),
    "train.batch_size": _between(16, 1024, log=True),
    "train.weight_decay": _between(1e-5, 1.0, log=True),
    "train.noise": _between(1e-4, 0.3, log=True),
}

# Trials are compared by the likelihood of the same rows, and each of them has its time.
_NOT_SEARCHED = {
    "data": "every trial has the same rows and columns",
    "seed": "the seed decides which rows are held out, and these are the same in every trial",
    "train.max_time": "a trial's time is not searched",
    "train.threads": "threads are not searched",
    TUNE: "it is what is searched",
}


def search_space(config: Config, settings: Sequence[str] = ()) -> dict[str, Tried]:
    """What is searched for this config: the default keys that it leaves open, and those of its section ``tune``.

    Args:
        settings: dotted keys that were set on the command line, which are not searched.
    """
    space = {key: tried for key, tried in DEFAULT.items() if key not in _set_in(config)}
    space |= {key: tried for key, tried in config.tune.items() if tried is not None}
    for key in [*(key for key, tried in config.tune.items() if tried is None), *settings]:
        space = {name: tried for name, tried in space.items() if not f"{name}.".startswith(f"{key}.")}
    return _of_use(space, config)


def narrowed(space: Mapping[str, Tried], config: Config, features: int, skipping: bool) -> dict[str, Tried]:
    """The part of a space that suits a table.

    Args:
        features: how many number columns there are.
        skipping: whether some of their cells are missing or spikes, which not every transform can leave out.

    Raises:
        ConfigError: nothing is left of a key.
    """
    bases = {entry.name: entry for entry in BASES}
    fits: dict[str, Callable[[Any], bool]] = {
        "transform": lambda name: (
            min_features(_name(name), {}) <= features and (entries()[_name(name)].skips_absent or not skipping)
        ),
        "linear": lambda name: name == NO_MAP or entries()[_name(name)].skips_absent or not skipping,
        _BASE: lambda base: not skipping or bases[_name(base)].skips_absent,
    }
    found = {key: tried for key, tried in space.items() if features or not (key in WORDS or key.startswith("flow."))}
    for key in [key for key in fits if key in found]:
        left = [value for value in found[key].values() if fits[key](value)]
        if not left:
            why = "missing cells or spikes" if skipping else f"{features} number columns"
            raise ConfigError([f"'{TUNE}.{key}': nothing that is searched can do with {why}"])
        found[key] = _among(*left)
    return _of_use(found, config)


def _name(choice: Any) -> str:
    """The name of an entry that stands alone or with its parameters."""
    return str(next(iter(choice), None)) if isinstance(choice, dict) else str(choice)


def _set_in(config: Config) -> set[str]:
    """The keys of the default space that a config sets."""
    found = {f"train.{key}" for key in config.train.model_fields_set}
    if config.flow is not None:
        found |= {f"flow.{key}" for key in config.flow.model_fields_set}
    return found | ({*WORDS, _REPEAT, _BASE} if _has_flow(config) else set())


def _has_flow(config: Config) -> bool:
    """Whether the transforms are given, or searched as a whole: no others are then made of words."""
    if config.tune.get("flow") or config.tune.get("flow.transforms"):
        return True
    return config.flow is not None and (config.flow.transforms is not None or config.flow.factors is not None)


def _of_use(space: dict[str, Tried], config: Config) -> dict[str, Tried]:
    """Without the keys that no choice of the others has a use for."""
    layers = [_name(name) for name in space["transform"].values()] if "transform" in space else []
    bases = [_name(base) for base in space[_BASE].values()] if _BASE in space else []

    def useful(key: str) -> bool:
        if key in _PARAMETERS:
            return any(_takes(name, key) for name in layers)
        if key == "components":
            return _MIXTURE in bases
        return bool(layers) or _has_flow(config) or key not in ("linear", _REPEAT)

    return {key: tried for key, tried in space.items() if useful(key)}


def _takes(transform: str, word: str) -> bool:
    entry = entries().get(transform)
    return entry is not None and any(parameter.name == _PARAMETERS[word] for parameter in entry.parameters)


def chosen(space: Mapping[str, Tried], choose: Callable[[str, Tried], Any]) -> dict[str, Any]:
    """Choose a value for each key that those before it have a use for."""
    values: dict[str, Any] = {}
    # Words first, as DEFAULT has them: on the layer and the base depends what else there is.
    for key in [*(key for key in DEFAULT if key in space), *(key for key in space if key not in DEFAULT)]:
        if key in _PARAMETERS and not _takes(_name(values.get("transform")), key):
            continue
        if key == "components" and values.get(_BASE) != _MIXTURE:
            continue
        values[key] = choose(key, space[key])
    return values


def with_values(config: Config, values: Mapping[str, Any], features: int = 2) -> dict[str, Any]:
    """The config with these values of a space's keys, as YAML would have it; it is yet to be validated.

    Raises:
        UsageError: a dotted key leads nowhere.
    """
    raw = config.model_dump(exclude={TUNE})
    for key, value in values.items():
        if key not in WORDS:
            set_key(raw, key, value, key)
    if "transform" in values:
        set_key(raw, "flow.transforms", _layers(values, features), "flow")
    if values.get(_BASE) == _MIXTURE and "components" in values:
        set_key(raw, _BASE, {_MIXTURE: {"components": values["components"]}}, "flow")
    return raw


def _layers(values: Mapping[str, Any], features: int) -> list[Any]:
    """A layer, the map and a random order of the columns, which a single one has no use for."""
    name = _name(values["transform"])
    parameters: dict[str, Any] = {}
    if "width" in values or "depth" in values:
        # Of the two, that which is not searched is as it is by default.
        default = next(p.default for p in entries()[name].parameters if p.name == "hidden")
        depth = values.get("depth", len(default))
        if type(depth) is not int or not 1 <= depth <= MOST_HIDDEN:
            raise UsageError(f"a depth is a whole number from 1 to {MOST_HIDDEN}; got {label(depth)}")
        parameters["hidden"] = [values.get("width", default[0])] * depth
    parameters |= {word: values[word] for word in ("bins", "dropout") if word in values}
    given = values["transform"] if isinstance(values["transform"], dict) else {name: None}
    own = given.get(name)
    if isinstance(own, dict):
        parameters |= own
    steps: list[Any] = [{**given, name: parameters} if given else given]
    if values.get("linear", NO_MAP) != NO_MAP:
        steps.append(values["linear"])
    if features > 1:
        steps.append({"permute": {"order": "random"}})
    return steps


def why_not_searched(config: Config, key: str) -> str:
    """Why a key of ``tune`` cannot be searched, or nothing."""
    for name, reason in _NOT_SEARCHED.items():
        if f"{key}.".startswith(f"{name}."):
            return reason
    if key == "train":
        return "search its keys, like train.learning_rate"
    if key in WORDS and _has_flow(config):
        return "flow.transforms are given: search one of their keys, like flow.transforms.0.spline_coupling.bins"
    if config.tune[key] is None and key not in DEFAULT:
        return f"null leaves out a key that is searched by default: {', '.join(DEFAULT)}"
    return ""


def sample_settings(config: Config, key: str, value: Any) -> dict[str, Any]:
    """Values that show, validated, whether a key can have this one: with a word comes a layer that has a use for it."""
    if key == "components":
        return {_BASE: _MIXTURE, key: value}
    if _has_flow(config) or (key not in WORDS and key != _REPEAT):
        return {key: value}
    layers = (config.tune.get("transform") or DEFAULT["transform"]).values()
    suited = [name for name in layers if key not in _PARAMETERS or _takes(_name(name), key)]
    return {"transform": (suited or ["spline_autoregressive"])[0], key: value}
