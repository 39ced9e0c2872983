"""Model files that are damaged or planted."""

import io
import json
import os
import pickle
import struct
import zipfile

import pytest
from hostile import put_together, taken_apart, with_checksum


class Planted:
    """Unpickling this makes a file."""

    def __reduce__(self):
        return (os.mkdir, ("pwned",))


def _zip(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", content)
    return stream.getvalue()


def _safetensors(header: dict, weights: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + weights


def _edited(good: bytes, **metadata) -> bytes:
    """The model with other metadata."""
    header, weights = taken_apart(good)
    header["__metadata__"].update(metadata)
    return put_together(header, weights)


DAMAGED = {
    "pickle": lambda good: pickle.dumps(Planted()),
    "torch zip": lambda good: _zip(pickle.dumps(Planted())),
    "text": lambda good: b"hello\n",
    "empty": lambda good: b"",
    "seven bytes": lambda good: b"1234567",
    "huge header": lambda good: struct.pack("<Q", 2**62) + b"{}",
    "header alone": lambda good: good[: 8 + struct.unpack("<Q", good[:8])[0]],
    "half": lambda good: good[: len(good) // 2],
    "cut by one": lambda good: good[:-1],
    "one too many": lambda good: good + b"x",
    "no metadata": lambda good: _safetensors({}),
    "another's": lambda good: _safetensors({"__metadata__": {"format": "pt"}}),
    "deep": lambda good: struct.pack("<Q", 200_000) + b"[" * 200_000,
    "another version": lambda good: _edited(good, format_version="99"),
    "no header of ours": lambda good: _edited(good, flowcli="{}"),
    "not JSON": lambda good: _edited(good, flowcli="nonsense"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_or_planted_model_is_refused(cli, tmp_path, iris, iris_run, damage):
    content = DAMAGED[damage]((iris_run / "model.safetensors").read_bytes())
    (tmp_path / "m.safetensors").write_bytes(content)
    for args in (["score", iris, "-m"], ["sample", "--n", "1", "-m"], ["show"]):
        done = cli(*args, "m.safetensors")
        assert done.status == 1, args
        assert done.out == ""
        assert len(done.err.splitlines()) == 1
        assert "m.safetensors: " in done.err
        assert "unexpected" not in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize("position", [0.1, 0.4, 0.7, 0.95])
def test_damaged_weights_never_crash(cli, tmp_path, iris, iris_run, position):
    # Eight bytes of 0xff are NaN as weights, and far outside as positions.
    good = bytearray((iris_run / "model.safetensors").read_bytes())
    start = 8 + struct.unpack("<Q", good[:8])[0]
    facts = taken_apart(bytes(good))[0]
    # Behind the weights are the programs' constants, which torch does not look at.
    end = max(f["data_offsets"][1] for name, f in facts.items() if not name.startswith(("__", "program.")))
    at = start + int(position * end) // 8 * 8
    good[at : at + 8] = b"\xff" * 8
    (tmp_path / "m.safetensors").write_bytes(with_checksum(bytes(good)))
    done = cli("score", iris, "-m", "m.safetensors")
    assert done.status == 1
    assert "m.safetensors: damaged" in done.err


def test_damaged_orders_are_refused(cli, tmp_path, iris, iris_run):
    # Integers: what is no permutation must not be used as one.
    content = (iris_run / "model.safetensors").read_bytes()
    start = 8 + struct.unpack("<Q", content[:8])[0]
    tensors = {name: t for name, t in json.loads(content[8:start]).items() if name != "__metadata__"}
    orders = [t for t in tensors.values() if t["dtype"] == "I64"]
    assert orders
    for value in (2**40, 0):
        damaged = bytearray(content)
        begin, end = orders[0]["data_offsets"]
        damaged[start + begin : start + end] = struct.pack("<q", value) * ((end - begin) // 8)
        (tmp_path / "m.safetensors").write_bytes(with_checksum(bytes(damaged)))
        done = cli("score", iris, "-m", "m.safetensors")
        assert done.status == 1
        assert "m.safetensors: damaged" in done.err
