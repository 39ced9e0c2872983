"""What every command shares: ``--quiet``, ``--verbose``, ``--debug``, and how errors end it."""

from __future__ import annotations

import functools
import inspect
import signal
import threading
from collections.abc import Callable
from typing import Annotated, Any

import typer

from flowcli.cli.interrupts import interruptible
from flowcli.cli.output import messages, silence_stdout
from flowcli.cli.threads import never_spin
from flowcli.errors import FlowcliError

INTERRUPTED_STATUS = 130

_COMMON: dict[str, Any] = {
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")],
    "verbose": Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")],
    "debug": Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")],
}


def set_pipe_signal(kill: bool) -> None:
    """Whether a write into a pipe without a reader kills the process quietly, or raises ``BrokenPipeError``."""
    if hasattr(signal, "SIGPIPE") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGPIPE, signal.SIG_DFL if kill else signal.SIG_IGN)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Add the common options to a command, and turn its errors into one message and an exit status."""
    signature = inspect.signature(function, eval_str=True)
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in _COMMON.items()
    ]

    @functools.wraps(function)
    def run(*args: Any, quiet: bool, verbose: bool, debug: bool, **options: Any) -> None:
        messages.level = -1 if quiet else int(verbose)
        # A fit must not die over a message that nobody reads.
        set_pipe_signal(kill=False)
        never_spin()
        try:
            with interruptible():
                function(*args, **options)
        except FlowcliError as error:
            if debug:
                raise
            messages.error(str(error))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            if debug:
                raise
            # What is left to write may never find a reader.
            silence_stdout()
            messages.error("interrupted")
            raise typer.Exit(INTERRUPTED_STATUS) from None
        except (typer.Exit, typer.BadParameter):
            raise
        except MemoryError:
            if debug:
                raise
            messages.error("out of memory")
            raise typer.Exit(1) from None
        except Exception as error:
            if debug:
                raise
            summary = (str(error).strip().splitlines() or [""])[0]
            messages.error(f"unexpected {type(error).__name__}: {summary} (--debug shows where; please report it)")
            raise typer.Exit(1) from None

    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *common])  # type: ignore[attr-defined]
    run.__annotations__ = {**function.__annotations__, **_COMMON}
    return run
