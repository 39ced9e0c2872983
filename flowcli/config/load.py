"""From a file or a preset, and ``key=value`` overrides, to a checked :class:`Config`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from flowcli.config.keys import TUNE, path_of, set_key
from flowcli.config.presets import preset_names, preset_path
from flowcli.config.schema import Choice, Config
from flowcli.config.space import sample_settings, why_not_searched, with_values
from flowcli.config.yaml_source import LARGEST_TEXT, Source, parse_scalar, parse_yaml
from flowcli.errors import ConfigError, UsageError

LONGEST_QUOTE = 200


def load_config(
    config: str | Path | Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    options: Mapping[str, tuple[str, Any]] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Config:
    """Read a config, apply ``key=value`` overrides, then options, and check all of it.

    Args:
        config: a file, a preset's name, or what a file would hold.
        options: dotted key and value by the name under which a message is to speak of it, as
            ``{"--seed": ("seed", 3)}``.
        defaults: values of dotted keys that the config does not have.

    Raises:
        ConfigError: with one line for each mistake, ``file:line:column: what is wrong``.
        UsageError: there is no such file or preset.
    """
    source = _source(config)
    if not isinstance(source.value, dict):
        raise ConfigError([f"{source.where(())}: a config is a mapping with the keys {_listed(Config.model_fields)}"])
    for key, value in (defaults or {}).items():
        if not _says(source.value, key):
            set_key(source.value, key, value, key)
    labels: dict[tuple[str | int, ...], str] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise UsageError(f"--set takes KEY=VALUE, like train.learning_rate=3e-4; got '{override}'")
        label = f"--set {key}"
        labels[set_key(source.value, key, parse_yaml(text, label).value if text else None, label)] = label
    for label, (key, value) in (options or {}).items():
        labels[set_key(source.value, key, _plain(value), label)] = label
    try:
        checked = Config.model_validate(source.value)
    except ValidationError as error:
        raise ConfigError(list(_problems(error, source, labels))) from None
    wrong = list(_search_problems(checked, source, labels))
    if wrong:
        raise ConfigError(wrong)
    for key, path, file in ((key, ("data", key), getattr(checked.data, key)) for key in ("validation", "test")):
        if isinstance(file, str) and not is_plain_file(file):
            place = next((label for set_path, label in labels.items() if set_path == path), source.where(path))
            raise ConfigError([f"{place}: 'data.{key}': {file} is not a regular file"])
    return checked


def _source(config: str | Path | Mapping[str, Any] | None) -> Source:
    if config is None or isinstance(config, Mapping):
        return Source("config", _plain(config or {}))
    if not isinstance(config, (str, Path)):
        raise UsageError(f"a config is a file, a preset's name or a mapping; got {type(config).__name__}")
    return read_source(str(config))


def _plain(value: Any) -> Any:
    """What a program gives as a file would have it: lists for tuples and arrays, names for paths."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _says(value: Any, key: str) -> bool:
    """Whether a config has a dotted key, or something in its place that cannot have it."""
    for part in key.split("."):
        if not isinstance(value, dict):
            return value is not None
        if part not in value:
            return False
        value = value[part]
    return True


def is_plain_file(name: str) -> bool:
    """Whether this can be read to its end: devices, pipes and what the kernel shows under /proc may have none.

    What is not there can be told later.
    """
    try:
        path = Path(name).resolve()
        return not path.is_relative_to("/proc") and (path.is_file() or not path.exists())
    except (OSError, ValueError, RuntimeError):
        return False


def read_source(file_or_preset: str) -> Source:
    """Read the YAML of a file, or of a preset when it is a preset's name.

    Raises:
        UsageError: there is no such file or preset, or it is not text.
    """
    path = Path(file_or_preset)
    if not path.is_file() and not path.is_fifo() and file_or_preset in preset_names():
        path = preset_path(file_or_preset)
    try:
        with path.open("rb") as file:
            # Whatever it is, a device say: no more than a little beyond what is read.
            content = file.read(4 * LARGEST_TEXT + 1)
        return parse_yaml(content.decode(), str(path))
    except FileNotFoundError:
        names = preset_names()
        raise UsageError(
            f"no config file or preset '{file_or_preset}'.{_did_you_mean(file_or_preset, names)}"
        ) from None
    except (OSError, ValueError) as error:
        # A name with a NUL in it is a ValueError, too.
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"{path}: cannot be read: {reason}") from None


