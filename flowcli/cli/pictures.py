"""What the commands that draw share: their libraries, the rows that they show, and where a file goes without ``-o``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flowcli.errors import FlowcliError

if TYPE_CHECKING:
    from flowcli.model_file import ModelHeader
    from flowcli.plotting import Data


def require_libraries(command: str, extra: str, *names: str) -> None:
    """Refuse to begin without what draws.

    Raises:
        FlowcliError: one of the packages is not there; what to install.
    """
    from importlib.util import find_spec

    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise FlowcliError(f"{command} needs {' and '.join(missing)}: pip install 'flowcli[{extra}]'")


def free_name(folder: Path, stem: str, form: str) -> str:
    """A name in a folder that is not taken."""
    place, number = folder / f"{stem}.{form}", 1
    while place.exists():
        number += 1
        place = folder / f"{stem}-{number}.{form}"
    return str(place)


def shown_rows(header: ModelHeader, files: list[str], encoding: str | None) -> Data:
    """The rows named, or those that the fit held out; files are told without their folders.

    Raises:
        UsageError: no rows are named, and those that the fit held out cannot be had.
        DataError: a file cannot be read.
    """
    from flowcli.cli.input import chunks, used_names
    from flowcli.plotting import Data
    from flowcli.tables.table import concatenate

    if files:
        table, what = concatenate(list(chunks(files, encoding, used_names(header.columns)))), "rows"
    else:
        from flowcli.held_out import held_out_rows

        table, what = held_out_rows(header), "held-out rows"
    names = (Path(file).name for file in files or header.data["files"])
    return Data(table, f"{len(table):,} {what} of {', '.join(names)}")
