"""The ``flowcli`` command and its sub-commands."""

from __future__ import annotations

import copy
import os
import sys
from typing import Annotated

import typer

from flowcli.cli import (
    compare,
    completion,
    config,
    decode,
    encode,
    evaluate,
    export,
    fit,
    init,
    plot,
    report,
    sample,
    score,
    show,
    transforms,
    tune,
)
from flowcli.cli.command import command
from flowcli.cli.output import messages, settle_streams, silence_stdout
from flowcli.cli.running import set_pipe_signal

CONTEXT = {"help_option_names": ["-h", "--help"]}
EPILOG = (
    "Exit status: 0 done, 1 the data, model or machine said no, 2 usage or config, 3 below --fail-under, "
    "130 interrupted."
)

app = typer.Typer(
    name="flowcli",
    help="Fit a probability density to a table; score and sample rows.",
    epilog=EPILOG,
    context_settings=CONTEXT,
    no_args_is_help=True,
    # Plain help: it reads the same in a pipe and at 40 columns, and comes in half the time.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        from flowcli import __version__

        typer.echo(f"flowcli {__version__}")
        raise typer.Exit


@app.callback()
def flowcli(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Fit a probability density to a table; score and sample rows."""


for name, function in (
    ("fit", fit.fit),
    ("tune", tune.tune),
    ("score", score.score),
    ("sample", sample.sample),
    ("encode", encode.encode),
    ("decode", decode.decode),
    ("evaluate", evaluate.evaluate),
    ("compare", compare.compare),
    ("plot", plot.plot),
    ("report", report.report),
    ("show", show.show),
    ("export", export.export),
    ("transforms", transforms.transforms),
    ("init", init.init),
):
    app.command(name, context_settings=CONTEXT)(command(function))
app.add_typer(config.app, name="config", context_settings=CONTEXT)


def _needed_part() -> typer.Typer:
    """The program with the command alone that is asked for: to build all takes as long as to read a small table."""
    asked = [command for command in app.registered_commands if [command.name] == sys.argv[1:2]]
    if not asked or "_FLOWCLI_COMPLETE" in os.environ:
        return app
    part = copy.copy(app)
    part.registered_commands, part.registered_groups = asked, []
    return part


def main() -> None:
    """Run the command line."""
    settle_streams()
    # Help into a closed pipe ends quietly. Commands take care of their pipes themselves (see command.py).
    set_pipe_signal(kill=True)
    try:
        if os.environ.get("_FLOWCLI_COMPLETE") == "complete_bash":
            completion.complete_in_bash(app)
        _needed_part()()
    except OSError as error:
        silence_stdout()
        messages.error(f"cannot write to stdout: {error.strerror or error}")
        sys.exit(1)
