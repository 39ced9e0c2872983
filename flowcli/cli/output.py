"""Streams: data on stdout, everything for people on stderr."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import typer

from flowcli.errors import FlowcliError

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

STDOUT = "-"
BROKEN_PIPE_STATUS = 141


class Messages:
    """What people are told, on stderr. ``level`` is -1 (quiet), 0 or 1 (verbose)."""

    def __init__(self) -> None:
        self.level = 0

    @property
    def console(self) -> Console:
        """A rich console on stderr; plain text where that is not a terminal."""
        from rich.console import Console

        width = None if sys.stderr.isatty() else 100
        return Console(stderr=True, highlight=False, soft_wrap=True, width=width, force_terminal=sys.stderr.isatty())

    def note(self, text: str) -> None:
        """Something worth knowing; not said with ``--quiet``."""
        if self.level >= 0:
            print(text, file=sys.stderr)

    def detail(self, text: str) -> None:
        """Something said only with ``--verbose``."""
        if self.level > 0:
            print(text, file=sys.stderr)

    def error(self, text: str) -> None:
        """What went wrong; always said."""
        print(f"flowcli: {text}", file=sys.stderr)


messages = Messages()


@contextmanager
def stdout_stream() -> Iterator[IO[bytes]]:
    """stdout for data, as bytes. A reader that went away ends the command quietly.

    Raises:
        FlowcliError: stdout cannot be written to (a full disk, say).
    """
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        silence_stdout()
        raise typer.Exit(BROKEN_PIPE_STATUS) from None
    except OSError as error:
        silence_stdout()
        if error.errno == errno.EPIPE:
            raise typer.Exit(BROKEN_PIPE_STATUS) from None
        raise FlowcliError(f"cannot write to stdout: {error.strerror or error}") from None


def silence_stdout() -> None:
    """Keep the interpreter's last flush from complaining about a stdout that is gone."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_text(text: str) -> None:
    """Write text, and a line's end, to stdout."""
    with stdout_stream() as stream:
        stream.write(text.encode() + b"\n")


def write_json(value: Any) -> None:
    """Write one JSON value to stdout."""
    write_text(json.dumps(value, indent=2, ensure_ascii=False))


def write_tables(tables: Iterable[pa.Table], output: str, form: str | None = None) -> None:
    """Write a table that comes in pieces to stdout, or to a file; see :func:`flowcli.tables.formats.output_format`."""
    from flowcli.files import written_whole
    from flowcli.tables.compression import compressed
    from flowcli.tables.formats import output_format
    from flowcli.tables.write import table_writer

    form, compression = output_format(output, form)
    with (
        stdout_stream() if output == STDOUT else written_whole(Path(output)) as stream,
        compressed(stream, compression) as packed,
        table_writer(packed, form) as writer,
    ):
        for table in tables:
            writer.write(table)
