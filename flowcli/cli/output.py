"""Streams: data on stdout, everything for people on stderr."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from flowcli.errors import FlowcliError, UsageError
from flowcli.printable import printable

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

    from flowcli.engines.work import Done

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
            _say(text)

    def note_from_signal(self, text: str) -> None:
        """Like :meth:`note`, from a signal's handler, which may have interrupted the writing of another one."""
        if self.level >= 0:
            with contextlib.suppress(OSError):
                os.write(2, f"{text}\n".encode())

    def detail(self, text: str) -> None:
        """Something said only with ``--verbose``."""
        if self.level > 0:
            _say(text)

    def error(self, text: str) -> None:
        """What went wrong; always said."""
        _say(f"flowcli: {text}")


def _say(text: str) -> None:
    """Lines of text that may quote a file."""
    print("\n".join(map(printable, text.split("\n"))), file=sys.stderr)


messages = Messages()


class _Dropping(io.FileIO):
    """Drops what cannot be written."""

    def write(self, data: Any) -> int:
        try:
            written: int | None = super().write(data)
        except OSError:
            written = None
        return len(data) if written is None else written


class _Whole(io.RawIOBase):
    """Writes all of it, of which a raw stream (``PYTHONUNBUFFERED``) on a nearly full disk takes a part first."""

    def __init__(self, stream: io.RawIOBase) -> None:
        self.stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        rest = memoryview(data)
        while rest:
            rest = rest[self.stream.write(rest) :]
        return len(data)


def settle_streams() -> None:
    """Make stdin, stdout and stderr safe to use, whatever the process was started with.

    stderr never fails: a fit must not die over a message that nobody reads. In the place of a stream that is closed
    there would else be the next file that is opened, written to as if it were the stream.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one. Writing to stdout still fails.
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    if sys.stdout is None:
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")  # noqa: SIM115, PTH123
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Dropping(2, "w", closefd=False)),
        encoding=getattr(sys.stderr, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=True,
    )


@contextmanager
def stdout_stream() -> Iterator[IO[bytes]]:
    """stdout for data, as bytes. A reader that went away ends the command quietly.

    Raises:
        FlowcliError: stdout cannot be written to (a full disk, say).
    """
    try:
        buffer = sys.stdout.buffer
        stream: Any = _Whole(buffer) if isinstance(buffer, io.RawIOBase) else buffer
        yield stream
        buffer.flush()
    except OSError as error:
        silence_stdout()
        raise _not_written("stdout", error) from None


def _not_written(name: str, error: OSError) -> BaseException:
    """What a command ends with when a stream takes no more: quietly, if its reader went away."""
    if error.errno == errno.EPIPE:
        return SystemExit(BROKEN_PIPE_STATUS)
    return FlowcliError(f"cannot write to {name}: {error.strerror or error}")


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
    # A line's end in a text is escaped already; what is left, JSON escapes as this does.
    write_text("\n".join(map(printable, json.dumps(value, indent=2, ensure_ascii=False).split("\n"))))


def check_output(output: str, force: bool) -> None:
    """Look at an output before there is anything to write to it.

    Raises:
        UsageError: it is a folder, or a file that ``force`` does not allow to replace.
    """
    from flowcli.files import kind_of

    kind = None if output == STDOUT else kind_of(Path(output))
    if kind == "folder":
        raise UsageError(f"{output}: is a folder; -o names a file")
    if kind == "file" and not force:
        raise UsageError(f"{output}: is there already; --force replaces it")


def check_rows_output(output: str, force: bool, sources: Sequence[str]) -> None:
    """Look at an output of rows: a file, or a folder that gets a table for each of the sources.

    Raises:
        UsageError: it is not of this machine, or holds what ``force`` does not allow to replace, or one of the sources;
            or two sources would have the same table.
    """
    from flowcli.files import kind_of
    from flowcli.tables.formats import is_folder, table_name, table_stem
    from flowcli.tables.remote import is_url

    if is_url(output):
        raise UsageError(f"{output}: -o names a file or a folder of this machine")
    folder = Path(output)
    kind = None if output == STDOUT else kind_of(folder)
    if not is_folder(output):
        if kind == "folder":
            raise UsageError(f"{output}: is a folder; for a table in it for each of DATA's, name it {output}/")
        check_output(output, force)
        return
    stems = [table_stem(source) for source in sources]
    twice = [source for source, stem in zip(sources, stems, strict=True) if stems.count(stem) > 1]
    if twice:
        raise UsageError(f"{output}: {', '.join(twice[:2])} would be the same table in it; rename one")
    if kind is None:
        return
    if kind != "folder":
        raise UsageError(f"{output}: is a file; leave out the /")
    if any(folder.iterdir()) and not force:
        raise UsageError(f"{output}: holds something already; --force replaces the tables in it")
    others = [place.name for place in folder.iterdir() if not (place.is_file() and table_name(place.name))]
    if others:
        raise UsageError(f"{output}: holds {min(others)!r}, which is no table; name another folder")
    if folder.resolve() in {Path(source).resolve().parent for source in sources}:
        raise UsageError(f"{output}: holds DATA; name another folder")


@contextmanager
def _output_stream(output: str) -> Iterator[IO[bytes]]:
    from flowcli.files import kind_of, written_whole

    if output == STDOUT:
        with stdout_stream() as stream:
            yield stream
    elif kind_of(Path(output)) == "stream":
        try:
            # A file that is open already, as /dev/stdout may be, is added to.
            with Path(output).open("ab") as stream:
                yield stream
        except OSError as error:
            raise _not_written(output, error) from None
    else:
        with written_whole(Path(output)) as stream:
            yield stream


def write_bytes(content: bytes, output: str) -> None:
    """Write a file's content to stdout, or to a file."""
    with _output_stream(output) as stream:
        stream.write(content)


def write_tables(tables: Iterable[pa.Table], output: str, form: str | None = None) -> None:
    """Write a table that comes in pieces to stdout, or to a file; see :func:`flowcli.tables.formats.output_format`."""
    from flowcli.tables.compression import compressed
    from flowcli.tables.formats import output_format
    from flowcli.tables.write import table_writer

    form, compression = output_format(output, form)
    with (
        _output_stream(output) as stream,
        compressed(stream, compression) as packed,
        table_writer(packed, form) as writer,
    ):
        for table in tables:
            writer.write(table)


def write_rows(results: Iterable[Done], output: str, form: str | None = None) -> None:
    """Write results to stdout or to a file, or to a folder, a table for each source; see :func:`check_rows_output`."""
    from flowcli.files import folder_written_whole
    from flowcli.tables.formats import is_folder, output_format, table_stem

    if not is_folder(output):
        write_tables((done.cells for done in results), output, form)
        return
    form, _ = output_format(output, form)
    with folder_written_whole(Path(output)) as folder:
        for source, of_source in groupby(results, lambda done: done.source):
            write_tables((done.cells for done in of_source), str(folder / f"{table_stem(source)}.{form}"), form)
