"""A source of rows as a stream of bytes: opened, decompressed, and as UTF-8 whatever its encoding."""

from __future__ import annotations

import codecs
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flowcli.errors import DataError, UsageError
from flowcli.tables.compression import decompressed
from flowcli.tables.remote import is_url, opened_url

STDIN = "-"
# The longest row of a CSV that can be read; Arrow reads up to 32 blocks ahead.
BLOCK_BYTES = 1 << 20


@contextmanager
def opened(source: str, kept: io.FileIO | None = None) -> Iterator[io.BufferedReader]:
    """The source's bytes, decompressed; seekable only where it is a plain file.

    Args:
        kept: standard input as :func:`kept_stdin` keeps it, to be read from its start.

    Raises:
        UsageError: the file is missing, or standard input is a terminal.
    """
    if source == STDIN:
        if kept is None:
            yield _decompressed(_buffered(_stdin()), "standard input")
            return
        # A copy, as the buffers close what they are over.
        with io.FileIO(os.dup(kept.fileno())) as file:
            file.seek(0)
            yield _decompressed(_buffered(file), "standard input")
        return
    if is_url(source):
        with opened_url(source) as raw:
            yield _decompressed(_buffered(raw), source)
        return
    path = Path(source)
    if not path.exists():
        raise UsageError(f"{source}: no such file")
    if path.is_dir():
        raise UsageError(f"{source}: is a folder, not a table")
    with path.open("rb", buffering=0) as file:
        yield _decompressed(_buffered(file), source)


def kept_stdin() -> io.FileIO:
    """Standard input, all of it, in a file that goes when it is closed: it can be read more than once.

    Raises:
        UsageError: standard input is a terminal.
    """
    stdin = _stdin()
    try:
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        while rest := memoryview(stdin.read(BLOCK_BYTES)):
            while rest:  # a nearly full disk takes a part first
                rest = rest[file.write(rest) :]
    except OSError as error:
        raise DataError(f"standard input cannot be kept in {tempfile.gettempdir()}: {error.strerror}") from None
    return file


def _stdin() -> Any:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("no DATA given, and standard input is a terminal: name a file, or pipe a table in")
    return getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)


def as_utf8(stream: io.BufferedReader, encoding: str, name: str) -> io.BufferedReader:
    """Text in an encoding as UTF-8 without a byte order mark; reading it raises DataError where it is not such text."""
    return io.BufferedReader(_Utf8(stream, encoding, name), BLOCK_BYTES)


def last_byte(text: io.BufferedReader) -> bytes:
    """The last byte read by :func:`as_utf8` that is no white space."""
    raw = text.raw
    assert isinstance(raw, _Utf8)
    return raw.last


def _decompressed(stream: io.BufferedReader, name: str) -> io.BufferedReader:
    inside = decompressed(stream, name)
    return stream if inside is None else io.BufferedReader(_Full(inside), BLOCK_BYTES)


def _buffered(raw: Any) -> io.BufferedReader:
    return io.BufferedReader(raw if raw.seekable() else _Full(raw), BLOCK_BYTES)


class _Full(io.RawIOBase):
    """Reads that come full, so that a look at the first block of a pipe sees more than its first bytes."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view, filled = memoryview(buffer), 0
        while filled < len(view) and (count := self.stream.readinto(view[filled:])):
            filled += count
        return filled


class _Utf8(io.RawIOBase):
    """Text in any encoding as UTF-8, a block at a time. Its reads come full."""

    def __init__(self, stream: io.BufferedReader, encoding: str, name: str) -> None:
        self.stream, self.encoding, self.name = stream, encoding, name
        self.decoder = codecs.getincrementaldecoder(encoding)()
        self.pending = memoryview(b"")
        self.ended = False
        self.bytes = self.lines = 0
        self.last = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view, filled = memoryview(buffer), 0
        while filled < len(view):
            if not self.pending:
                if self.ended:
                    break
                self._next_block()
            count = min(len(view) - filled, len(self.pending))
            view[filled : filled + count] = self.pending[:count]
            self.pending = self.pending[count:]
            filled += count
        return filled

    def _next_block(self) -> None:
        block = self.stream.read(BLOCK_BYTES)
        self.ended = not block
        state = self.decoder.getstate()
        try:
            text = self.decoder.decode(block, final=self.ended).encode()
        except UnicodeError as error:
            self.decoder.setstate(state)
            raise self._refusal(block, error) from None
        if not self.bytes:
            text = text.removeprefix(codecs.BOM_UTF8)
        self.pending = memoryview(text)
        self.bytes += len(block)
        self.lines += text.count(b"\n")
        self.last = text.rstrip()[-1:] or self.last

    def _refusal(self, block: bytes, error: UnicodeError) -> DataError:
        """The error with its place; the decoder stands before the block."""
        if codecs.lookup(self.encoding).name != "utf-8":
            what, advice = f"not {self.encoding} text", "give the encoding that it has as --encoding"
        elif not self.bytes and block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return DataError(f"{self.name}: is not UTF-8 text, but UTF-16: add --encoding utf-16")
        elif not self.bytes and block.startswith((b"PK\3\4", b"\xd0\xcf\x11\xe0")):
            return DataError(f"{self.name}: is no table, but an Excel workbook or a zip archive: save it as CSV")
        elif b"\0" in block:
            return DataError(
                f"{self.name}: is no table: neither UTF-8 text (CSV, TSV, JSON lines) nor Parquet or Arrow"
            )
        else:
            what, advice = "not UTF-8 text", "if it is Latin-1, add --encoding latin-1"
        place = ""
        if isinstance(error, UnicodeDecodeError):
            # What the decoder had kept from the block before is at the head of the error's bytes.
            start = error.start - (len(error.object) - len(block))
            line = self.lines + self.decoder.decode(block[: max(start, 0)]).count("\n") + 1
            byte = f"0x{error.object[error.start]:02X}" if error.start < len(error.object) else "the end"
            place = f"line {line:,}: {byte}, at byte {self.bytes + start + 1:,}, is "
        return DataError(f"{self.name}: {place}{what}; {advice}")
