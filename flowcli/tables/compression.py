"""Compressed streams: gzip, zstd, bz2 and xz, undone and made."""

from __future__ import annotations

import io
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import pyarrow as pa

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}


def decompressed(stream: io.BufferedReader) -> Any:
    """A stream of what is compressed in this one, or ``None``: the first bytes say how, not the name."""
    head = stream.peek(8)
    for magic, compression in _MAGIC.items():
        if head.startswith(magic):
            return lzma.LZMAFile(stream) if compression == "xz" else pa.CompressedInputStream(stream, compression)
    return None


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
