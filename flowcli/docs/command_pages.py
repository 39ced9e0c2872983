"""What the page of commands says, from the command line's own definitions."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, get_args

from typer.models import ArgumentInfo, OptionInfo

from flowcli.cli.app import EPILOG, app
from flowcli.docs.markdown import block, code, inline, table

COMMON = ("quiet", "verbose", "debug")
_TYPES = {int: "INTEGER", float: "NUMBER", str: "TEXT"}


@dataclass(frozen=True)
class Command:
    """A command: its name behind ``flowcli``, and the function that it is."""

    name: str
    function: Callable[..., None]

    @property
    def help(self) -> str:
        """What it says of itself, but for the example."""
        return self._parts[0].strip()

    @property
    def example(self) -> str:
        """A command line."""
        return self._parts[2].strip()

    @property
    def _parts(self) -> tuple[str, str, str]:
        return inspect.cleandoc(self.function.__doc__ or "").partition("Example: ")

    @property
    def parameters(self) -> Iterator[inspect.Parameter]:
        """Its arguments and options, those that every command has left out."""
        return (each for each in inspect.signature(self.function).parameters.values() if each.name not in COMMON)


def all_commands() -> list[Command]:
    """The commands in the order of ``flowcli --help``."""
    found = [(each.name, each.callback) for each in app.registered_commands]
    for group in app.registered_groups:
        inner = group.typer_instance
        found += [(f"{group.name} {each.name}", each.callback) for each in (inner.registered_commands if inner else [])]
    return [Command(name, function) for name, function in found if name and function]


def commands() -> str:
    """The generated part of the page."""
    known = all_commands()
    overview = table(
        ("command", "what it does"),
        [(f"[`{each.name}`](#flowcli-{each.name.replace(' ', '-')})", each.help.splitlines()[0]) for each in known],
    )
    statuses = re.findall(r"(\d+) (.+?)(?=, \d|\.$)", EPILOG)
    sections = [
        overview,
        "## Exit status",
        table(("status", "meaning"), statuses),
        "## What every command takes",
        table(
            _HEADER,
            [_row(each) for each in inspect.signature(known[0].function).parameters.values() if each.name in COMMON],
        ),
    ]
    return "\n\n".join([*sections, *(_section(each) for each in known)])


_HEADER = ("option", "what it does", "default")


def _section(command: Command) -> str:
    rows = [_row(each) for each in command.parameters]
    parts = [f"## flowcli {command.name}", command.help]
    parts += [block("console", f"$ {command.example}")]
    parts += [table(_HEADER, rows)] if rows else []
    return "\n\n".join(parts)


def _row(parameter: inspect.Parameter) -> tuple[str, str, str]:
    kind, info = get_args(parameter.annotation)[:2]
    said = info.help or ""
    default = "" if parameter.default in (None, False, inspect.Parameter.empty) else _value(parameter.default)
    if isinstance(info, ArgumentInfo):
        return code(info.metavar or f"[{parameter.name.upper()}]"), said, default
    assert isinstance(info, OptionInfo)
    # In an annotation, Typer holds the first name in the place of the default.
    names = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]
    names = names or [f"--{parameter.name.replace('_', '-')}"]
    value = "" if kind is bool else f" {info.metavar or _kind(kind)}"
    shown = ", ".join(map(code, [*names[:-1], f"{names[-1]}{value}"]))
    return shown, said, "required" if parameter.default is inspect.Parameter.empty else default


def _kind(kind: Any) -> str:
    """What an option's value is, from its type."""
    for each in (kind, *get_args(kind)):
        if isinstance(each, type) and issubclass(each, Enum):
            return "|".join(str(member.value) for member in each)
        if each in _TYPES:
            return _TYPES[each]
    return "TEXT"


def _value(default: Any) -> str:
    return code(str(default.value) if isinstance(default, Enum) else inline(default).strip("'"))
