"""What the shell offers on TAB: at once, from the heads of files; nothing where nothing is known.

A completer gets the command line so far as Typer read it, and the word that is being typed; it offers whole words.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import typer

Completer = Callable[[typer.Context, str], list[str]]

# A column with more labels is not one to choose from.
MOST_VALUES = 200


def completer(offers: Callable[[typer.Context, str], Iterable[str]]) -> Completer:
    """What is offered and begins as the word does. Nothing goes wrong: a TAB is no place for errors."""

    def offered(context: typer.Context, incomplete: str) -> list[str]:
        try:
            return [
                offer for offer in offers(context, incomplete) if offer.startswith(incomplete) and offer.isprintable()
            ]
        except Exception:
            return []

    return offered


def words(*known: str) -> Completer:
    """One of these."""
    return completer(lambda context, incomplete: known)


@completer
def runs(context: typer.Context, incomplete: str) -> Iterable[str]:
    """Finished runs, the newest first."""
    from flowcli.runs import METRICS, RUNS, is_complete

    finished = [folder for folder in RUNS.iterdir() if is_complete(folder)]
    return map(str, sorted(finished, key=lambda folder: -(folder / METRICS).stat().st_mtime_ns))


@completer
def unfinished_runs(context: typer.Context, incomplete: str) -> Iterable[str]:
    """Runs that ``fit --resume`` can go on with."""
    from flowcli.runs import CHECKPOINT, RUNS, is_complete

    return [
        str(folder) for folder in sorted(RUNS.iterdir()) if (folder / CHECKPOINT).is_file() and not is_complete(folder)
    ]


@completer
def configs(context: typer.Context, incomplete: str) -> Iterable[str]:
    """Presets, and the YAML files of the folder that is being typed."""
    from flowcli.config.presets import preset_names

    folder = os.path.dirname(incomplete)  # noqa: PTH120 (Path would lose a ./ at the head)
    files = sorted(path.name for path in Path(folder or ".").iterdir() if path.suffix in (".yaml", ".yml"))
    return [*preset_names(), *(os.path.join(folder, name) for name in files)]  # noqa: PTH118


@completer
def settings(context: typer.Context, incomplete: str) -> Iterable[str]:
    """Keys of the config; values of those that have few."""
    from flowcli.config.schema import setting_keys, setting_values

    return _pairs(setting_keys(), setting_values, incomplete)


@completer
def transforms(context: typer.Context, incomplete: str) -> Iterable[str]:
    """All that ``flowcli transforms`` explains."""
    from flowcli.cli.transforms import explainable

    return explainable()


@completer
def columns(context: typer.Context, incomplete: str) -> Iterable[str]:
    """Columns of DATA, the last of some with commas between them."""
    before, comma, _ = incomplete.rpartition(",")
    taken = before.split(",")
    # A name with a comma in it would have to be quoted.
    return [f"{before}{comma}{name}" for name in _columns_of_data(context) if name not in taken and "," not in name]


@completer
def kinds(context: typer.Context, incomplete: str) -> Iterable[str]:
    """COLUMN=KIND, of the columns of DATA."""
    from flowcli.config.schema import COLUMN_KINDS

    return _pairs(_columns_of_data(context), lambda name: COLUMN_KINDS, incomplete)


@completer
def given(context: typer.Context, incomplete: str) -> Iterable[str]:
    """COLUMN=VALUE, of the model's columns and their labels."""
    from flowcli.model_file import read_header
    from flowcli.runs import resolve_model

    found = {column.name: column for column in read_header(resolve_model(context.params.get("model"))).columns}
    names = [name for name, column in found.items() if column.kind not in ("constant", "identifier")]
    return _pairs(names, lambda name: found[name].categories[:MOST_VALUES], incomplete)


def _pairs(names: Sequence[str], values: Callable[[str], Sequence[str]], incomplete: str) -> list[str]:
    """NAME=VALUE; values as soon as one name is left."""
    name, equals, _ = incomplete.partition("=")
    left = [name] if equals else [known for known in names if known.startswith(name)]
    if len(left) == 1 and (choices := values(left[0])):
        return [f"{left[0]}={choice}" for choice in choices]
    return [] if equals else [f"{known}=" for known in left]


def _columns_of_data(context: typer.Context) -> list[str]:
    from flowcli.tables.read import read_chunks

    # Where the option that is completed has no value yet, Typer leaves the arguments aside.
    files = context.params.get("data") or context.args
    # A pipe has its rows only once.
    file = next(file for file in files if Path(file).is_file())
    return next(read_chunks(file, context.params.get("encoding") or "utf-8")).names


def complete_in_bash(complete: Callable[[], None]) -> None:
    """Answer bash, which takes ``species=se`` for three words and completes the last, and which nobody else quotes for.

    Args:
        complete: reads the words from the environment, and prints what it offers.
    """
    typed = _split(os.environ.get("COMP_WORDS", ""))
    cursor = int(os.environ.get("COMP_CWORD", "0"))
    typed = [*typed, ""][: cursor + 1]
    joined: list[str] = []
    for before, word in zip(["", *typed], typed, strict=False):
        if joined and "=" in (before, word):
            joined[-1] += word
        else:
            joined.append(word)
    os.environ.update(COMP_WORDS=shlex.join(joined), COMP_CWORD=str(len(joined) - 1))
    there = "".join(joined[-1].rpartition("=")[:2]) if len(joined) < len(typed) else ""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            complete()
    finally:
        for line in printed.getvalue().splitlines():
            print(re.sub(r"([^\w@%+=:,./-])", r"\\\1", line.removeprefix(there)))


def _split(text: str) -> list[str]:
    """The words of a command line whose last quote may be open."""
    for end in ("", "'", '"', "\\"):
        with contextlib.suppress(ValueError):
            return shlex.split(text + end)
    return text.split()
