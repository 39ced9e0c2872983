"""Options that several commands share, each spelled and explained once."""

from __future__ import annotations

from typing import Annotated

import typer


def _complete_config(incomplete: str) -> list[str]:
    from flowcli.config.presets import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


def _complete_setting(incomplete: str) -> list[str]:
    from flowcli.config.schema import setting_keys

    return [f"{key}=" for key in setting_keys() if key.startswith(incomplete)]


def _checked_output(output: str) -> str:
    from flowcli.errors import UsageError
    from flowcli.tables.formats import output_format

    try:
        if output != "-":
            output_format(output)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None
    return output


def _checked_device(name: str) -> str:
    from flowcli.errors import UsageError
    from flowcli.training.devices import check_device_name

    try:
        return check_device_name(name)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None


Data = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DATA...",
        help="CSV, TSV, JSON lines or Parquet; gzip, zstd, bz2 and xz are undone; '-' is stdin.",
        show_default=False,
    ),
]
ModelPath = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="RUN",
        help="A run folder or a model file; by default $FLOWCLI_MODEL, else the newest run under runs/.",
        show_default=False,
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where to write; the ending says the format (.csv, .tsv, .jsonl, .parquet); '-' is stdout, as CSV.",
        callback=_checked_output,
    ),
]
ConfigName = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        metavar="CONFIG",
        help="A config file, or a preset's name (see 'flowcli config list').",
        show_default=False,
        autocompletion=_complete_config,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Set any key of the config, like train.learning_rate=3e-4; may be repeated.",
        show_default=False,
        autocompletion=_complete_setting,
    ),
]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, max=2**63 - 1, help="Fixes what is random.", show_default=False)
]
Device = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.", callback=_checked_device)
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]


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
                raise UsageError("no DATA given, and standard input is a terminal: name a file, or pipe a table in")
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
