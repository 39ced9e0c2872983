"""The signals that ask a command to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)  # Windows has no SIGHUP
]


def on_interrupt(handler: Callable[[int, FrameType | None], None]) -> Callable[[], None]:
    """Have Ctrl-C, SIGTERM and a terminal that is closed call the handler; returns what undoes that.

    A signal that is ignored stays so: ``nohup`` wants it, and a shell that runs the command in the background.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler) or signal.SIG_DFL

    def undo() -> None:
        while before:
            signal.signal(*before.popitem())

    return undo


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the block the first such signal raises ``KeyboardInterrupt``; a second one ends the process at once."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in _SIGNALS:
            if signal.getsignal(each) is interrupt:
                signal.signal(each, signal.SIG_DFL)
        raise KeyboardInterrupt

    undo = on_interrupt(interrupt)
    try:
        yield
    finally:
        undo()
