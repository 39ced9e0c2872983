"""What the words of a command line stand for. No Typer here."""

from __future__ import annotations


def sources(data: list[str] | None) -> list[str]:
    """The named sources, checked to be there before anything heavy is loaded; stdin when none is named.

    Raises:
        UsageError: a file is missing, or there is no table on stdin.
    """
    import sys
    from pathlib import Path

    from flowcli.errors import UsageError

    names = data or ["-"]
    for name in names:
        if name == "-":
            if sys.stdin is None or sys.stdin.isatty():
                what = "closed" if sys.stdin is None else "a terminal"
                raise UsageError(f"no DATA given, and standard input is {what}: name a file, or pipe a table in")
        elif not Path(name).exists():
            raise UsageError(f"{name}: no such file")
        elif Path(name).is_dir():
            raise UsageError(f"{name}: is a folder, not a table")
    if names.count("-") > 1:
        raise UsageError("'-' (stdin) can be read only once")
    return names


def names(text: str | None) -> list[str]:
    """Column names separated by commas; a name with a comma in it is quoted, as in CSV."""
    import csv

    return next(csv.reader([text], skipinitialspace=True)) if text else []
