"""``flowcli``, and ``python -m flowcli``."""

import contextlib
import os
import signal
import sys


def main() -> None:
    """Run the command line. Ctrl-C ends it quietly, from the first import on."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from flowcli.cli.plain import plain

    try:
        if not plain(sys.argv[1:]):
            from flowcli.cli.app import main

            main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    # The interpreter's own end takes longer, and aborts where a thread of Arrow's still lets go of a Python stream.
    os._exit(status)


if __name__ == "__main__":
    main()
