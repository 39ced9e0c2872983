"""How a command runs, and how its errors end it. No Typer here."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

from flowcli.cli.interrupts import interruptible
from flowcli.cli.output import messages, silence_stdout
from flowcli.cli.threads import never_spin
from flowcli.errors import FlowcliError

INTERRUPTED_STATUS = 130


def set_pipe_signal(kill: bool) -> None:
    """Whether a write into a pipe without a reader kills the process quietly, or raises ``BrokenPipeError``."""
    if hasattr(signal, "SIGPIPE") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGPIPE, signal.SIG_DFL if kill else signal.SIG_IGN)


def run(function: Callable[..., None], options: dict[str, Any], quiet: bool, verbose: bool, debug: bool) -> None:
    """Run a command; turn its errors into one message and an exit status.

    Raises:
        SystemExit: it did not end well.
    """
    messages.level = -1 if quiet else int(verbose)
    # A fit must not die over a message that nobody reads.
    set_pipe_signal(kill=False)
    never_spin()
    try:
        with interruptible():
            function(**options)
    except FlowcliError as error:
        if debug:
            raise
        messages.error(str(error))
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        if debug:
            raise
        # What is left to write may never find a reader.
        silence_stdout()
        messages.error("interrupted")
        raise SystemExit(INTERRUPTED_STATUS) from None
    except MemoryError:
        if debug:
            raise
        messages.error("out of memory")
        raise SystemExit(1) from None
    except Exception as error:
        if debug:
            raise
        summary = (str(error).strip().splitlines() or [""])[0]
        messages.error(f"unexpected {type(error).__name__}: {summary} (--debug shows where; please report it)")
        raise SystemExit(1) from None
