"""What every command shares: ``--quiet``, ``--verbose`` and ``--debug``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from flowcli.cli import options
from flowcli.cli.running import run

_COMMON: dict[str, Any] = {
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")],
    "verbose": Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")],
    "debug": Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")],
}


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Add the common options to a command, and turn its errors into one message and an exit status.

    Commands may have imported Typer and :mod:`.options` for their annotations alone: these are evaluated here.
    """
    signature = inspect.signature(function, eval_str=True, locals={"typer": typer, **vars(options)})
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in _COMMON.items()
    ]

    @functools.wraps(function)
    def called(*, quiet: bool, verbose: bool, debug: bool, **given: Any) -> None:
        run(function, given, quiet, verbose, debug)

    parameters = [*signature.parameters.values(), *common]
    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called
