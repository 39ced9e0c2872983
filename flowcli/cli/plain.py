"""The plainest command lines, which start without Typer: importing it takes longer than such a command does.

What is not exactly of the forms below is left to Typer, mistakes above all: the answer is the same, but for the time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any

# Of each command, whether it takes tables, and which options it must and may have.
_COMMANDS: dict[str, tuple[bool, set[str], set[str]]] = {
    "score": (True, set(), {"model"}),
    "encode": (True, set(), {"model"}),
    "decode": (True, set(), {"model"}),
    "sample": (False, {"n"}, {"n", "model", "seed"}),
}
_OPTIONS = {"-m": "model", "--model": "model", "-n": "n", "--n": "n", "--seed": "seed"}
# A text, or digits of a number that no limit is needed for.
_VALUES = {"model": re.compile(r"[^-].*", re.DOTALL), "n": re.compile("[0-9]{1,18}"), "seed": re.compile("[0-9]{1,18}")}


def read(words: Sequence[str]) -> tuple[str, dict[str, Any], bool] | None:
    """The command, its arguments and whether it is to be quiet; ``None`` where it is not one of the plainest."""
    name, *rest = words or [""]
    # Completion is Typer's; on Windows, Typer opens the patterns that no shell does.
    if name not in _COMMANDS or os.name == "nt" or any(key.startswith("_FLOWCLI") for key in os.environ):
        return None
    takes_tables, needed, known = _COMMANDS[name]
    given: dict[str, Any] = {}
    tables: list[str] = []
    quiet = False
    following = iter(rest)
    for word in following:
        option = _OPTIONS.get(word, "")
        value = next(following, "") if option else ""
        if word in ("-q", "--quiet"):
            quiet = True
        elif takes_tables and word and (word == "-" or not word.startswith("-")):
            tables.append(word)
        elif option in known and option not in given and _VALUES[option].fullmatch(value):
            given[option] = value if option == "model" else int(value)
        else:
            return None
    if not needed <= given.keys():
        return None
    return name, {**given, **({"data": tables or None} if takes_tables else {})}, quiet


def plain(words: Sequence[str]) -> bool:
    """Run a command line, if it is one of the plainest; whether it was."""
    found = read(words)
    if found is None:
        return False
    from flowcli.cli.output import settle_streams
    from flowcli.cli.running import run

    name, given, quiet = found
    settle_streams()
    run(getattr(import_module(f"flowcli.cli.{name}"), name), given, quiet, verbose=False, debug=False)
    return True
