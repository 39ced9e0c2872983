"""``flowcli show``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flowcli.cli import completion
from flowcli.cli.options import Json
from flowcli.cli.output import write_json, write_text
from flowcli.printable import printable

if TYPE_CHECKING:
    from flowcli.model_file import ModelFile


# Each with the function of the density that it is.
COMMANDS = {"score": "log_prob", "sample": "sample", "encode": "encode", "decode": "decode"}


def show(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A run folder or a model file; by default $FLOWCLI_MODEL, else the newest run under runs/.",
            show_default=False,
            autocompletion=completion.runs,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a model is.

    Its columns, architecture, data, scores and versions.

    Example: flowcli show runs/iris
    """
    from flowcli.runs import resolve_model

    path = resolve_model(model)

    from flowcli.model_file import read_model_file

    file = read_model_file(path)
    if as_json:
        write_json({"model": str(path), **file.header.as_json(), "without_torch": _without_torch(file)})
        return
    write_text(_described(str(path), file))


def _without_torch(file: ModelFile) -> list[str]:
    """The commands that do not need torch for small inputs."""
    functions = file.programs.functions if file.programs else {}
    return [command for command, function in COMMANDS.items() if function in functions]


def _start_lines(file: ModelFile) -> list[str]:
    light = _without_torch(file)
    heavy = [command for command in COMMANDS if command not in light]
    told = [f"{', '.join(light)} without torch"] if light else []
    told += [f"{', '.join(heavy)} {'with it' if light else 'with torch'}"] if heavy else []
    return [f"small inputs  {'; '.join(told)}"]


def _described(path: str, file: ModelFile) -> str:
    from flowcli.cli.describe import column_lines, flow_lines, likelihood_lines, mixture_lines

    header = file.header
    members = mixture_lines(header.metrics)
    data = header.data.get("files") or ["a table from Python"]
    rows = header.metrics["rows"]
    versions = ", ".join(f"{name} {version}" for name, version in header.versions.items())
    sections = [
        [f"model    {path}", f"created  {header.created}", f"data     {', '.join(data)}", f"made by  {versions}"],
        [f"columns  ({rows['training']:,} training, {rows['validation']:,} validation, {rows['test']:,} test rows)"],
        ["  " + line for line in column_lines(header.columns)],
        [f"flow     {header.metrics['parameters']:,} parameters, from base to data"],
        ["  " + line for line in flow_lines(header.config, header.columns)],
        *([["mixture  (nats per row that was left out, and the weight of each kind)"]] if members else []),
        ["  " + line for line in members],
        _start_lines(file),
        ["log-likelihood  (nats per row)"],
        ["  " + line for line in likelihood_lines(header.metrics)],
    ]
    # A file from a stranger may hold anything.
    return "\n".join(printable(line) for section in sections for line in section)
