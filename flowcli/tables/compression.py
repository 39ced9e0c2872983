"""Compressed streams: gzip, zstd, bz2 and xz, undone and made."""

from __future__ import annotations

import io
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import pyarrow as pa

from flowcli.errors import DataError

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}


# A table that packs better than this is hardly one: unpacked without end, a few kilobytes can be terabytes.
LARGEST_RATIO = 1000
BYTES_OF_ANY_RATIO = 256 << 20
# What unpacking xz may take: level 9 needs 64 MB.
XZ_MEMORY = 256 << 20


def decompressed(stream: io.BufferedReader, name: str) -> Decompressed | None:
    """A stream of what is compressed in this one, or ``None``: the first bytes say how, not the name."""
    head = stream.peek(8)
    for magic, compression in _MAGIC.items():
        if head.startswith(magic):
            return Decompressed(stream, compression, name)
    return None


class Decompressed(io.RawIOBase):
    """What is compressed in a stream.

    Raises:
        DataError: while it is read: it unpacks to far more than a table would.
    """

    def __init__(self, stream: io.BufferedReader, compression: str, name: str) -> None:
        self.name = name
        self.packed = _Counted(stream)
        self.unpacked = _Xz(self.packed) if compression == "xz" else pa.CompressedInputStream(self.packed, compression)
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self.unpacked.readinto(buffer)
        self.count += count
        if self.count > max(BYTES_OF_ANY_RATIO, LARGEST_RATIO * self.packed.count):
            raise DataError(
                f"{self.name}: unpacks to more than {LARGEST_RATIO} times its size, like a trap; "
                "if it is none, unpack it and pipe it in"
            )
        return count


class _Counted(io.RawIOBase):
    """A stream that knows how much of it was read."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.stream = stream
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self.stream.readinto(buffer)
        self.count += count
        return count


class _Xz(io.RawIOBase):
    """Streams of xz, one behind the other, in bounded memory."""

    def __init__(self, stream: _Counted) -> None:
        self.stream = stream
        self.decompressor = lzma.LZMADecompressor(memlimit=XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            rest = b""
            if self.decompressor.eof:
                rest = self.decompressor.unused_data.lstrip(b"\0") or (self.stream.read(io.DEFAULT_BUFFER_SIZE) or b"")
                rest = rest.lstrip(b"\0")  # padding
                if not rest:
                    return 0
                self.decompressor = lzma.LZMADecompressor(memlimit=XZ_MEMORY)
            elif self.decompressor.needs_input:
                rest = self.stream.read(io.DEFAULT_BUFFER_SIZE) or b""
                if not rest:
                    raise EOFError("the end of the stream is missing")
            part = self.decompressor.decompress(rest, len(buffer))
            if part:
                buffer[: len(part)] = part
                return len(part)


@contextmanager
def compressed(stream: IO[bytes], compression: str | None) -> Iterator[IO[bytes]]:
    """A stream that compresses into this one, which stays open; ``None`` is the stream itself."""
    if compression is None:
        yield stream
        return
    with lzma.LZMAFile(stream, "wb") if compression == "xz" else _arrow_stream(stream, compression) as packed:
        yield packed


def _arrow_stream(stream: IO[bytes], compression: str) -> pa.CompressedOutputStream:
    return pa.CompressedOutputStream(pa.PythonFile(_KeptOpen(stream), "w"), compression)


class _KeptOpen(io.RawIOBase):
    """Closing it leaves the stream below open, which Arrow would close."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self.stream.write(data)
