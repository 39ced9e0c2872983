"""YAML text to plain values, with the place of every key: YAML 1.2 scalars, no tags, no duplicate keys."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from flowcli.errors import ConfigError

Path = tuple[str | int, ...]

LARGEST_TEXT = 1_000_000
# Keys and values; the parser takes a hundred microseconds for each.
MOST_NODES = 30_000
DEEPEST_NESTING = 50
LONGEST_INTEGER = 1000

# YAML 1.2's core schema, in which 1e-3 is a number and "yes" is a word (PyYAML follows YAML 1.1).
_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass
class Source:
    """A parsed text: its value, and the line and column (from 1) where the key or item at a path begins."""

    name: str
    value: Any = None
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def position(self, path: Path) -> tuple[int, int]:
        """Line and column of the deepest part of the path that the text has."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (1, 1))

    def where(self, path: Path) -> str:
        """The position as ``file:line:column``; the name alone, where there is no text."""
        if not self.places:
            return self.name
        line, column = self.position(path)
        return f"{self.name}:{line}:{column}"


def parse_scalar(text: str) -> Any:
    """The value of a plain scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text) and len(text) <= LONGEST_INTEGER:
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    return text


def parse_yaml(text: str, name: str) -> Source:
    """Read one YAML document.

    Raises:
        ConfigError: the text is not YAML, holds a tag, an alias or a key twice, or is too large or too
            deep; the message begins with ``name:line:column``.
    """
    if len(text) > LARGEST_TEXT:
        raise ConfigError([f"{name}: larger than {LARGEST_TEXT:,} characters"])
    source = Source(name)
    try:
        node = yaml.compose(text, Loader=_loader(name))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigError([f"{place}: not YAML: {error.problem}"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"{name}: not YAML: {str(error).splitlines()[0]}"]) from None
    source.value = {} if node is None else _construct(node, (), source)
    if source.problems:
        raise ConfigError(source.problems)
    return source


def _loader(name: str) -> type[yaml.SafeLoader]:
    """A loader that refuses aliases (a few can stand for gigabytes), tags, deep nesting and very many nodes."""

    class Loader(yaml.SafeLoader):
        nodes = depth = 0

        def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            place = f"{name}:{event.start_mark.line + 1}:{event.start_mark.column + 1}"
            self.nodes += 1
            if self.nodes > MOST_NODES:
                raise ConfigError([f"{place}: more than {MOST_NODES:,} keys and values"])
            if isinstance(event, yaml.AliasEvent):
                raise ConfigError([f"{place}: aliases (*) are not read in a config"])
            if event.tag is not None:
                raise ConfigError([f"{place}: tags ({event.tag}) are not read in a config"])
            self.depth += 1
            if self.depth > DEEPEST_NESTING:
                raise ConfigError([f"{place}: nested deeper than {DEEPEST_NESTING}"])
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    return Loader


def _construct(node: yaml.Node, path: Path, source: Source) -> Any:
    position = (node.start_mark.line + 1, node.start_mark.column + 1)
    source.places.setdefault(path, position)
    if isinstance(node, yaml.ScalarNode):
        return parse_scalar(node.value) if node.style is None else node.value
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*path, index), source) for index, item in enumerate(node.value)]
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key_place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        where = f"{source.name}:{key_place[0]}:{key_place[1]}"
        if not isinstance(key_node, yaml.ScalarNode):
            source.problems.append(f"{where}: a key must be a word")
            continue
        key = key_node.value
        if key in mapping:
            source.problems.append(f"{where}: key '{'.'.join(map(str, (*path, key)))}' is there twice")
            continue
        source.places[(*path, key)] = key_place
        mapping[key] = _construct(value_node, (*path, key), source)
    return mapping