def dump_config(config: Config) -> str:
    """The config as YAML; reading it back gives the same config."""
    return yaml.dump(config.model_dump(), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Block style, with lists of plain values on one line, and quotes by the rules of :func:`parse_yaml`."""

    def represent_scalar(self, tag: str, value: Any, style: str | None = None) -> yaml.ScalarNode:
        if tag.endswith(":str") and not isinstance(parse_scalar(value), str):
            style = "'"
        return super().represent_scalar(tag, value, style)

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        plain = not any(isinstance(item, (dict, list)) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=plain)


def _search_problems(config: Config, source: Source, labels: Mapping[tuple[str | int, ...], str]) -> Iterable[str]:
    """One line for each key of the section ``tune`` with a value that the key cannot have."""
    for key in config.tune:
        path = (TUNE, key)
        place = next((label for set_path, label in labels.items() if path[: len(set_path)] == set_path), None)
        reason = why_not_searched(config, key) or _refused(config, key)
        if reason:
            yield f"{place or source.where(path)}: '{TUNE}.{key}': {reason}"


def _refused(config: Config, key: str) -> str:
    """Why one of the values of a searched key is no good, or nothing."""
    tried = config.tune[key]
    for value in tried.values() if tried else []:
        try:
            Config.model_validate(with_values(config, sample_settings(config, key, value)))
        except ValidationError as error:
            detail = error.errors()[0]
            path = _user_path(detail["loc"], {}) or tuple(path_of(key))
            return f"{_shown(value)} is none of its values: {_message(detail, path, '.'.join(map(str, path)))}"
        except UsageError as error:
            return str(error)
    return ""


def _problems(error: ValidationError, source: Source, labels: Mapping[tuple[str | int, ...], str]) -> Iterable[str]:
    """One line for each mistake, in the order of the text; ``labels`` name what did not come from it."""
    found: dict[tuple[int | str, ...], tuple[tuple[int, int], str]] = {}
    for detail in error.errors():
        if detail["type"] == "literal_error" and isinstance(detail["input"], list):
            continue  # one branch of "a word or a list"; the list's own branch says what is wrong with it
        path = _user_path(detail["loc"], source.value)
        place = next((label for set_path, label in labels.items() if path[: len(set_path)] == set_path), None)
        if place is None and path not in source.places:
            place = next((label for set_path, label in labels.items() if set_path[: len(path)] == path), None)
        message = _message(detail, path, ".".join(map(str, path)))
        found.setdefault(path, (source.position(path), f"{place or source.where(path)}: {message}"))
    return (line for _, line in sorted(found.values(), key=lambda item: item[0]))


def _user_path(location: tuple[int | str, ...], value: Any) -> tuple[int | str, ...]:
    """Pydantic's location without its own additions (the branches of a union)."""
    path: list[int | str] = []
    for step in location:
        inside = isinstance(value, dict) and step in value
        if inside or (isinstance(value, list) and isinstance(step, int) and step < len(value)):
            value = value[step]
            path.append(step)
        elif value == step or (isinstance(value, (dict, type(None))) and str(step).isidentifier()):
            path.append(step)
            value = None
    return tuple(path)


def _message(detail: ErrorDetails, path: tuple[str | int, ...], key: str) -> str:
    kind, given = detail["type"], detail["input"]
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        known = _keys_at(path[:-1])
        noun = _noun_at(path[:-1])
        what = f"key '{key}'" if noun is None else f"{noun} '{path[-1]}'"
        return f"unknown {what}.{_did_you_mean(str(path[-1]), known)}"
    if kind == "missing":
        return f"key '{key}' is missing"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"'{key}' is a section of keys; got {_shown(given)}"
    if kind == "value_error":
        return f"'{key}': {context['error']}"
    if kind == "literal_error":
        return f"'{key}' is one of {context['expected'].replace(' or ', ', ')}; got {_shown(given)}"
    expected = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "string_type": "a text",
        "list_type": "a list",
        "bool_type": "true or false",
        "greater_than_equal": f"at least {context.get('ge')}",
        "greater_than": f"above {context.get('gt')}",
        "less_than_equal": f"at most {context.get('le')}",
        "less_than": f"below {context.get('lt')}",
        "too_long": f"of at most {context.get('max_length')} items",
    }.get(kind, detail["msg"])
    return f"'{key}' must be {expected}; got {_shown(given)}"


def _shown(given: Any) -> str:
    """A value as a message quotes it."""
    text = repr(given)
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}..."


def _model_at(path: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The section's schema at a path, walking through optional fields and lists."""
    model: type[BaseModel] | None = Config
    for step in path:
        if isinstance(step, int) or model is None:
            continue
        field = model.model_fields.get(step)
        model = _model_in(field.annotation) if field else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(argument) for argument in getattr(annotation, "__args__", ()))
    return next((model for model in found if model), None)


def _noun_at(path: tuple[str | int, ...]) -> str | None:
    """What the keys at a path are names of, where they are names of a catalogue's entries."""
    model = _model_at(path)
    return model.noun if model is not None and issubclass(model, Choice) else None


def _keys_at(path: tuple[str | int, ...]) -> list[str]:
    model = _model_at(path)
    return list(model.model_fields) if model else []


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f" Did you mean '{close[0]}'?"
    return f" Known: {_listed(known)}." if known else ""


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
