"""What the words of a command line stand for. No Typer here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The options of a fit that are keys of its config.
_KEYS = {
    "--seed": "seed",
    "--max-time": "train.max_time",
    "--context": "data.context",
    "--drop": "data.drop",
    "--kind": "data.kinds",
    "--missing": "data.missing",
    "--validation": "data.validation",
    "--test": "data.test",
    "--encoding": "data.encoding",
    "--threads": "train.threads",
}


def sources(data: list[str] | None, urls: bool = False) -> list[str]:
    """The named sources, checked to be there before anything heavy is loaded; stdin when none is named.

    A folder stands for the tables in it, in the order of their names. ``urls``: there may be some among them.

    Raises:
        UsageError: a file is missing, or there is no table on stdin, or in a folder.
    """
    import sys
    from pathlib import Path

    from flowcli.errors import UsageError
    from flowcli.tables.remote import is_url

    names = [file for name in data or ["-"] for file in _tables_in(name, urls)]
    for name in names:
        if urls and is_url(name):
            continue
        if name == "-":
            if sys.stdin is None or sys.stdin.isatty():
                what = "closed" if sys.stdin is None else "a terminal"
                raise UsageError(f"no DATA given, and standard input is {what}: name a file, or pipe a table in")
        elif not Path(name).exists():
            raise UsageError(f"{name}: no such file")
    if names.count("-") > 1:
        raise UsageError("'-' (stdin) can be read only once")
    return names


def _tables_in(name: str, urls: bool) -> list[str]:
    """The files of a folder whose endings are those of tables; anything else is itself."""
    from pathlib import Path

    from flowcli.errors import FlowcliError, UsageError
    from flowcli.tables.formats import COMPRESSIONS, FORMATS, table_name
    from flowcli.tables.remote import is_url, tables_at

    folder = Path(name)
    if urls and is_url(name):
        files = tables_at(name)
    elif name == "-" or not folder.is_dir():
        return [name]
    else:
        try:
            # Spark's and other programs' own files begin like this.
            found = sorted(f for f in folder.iterdir() if f.name[0] not in "._" and table_name(f.name) and f.is_file())
        except OSError as error:
            raise FlowcliError(f"{name}: cannot be read: {error.strerror}") from None
        files = list(map(str, found))
    if not files:
        endings = f"{', '.join(FORMATS)}, and these with {', '.join(COMPRESSIONS)}"
        raise UsageError(f"{name}: is a folder without tables ({endings})")
    return files


def names(text: str | None) -> list[str]:
    """Column names separated by commas; a name with a comma in it is quoted, as in CSV."""
    import csv

    return next(csv.reader([text], skipinitialspace=True)) if text else []


def config_options(given: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Options, by their name, as dotted keys and values for :func:`flowcli.config.load.load_config`.

    Raises:
        UsageError: one is not of its form, or names a file that is not there.
    """
    from pathlib import Path

    from flowcli.errors import UsageError

    options: dict[str, tuple[str, Any]] = {}
    for name, value in given.items():
        if name in ("--context", "--drop"):
            value = names(value)
        elif name == "--kind":
            value = _kinds(value or [])
        elif name in ("--validation", "--test") and value is not None and not Path(value).exists():
            raise UsageError(f"{value}: no such file")
        if value not in (None, [], {}):
            options[name] = (_KEYS[name], value)
    return options


def _kinds(pairs: list[str]) -> dict[str, str]:
    """``COLUMN=KIND`` options as a mapping."""
    from flowcli.errors import UsageError

    kinds: dict[str, str] = {}
    for pair in pairs:
        name, equals, kind = pair.rpartition("=")
        if not equals or not name or not kind:
            raise UsageError(f"--kind takes COLUMN=KIND; got '{pair}'")
        kinds[name] = kind
    return kinds
