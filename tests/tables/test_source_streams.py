"""Bytes to UTF-8: compressions, encodings, and what is said of bytes that are neither."""

import bz2
import gzip
import io
import lzma

import pyarrow as pa
import pytest

from flowcli.errors import DataError
from flowcli.tables.compression import compressed
from flowcli.tables.streams import BLOCK_BYTES, as_utf8, opened


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


COMPRESSED = {"gzip": gzip.compress, "zstd": zstd, "bz2": bz2.compress, "xz": lzma.compress}
CONTENT = b"".join(b"%d,%d\n" % (i, i * 7919 % 1009) for i in range(300_000))


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, content: bytes, size: int):
        self.rest, self.size = content, size

    def readable(self):
        return True

    def readinto(self, buffer):
        piece, self.rest = self.rest[: self.size], self.rest[self.size :]
        buffer[: len(piece)] = piece
        return len(piece)


def utf8(content: bytes, encoding: str = "utf-8") -> bytes:
    return as_utf8(io.BufferedReader(io.BytesIO(content)), encoding, "t.csv").read()


def refusal(content: bytes, encoding: str = "utf-8") -> str:
    with pytest.raises(DataError) as caught:
        utf8(content, encoding)
    return str(caught.value)


# Compression


@pytest.mark.parametrize("compression", COMPRESSED)
def test_a_stream_in_two_parts_is_one(tmp_path, compression):
    pack = COMPRESSED[compression]
    path = tmp_path / "t"
    path.write_bytes(pack(CONTENT[:1001]) + pack(CONTENT[1001:]))
    with opened(str(path)) as stream:
        assert stream.read() == CONTENT


@pytest.mark.parametrize("compression", [None, *COMPRESSED])
def test_what_is_compressed_is_undone_and_the_stream_stays_open(tmp_path, compression):
    below = io.BytesIO()
    with compressed(below, compression) as stream:
        stream.write(CONTENT[:7])
        stream.write(CONTENT[7:])
    assert not below.closed
    assert compression is None or len(below.getvalue()) < len(CONTENT) / 2
    path = tmp_path / "t"
    path.write_bytes(below.getvalue())
    with opened(str(path)) as stream:
        assert stream.read() == CONTENT


@pytest.mark.parametrize("size", [1, 3, 5000])
def test_a_slow_pipe_is_recognised(monkeypatch, size):
    class Stdin:
        buffer = Trickle(gzip.compress(CONTENT[:20_000]), size)

        @staticmethod
        def isatty():
            return False

    monkeypatch.setattr("sys.stdin", Stdin)
    with opened("-") as stream:
        assert stream.read() == CONTENT[:20_000]


# Encodings


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("latin-1", "größe,x\nÀ,1\n"),
        ("cp1252", "preis,x\n5 €,1\n"),
        ("utf-16", "größe,x\n😀,1\n"),
        ("utf-16-be", "größe,x\n😀,1\n"),
        ("utf-32", "größe,x\n😀,1\n"),
        ("shift_jis", "名,x\n日本,1\n"),
        ("gb18030", "名,x\n日本😀,1\n"),
        ("utf-8", "größe,x\n😀,1\n"),
        ("utf-8-sig", "größe,x\n😀,1\n"),
    ],
)
@pytest.mark.parametrize("offset", range(4))
def test_characters_cut_by_the_end_of_a_block(encoding, text, offset):
    # The offset moves every character over the ends of the blocks.
    whole = "a" * offset + text * (BLOCK_BYTES // len(text) + 1)
    assert len(whole.encode(encoding)) > BLOCK_BYTES
    assert utf8(whole.encode(encoding), encoding) == whole.encode()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le"])
def test_a_byte_order_mark_goes(encoding):
    assert utf8("\ufeffa,b\n".encode(encoding), encoding) == b"a,b\n"


def test_a_byte_order_mark_inside_stays():
    assert utf8("a\ufeff,b\n".encode()) == "a\ufeff,b\n".encode()


# The place of what cannot be decoded


def test_the_line_and_the_byte_are_named():
    message = refusal(b"a,b\n1,2\n3,\xe9\n")
    assert message == "t.csv: line 3: 0xE9, at byte 11, is not UTF-8 text; if it is Latin-1, add --encoding latin-1"


def test_the_line_and_the_byte_are_named_beyond_the_first_block():
    rows = 2 * BLOCK_BYTES // 8
    message = refusal(b"1234,67\n" * rows + "é,".encode() + b"\xff\n")
    assert f"line {rows + 1:,}: 0xFF, at byte {8 * rows + 4:,}," in message


def test_a_character_over_the_end_of_a_block_is_counted_where_it_begins():
    content = b"\n" * (BLOCK_BYTES - 1) + b"\xe2\x28\xa1"
    assert f"line {BLOCK_BYTES:,}: 0xE2, at byte {BLOCK_BYTES:,}," in refusal(content)


def test_text_cut_within_a_character():
    assert "line 2: 0xC3, at byte 5," in refusal(b"a,b\n\xc3")
    assert "not utf-16 text" in refusal("a\n".encode("utf-16-le")[:-1], "utf-16")


@pytest.mark.parametrize(
    ("content", "encoding", "words"),
    [
        (b"a\n\x81", "cp1252", "line 2: 0x81, at byte 3, is not cp1252 text"),
        (b"a\n\xe9", "ascii", "line 2: 0xE9, at byte 3, is not ascii text"),
        ("a\n".encode("utf-16-le") + b"\x00\xdcx\x00", "utf-16-le", "line 2: 0x00, at byte 5, is not utf-16-le text"),
        ("é\n".encode("utf-16"), "utf-8", "add --encoding utf-16"),
        (b"PK\x03\x04\x00\x00\xe9\xff", "utf-8", "is no table"),
    ],
)
def test_what_is_said(content, encoding, words):
    message = refusal(content, encoding)
    assert message.startswith("t.csv: ")
    assert words in message
