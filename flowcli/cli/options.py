"""Options that several commands share, each spelled and explained once."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from flowcli.cli import completion
from flowcli.cli.engine import Engine
from flowcli.config.limits import MOST_THREADS


class Form(str, Enum):
    """The formats of :mod:`flowcli.tables.formats`."""

    csv = "csv"
    tsv = "tsv"
    jsonl = "jsonl"
    parquet = "parquet"
    arrow = "arrow"
    arrows = "arrows"

    def __str__(self) -> str:
        return self.value


def _checked_output(context: typer.Context, output: str) -> str:
    import sys

    from flowcli.errors import UsageError
    from flowcli.tables.formats import TEXT, output_format

    try:
        form, _ = output_format(output, context.params.get("form"))
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None
    if output == "-" and form not in TEXT and sys.stdout.isatty():
        raise typer.BadParameter(f"{form} is not for a terminal: name a file, or pipe it on")
    return output


def _checked_encoding(name: str | None) -> str | None:
    from flowcli.config.encodings import check_encoding

    try:
        return None if name is None else check_encoding(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


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
        help="CSV, TSV, JSON lines, Parquet or Arrow, or a folder of these; gzip, zstd, bz2 and xz are undone; "
        "'-' is stdin.",
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
        autocompletion=completion.runs,
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|FOLDER/",
        help="Where to write; the ending says the format (.csv, .tsv, .jsonl, .parquet, .arrow, .arrows) and, behind "
        "the first three, a compression (.gz, .zst, .xz, .bz2); with a / at its end it is a folder of Parquet files; "
        "'-' is stdout, as CSV.",
        callback=_checked_output,
    ),
]
EngineName = Annotated[
    Engine,
    typer.Option(
        "--engine",
        help="What computes: this process, or workers of Ray, one for each GPU or processor of its cluster, or "
        "--threads of them.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file that -o names.")]
Format = Annotated[
    Form | None,
    typer.Option(
        "--format",
        help="The format to write, whatever the ending says; arrow is Arrow's file, arrows its stream.",
        show_default=False,
        # Known when --output is checked.
        is_eager=True,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        metavar="NAME",
        help="The encoding of text in DATA, like latin-1; by default utf-8.",
        callback=_checked_encoding,
        show_default=False,
        autocompletion=completion.words("utf-8", "utf-16", "latin-1", "cp1252"),
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
        autocompletion=completion.configs,
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
        autocompletion=completion.settings,
    ),
]
Context = Annotated[
    str | None,
    typer.Option(
        metavar="A,B",
        help="Columns that are given, not modelled: p(others | A, B).",
        show_default=False,
        autocompletion=completion.columns,
    ),
]
Drop = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Columns to leave out.", show_default=False, autocompletion=completion.columns),
]
Kind = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=KIND",
        help="What a column is, where that is not to be inferred: number, continuous, integer, date, label, "
        "ordinal; may be repeated.",
        show_default=False,
        autocompletion=completion.kinds,
    ),
]
Missing = Annotated[
    str | None,
    typer.Option(
        metavar="WAY",
        help="Missing cells: model (they have a probability), drop, impute or error.",
        show_default=False,
        autocompletion=completion.words("model", "drop", "impute", "error"),
    ),
]
Validation = Annotated[
    str | None, typer.Option(metavar="FILE", help="Rows that decide when to stop.", show_default=False)
]
Test = Annotated[str | None, typer.Option(metavar="FILE", help="Rows for the final score.", show_default=False)]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, max=2**63 - 1, help="Fixes what is random.", show_default=False)
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="auto, cpu, cuda or cuda:N.",
        callback=_checked_device,
        autocompletion=completion.words("auto", "cpu", "cuda"),
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=MOST_THREADS,
        help="How many processor threads compute; by default $OMP_NUM_THREADS, else chosen.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
