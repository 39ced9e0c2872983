"""Headers of safetensors files, read and checked without torch."""

from __future__ import annotations

import hashlib
import json
import math
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowcli.errors import ModelError

# Of models and checkpoints alike.
FORMAT_VERSION = "1"
LARGEST_HEADER = 32 << 20
# The checkpoint of the largest network has five numbers for each of 100 million weights.
LARGEST_FILE = 3 << 30
# In the metadata: the SHA-256 of all the rest, in hexadecimal digits.
CHECKSUM = "sha256"
# Of the lists, mappings and keys of a header, which take up to a hundred times the room of their JSON.
MOST_PARTS = 2_000_000
MOST_KEYS = 200_000

_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F16": 2, "BF16": 2, "I16": 2, "F32": 4, "I32": 4, "F64": 8, "I64": 8}


@dataclass(frozen=True)
class TensorFacts:
    """What a header says of a tensor."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class TensorFile:
    """A header: texts by name, and what tensors follow it; and the SHA-256 of the whole file."""

    metadata: dict[str, str]
    tensors: dict[str, TensorFacts]
    digest: str


def read_tensor_header(path: Path) -> TensorFile:
    """The header of a safetensors file: 8 bytes of length, then JSON. Its tensors fill the rest of the file.

    Raises:
        ModelError: the file is not safetensors, is cut short, or has no metadata.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{path}: not a model file of flowcli: not a regular file")
        if status.st_size > LARGEST_FILE:
            raise ModelError(f"{path}: not a model file of flowcli: larger than {LARGEST_FILE >> 30} GB")
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(LARGEST_HEADER, status.st_size - 8):
                raise ModelError(f"{path}: not a model file of flowcli (safetensors), or cut short")
            header = read_json(file.read(length).decode())
            digest = _digest(header, iter(lambda: file.read(1 << 20), b""))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise ModelError(f"{path}: not a model file of flowcli (safetensors)") from None
    metadata = header.pop("__metadata__", None) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ModelError(f"{path}: a safetensors file, but not a model of flowcli")
    tensors = _tensors(path, header, status.st_size - 8 - length)
    if metadata.pop(CHECKSUM, "") != digest:
        raise ModelError(f"{path}: damaged: it is not as it was written (its checksum differs)")
    return TensorFile(metadata, tensors, digest)


def read_json(text: str) -> Any:
    """A JSON text that leaves no doubt: each key once, every number finite, and no half of a surrogate pair.

    Raises:
        ValueError: it is not such a text, or has too many parts.
    """
    if _parts(text) > MOST_PARTS:
        raise ValueError("too many parts")
    try:
        value = json.loads(text, object_pairs_hook=_each_once, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _parts(text: str) -> int:
    return sum(text.count(sign) for sign in ('":', "[", "{"))


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    if len(found) > MOST_KEYS:
        raise ValueError("too many keys")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number


def _tensors(path: Path, header: dict[str, Any], size: int) -> dict[str, TensorFacts]:
    """The tensors, which lie one behind the other and fill ``size`` bytes."""
    places = []
    tensors = {}
    for name, facts in header.items():
        match facts:
            case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)], **more}:
                sound = not more and dtype in _BYTES and all(type(n) is int and n >= 0 for n in shape)
                if not sound or end - begin != math.prod(shape) * _BYTES[dtype]:
                    raise ModelError(f"{path}: damaged: what it says of a tensor is wrong")
                tensors[name] = TensorFacts(dtype, tuple(shape))
                places.append((begin, end))
            case _:
                raise ModelError(f"{path}: damaged: what it says of a tensor is wrong")
    places.sort()
    ends = [0, *(end for _, end in places)]
    if [begin for begin, _ in places] != ends[:-1]:
        raise ModelError(f"{path}: damaged: its tensors overlap, or leave gaps")
    if ends[-1] != size:
        raise ModelError(f"{path}: damaged: the file is cut short, or something is appended to it")
    return tensors


def sealed(content: bytes) -> bytes:
    """A safetensors file with its checksum, and its header in order: the same model is then the same bytes.

    Raises:
        ModelError: the header is too large to be read again.
    """
    length = struct.unpack("<Q", content[:8])[0]
    parts = json.loads(content[8 : 8 + length])
    parts["__metadata__"][CHECKSUM] = _digest(parts, [content[8 + length :]])
    header = _in_order(parts)
    header += b" " * (-len(header) % 8)  # the format aligns the tensors
    texts = [header.decode(), *parts["__metadata__"].values()]
    if len(header) > LARGEST_HEADER or len(parts) > MOST_KEYS or max(map(_parts, texts)) > MOST_PARTS:
        raise ModelError("the model has too many columns, labels or layers to be read again; --drop some")
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def _digest(header: Any, rest: Iterable[bytes]) -> str:
    """The SHA-256 of the header, but for the checksum itself, and of what follows it."""
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if isinstance(metadata, dict):
        others = {name: text for name, text in metadata.items() if name != CHECKSUM}
        header = {**header, "__metadata__": others}
    digest = hashlib.sha256(_in_order(header))
    for block in rest:
        digest.update(block)
    return digest.hexdigest()


def _in_order(header: Any) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
