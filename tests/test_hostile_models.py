"""A model file, a checkpoint or a table from a stranger does no harm: it is used, or refused in one line."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from hostile import MODEL_CHANGES, MODELS, obeyed, put_together, real_models, table, taken_apart, try_all, with_checksum

from flowcli.errors import DataError, FlowcliError, ModelError
from flowcli.model import Model
from flowcli.model_file import read_header
from flowcli.tables.read import read_chunks
from flowcli.tensor_file import LARGEST_HEADER, read_tensor_header


@pytest.fixture(scope="module")
def models() -> dict[str, bytes]:
    return real_models()


@pytest.fixture
def good(models: dict[str, bytes]) -> bytes:
    return models["labels and holes"]


@pytest.mark.long
def test_thousands_of_changed_models(models: dict[str, bytes], tmp_path: Path) -> None:
    for name, content in models.items():
        (tmp_path / f"{name}.good").write_bytes(content)
    tried = try_all("models", tmp_path, 0, 2500)
    assert tried.wrong == []
    assert sum(tried.counts.values()) == 2500
    # Not all one way: changes that nobody sees are used, the others are seen at every stage.
    assert min(tried.counts[stage] for stage in ("refused", "shown", "loaded", "sampled", "all")) > 5


# --- one by one


def refused(path: Path, content: bytes) -> str:
    """What is said of a file that is refused, in bounded time and memory."""
    path.write_bytes(content)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ModelError) as caught:
        Model.load(path, "cpu")
    assert time.monotonic() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # in KiB
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    return message


def restated(content: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The file with its header's own JSON changed."""
    header, weights = taken_apart(content)
    inner = json.loads(header["__metadata__"]["flowcli"])
    change(inner)
    header["__metadata__"]["flowcli"] = json.dumps(inner)
    return put_together(header, weights)


def spline(**parameters: Any) -> Callable[[dict[str, Any]], Any]:
    def change(inner: dict[str, Any]) -> None:
        inner["config"]["flow"]["transforms"][0]["spline_autoregressive"].update(parameters)

    return change


def nested(depth: int) -> Any:
    chain: Any = "actnorm"
    for _ in range(depth):
        chain = {"chain": {"repeat": 1000, "transforms": [chain]}}
    return chain


def many_columns(inner: dict[str, Any]) -> None:
    inner["columns"] += [{**inner["columns"][0], "name": f"c{number}"} for number in range(9000)]


def flow(**parts: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda inner: inner["config"]["flow"].update(parts)


ENORMOUS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "wide": spline(hidden=[1_000_000, 1_000_000]),
    "as wide as may be": spline(hidden=[8192] * 16),
    "deep": spline(hidden=[64] * 100_000),
    "bins": spline(bins=10**9),
    "most bins": spline(bins=256, hidden=[8192]),
    "repeat": flow(repeat=10**9),
    "most repeats": flow(repeat=1000),
    "chain in chain": flow(transforms=[nested(2)]),
    "many chains": flow(transforms=[nested(80)]),
    "many transforms": flow(transforms=["actnorm"] * 200_000),
    "permutations alone": flow(transforms=["permute"] * 1000, repeat=1000),
    "mixture": flow(base={"gaussian_mixture": {"components": 1000}}),
    "labels": flow(labels={"modular_flow": {"layers": 100}}),
    "columns": many_columns,
    "columns of a mixture": lambda inner: (many_columns(inner), flow(base={"gaussian_mixture": {}})(inner)),
    "columns of a linear map": lambda inner: (many_columns(inner), flow(transforms=["lu_linear"])(inner)),
    "columns of labels": lambda inner: inner["columns"].extend(
        {"name": f"c{n}", "kind": "label", "reason": "", "categories": ["a", "b"]} for n in range(9000)
    ),
    "columns of ordinals": lambda inner: (
        inner["columns"].extend({"name": f"c{n}", "kind": "ordinal", "reason": ""} for n in range(9000)),
        flow(ordinals={"integer_flow": {"layers": 100}})(inner),
    ),
    "categories": lambda inner: inner["columns"][2].update(categories=[str(n) for n in range(99_000)]),
    "too many categories": lambda inner: inner["columns"][2].update(categories=[str(n) for n in range(2_000_000)]),
    "context": lambda inner: inner["columns"][2].update(context=True, categories=[str(n) for n in range(99_000)]),
    "factors": lambda inner: inner["config"].update(
        flow={"factors": [{"columns": ["x"], "given": ["y"] * 300_000, "transforms": ["actnorm"]}]}
    ),
    "unknown names": lambda inner: inner["config"].update(
        flow={"factors": [{"columns": [f"{n}" for n in range(90_000)], "transforms": ["actnorm"]}]}
    ),
    "wrong items": lambda inner: inner.update(columns=[1] * 3_000_000),
    "wrong keys": lambda inner: inner["config"]["train"].update({str(n): 1 for n in range(500_000)}),
}


@pytest.mark.parametrize("name", ENORMOUS)
def test_an_enormous_network_is_not_built(good: bytes, tmp_path: Path, name: str) -> None:
    refused(tmp_path / "m.safetensors", restated(good, ENORMOUS[name]))


def column(at: int, **facts: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda inner: inner["columns"][at].update(facts)


NONSENSE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "scale 0": column(0, scale=0),
    "scale below 0": column(0, scale=-1),
    "step 0": column(0, step=0),
    "step below 0": column(0, step=-0.1),
    "spread 0": column(0, spread=0),
    "mean beyond floats": column(0, mean=10**400),
    "bounds turned round": column(0, lower=2, upper=1),
    "decimals": column(0, decimals=10**9),
    "decimals below 0": column(0, decimals=-1),
    "two spikes": column(0, spikes=[1, 1]),
    "many spikes": column(0, spikes=[n / 7 for n in range(5000)]),
    "no categories": column(2, categories=[]),
    "two categories": column(2, categories=["a", "a", "b"]),
    "categories that are no numbers": column(2, cells="integer"),
    "categories of a number": column(0, categories=["a"]),
    "a surrogate": column(2, categories=["a", "b", "\ud800"]),
    "no name": column(0, name=""),
    "a name twice": column(0, name="y"),
    "a far middle": column(3, mean=1e300),
    "a date's format": column(0, kind="date", date_format="%Z" * 1000),
    "a date's zone": column(0, kind="date", date_format="typed:timestamp[us, tz=../../etc/passwd]"),
    "a kind": column(0, kind="pickle"),
    "no columns": lambda inner: inner.update(columns=[]),
    "no rows": lambda inner: inner["metrics"].update(rows={}),
    "rows of text": lambda inner: inner["metrics"]["rows"].update(training="\x1b[2J"),
    "metrics": lambda inner: inner.update(metrics=[]),
    "a likelihood": lambda inner: inner["metrics"].update(test_log_likelihood={"mean": [1]}),
    "files": lambda inner: inner["data"].update(files=[{"a": 1}]),
    "versions": lambda inner: inner.update(versions={"python": [3]}),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_refused(good: bytes, tmp_path: Path, name: str) -> None:
    refused(tmp_path / "m.safetensors", restated(good, NONSENSE[name]))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none(good: bytes, tmp_path: Path, number: str) -> None:
    header, weights = taken_apart(good)
    text = header["__metadata__"]["flowcli"]
    changed = text.replace('"spread":1.0', f'"spread":{number}', 1)
    assert changed != text
    header["__metadata__"]["flowcli"] = changed
    assert "damaged header" in refused(tmp_path / "m.safetensors", put_together(header, weights))


def test_a_key_that_is_there_twice(good: bytes, tmp_path: Path) -> None:
    header, weights = taken_apart(good)
    text = header["__metadata__"]["flowcli"]
    header["__metadata__"]["flowcli"] = '{"created": "", ' + text[1:]
    assert "twice" in refused(tmp_path / "m.safetensors", put_together(header, weights))
    outer = good[8 : len(good) - len(weights)].decode()
    twice = '{"__metadata__": {}, ' + outer[1:]
    content = len(twice).to_bytes(8, "little") + twice.encode() + weights
    refused(tmp_path / "m.safetensors", content)


def tensors_of(good: bytes) -> tuple[dict[str, Any], bytes, list[str]]:
    header, weights = taken_apart(good)
    names = sorted((name for name in header if name != "__metadata__"), key=lambda n: header[n]["data_offsets"])
    return header, weights, names


@pytest.mark.parametrize(
    "offsets", [[0, 0], [0, 2**62], [-8, 0], [8, 0], [0], [0, 4, 8], "0", [0.0, 4.0], [True, False], None]
)
def test_forged_offsets(good: bytes, tmp_path: Path, offsets: Any) -> None:
    header, weights, names = tensors_of(good)
    header[names[0]]["data_offsets"] = offsets
    assert "damaged" in refused(tmp_path / "m.safetensors", put_together(header, weights))


def test_tensors_that_overlap_or_leave_gaps(good: bytes, tmp_path: Path) -> None:
    header, weights, names = tensors_of(good)
    alike = {}
    for name in names:
        facts = header[name]
        twin = alike.setdefault((facts["dtype"], tuple(facts["shape"])), name)
        if twin != name:
            facts["data_offsets"] = header[twin]["data_offsets"]
            break
    assert "overlap" in refused(tmp_path / "m.safetensors", put_together(header, weights))


@pytest.mark.parametrize("shape", [[2**31, 2**31], [10**400], [-1], [0], [1.5], "3", [[3]]])
def test_forged_shapes(good: bytes, tmp_path: Path, shape: Any) -> None:
    header, weights, names = tensors_of(good)
    header[names[-1]]["shape"] = shape
    refused(tmp_path / "m.safetensors", put_together(header, weights))


def test_weights_of_another_type(good: bytes, tmp_path: Path) -> None:
    header, weights, names = tensors_of(good)
    name = next(name for name in names if header[name]["dtype"] == "F32")
    header[name]["dtype"] = "I32"
    refused(tmp_path / "m.safetensors", put_together(header, weights))


def test_a_file_that_is_mostly_holes(good: bytes, tmp_path: Path) -> None:
    # A terabyte of zeros that takes no room, and a header that asks for it.
    path = tmp_path / "m.safetensors"
    header, weights = taken_apart(good)
    size = 1 << 40
    header["more"] = {"dtype": "F32", "shape": [size >> 2], "data_offsets": [len(weights), len(weights) + size]}
    content = put_together(header, weights)
    with path.open("wb") as file:
        file.write(content)
        file.truncate(len(content) + size)
    with pytest.raises(ModelError, match="larger than 3 GB"):
        Model.load(path, "cpu")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[[]" + ",[]" * 3_000_000 + "]"])
def test_deep_or_wide_json(good: bytes, tmp_path: Path, text: str) -> None:
    header, weights = taken_apart(good)
    header["__metadata__"]["flowcli"] = text
    refused(tmp_path / "m.safetensors", put_together(header, weights))
    refused(tmp_path / "m.safetensors", len(text).to_bytes(8, "little") + text.encode())


def test_a_header_that_is_too_long(tmp_path: Path) -> None:
    text = b"{" + b" " * LARGEST_HEADER + b"}"
    refused(tmp_path / "m.safetensors", len(text).to_bytes(8, "little") + text)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (Path("/dev/zero"), tmp_path / "pipe"):
        with pytest.raises(ModelError, match="not a regular file"):
            read_tensor_header(place)


# --- what people see


COMMANDS = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\r\n\x00"
SIGNS = {*obeyed(COMMANDS), "\u202e"}


def test_show_leaves_terminals_alone(cli, good: bytes, tmp_path: Path) -> None:
    def change(inner: dict[str, Any]) -> None:
        inner["created"] = inner["columns"][0]["reason"] = inner["columns"][0]["name"] = COMMANDS
        inner["versions"] = {COMMANDS: COMMANDS}
        inner["data"]["files"] = [COMMANDS]
        inner["columns"][2]["categories"] = ["a", "b", COMMANDS]
        inner["metrics"]["baselines"] = {COMMANDS: inner["metrics"]["baselines"]["gaussian"]}

    (tmp_path / "m.safetensors").write_bytes(restated(good, change))
    lines = cli("show", "m.safetensors").out.split("\n")
    plain = cli("show", "m.safetensors", "--json")
    assert len(lines) > 10
    assert not any(sign in line for line in (*lines, *plain.out.split("\n")) for sign in SIGNS)
    assert json.loads(plain.out)["created"] == COMMANDS
    # In a refusal, too.
    (tmp_path / "m.safetensors").write_bytes(restated(good, lambda inner: inner.update({COMMANDS: 1})))
    said = cli("show", "m.safetensors")
    assert (said.status, len(said.err.splitlines())) == (1, 1)
    assert not any(sign in said.err.rstrip("\n") for sign in SIGNS)


# --- pickles


class Planted:
    """Unpickling this makes a folder."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("owned",)


def test_planted_pickles_do_nothing(cli, good: bytes, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    packed = pickle.dumps(Planted())
    stream = io.BytesIO()
    torch.save(Planted(), stream)
    (tmp_path / "t.csv").write_text("x,y,l,k\n0.1,0.5,a,1\n")
    model = "run/model.safetensors"
    for name in ("model.pkl", "model.pt", "config.pickle", "config.yaml", "history.csv"):
        (run / name).write_bytes(packed)
    header, weights = taken_apart(good)
    header["__metadata__"]["pickle"] = packed.decode("latin-1")
    for content, sound in ((packed, False), (stream.getvalue(), False), (put_together(header, weights), True)):
        (run / "model.safetensors").write_bytes(content)
        (run / "checkpoint.safetensors").write_bytes(content)
        for args in (
            ["show", model],
            ["score", "t.csv", "-m", model],
            ["sample", "-m", model, "--n", "1"],
            ["encode", "t.csv", "-m", model],
            ["decode", "t.csv", "-m", model],
        ):
            done = cli(*args)
            assert done.status == (0 if sound and args[0] != "decode" else 1), (args, done.err)
            assert "unexpected" not in done.err
            assert len(done.err.splitlines()) <= 2  # columns that are ignored are told, too
        done = cli("fit", "--resume", "run")
        assert (done.status, len(done.err.splitlines())) == (1, 1)
        assert "unexpected" not in done.err
    assert not (tmp_path / "owned").exists()


# --- tables


def bomb(path: Path, unit: bytes, times: int) -> None:
    """A small file that unpacks to a large one."""
    with path.open("wb") as file:
        packed: Any = {
            ".gz": lambda: gzip.GzipFile(fileobj=file, mode="wb"),
            ".bz2": lambda: bz2.BZ2File(file, "wb"),
            ".xz": lambda: lzma.LZMAFile(file, "wb", preset=0),  # noqa: SIM115
            ".zst": lambda: pa.CompressedOutputStream(pa.PythonFile(file, "w"), "zstd"),
        }[path.suffix]()
        for _ in range(times):
            packed.write(unit)
        packed.close()


def read_within(path: Path, mebibytes: int) -> str:
    """What is said of a table that is refused, while reading it takes no more memory than this."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError) as caught:
        for _ in read_chunks(str(path)):
            pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < mebibytes << 10
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst", ".bz2"])
def test_a_line_without_an_end(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.csv{suffix}"
    for unit in (b"a" * (1 << 20), b"\0" * (1 << 20), b"a,b\n1,2\n" + b"1" * (1 << 20), b'{"a": "' + b"a" * (8 << 20)):
        bomb(path, unit, 20)
        read_within(path, 200)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_rows_without_an_end(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowcli.tables.compression.BYTES_OF_ANY_RATIO", 4 << 20)
    path = tmp_path / f"t.csv{suffix}"
    bomb(path, b"1,2\n" * (1 << 18), 16)
    assert "1000 times" in read_within(path, 200)
    # What a table can be like is read to its end.
    bomb(path, b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(50_000)), 10)
    assert sum(len(chunk) for chunk in read_chunks(str(path))) == 10 * 50_001 - 1


def test_xz_that_asks_for_much_memory(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.xz"
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3}]
    header = lzma.compress(b"a,b\n1,2\n", filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}])
    path.write_bytes(header)
    assert [len(chunk) for chunk in read_chunks(str(path))] == [1]
    path.write_bytes(lzma.compress(b"a,b\n1,2\n", filters=filters))
    assert "emory" in read_within(path, 200)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cell.csv", b"a,b\n1,2\n3," + b"x" * 100_000_000 + b"\n4,5\n"),
        ("quoted.csv", b'a,b\n1,2\n3,"' + b"x\n" * 50_000_000 + b'"\n4,5\n'),
        ("cell.jsonl", b'{"a": "b"}\n{"a": "' + b"x" * 100_000_000 + b'"}\n'),
        ("columns.csv", b"a," * 400_000 + b"b\n" + b"1," * 400_000 + b"1\n"),
        ("name.csv", b"a" * 200_000 + b",b\n1,2\n"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_cells_and_rows_of_great_length(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    read_within(tmp_path / name, 400)


# --- checkpoints


def test_changed_checkpoints(cli, tmp_path: Path) -> None:
    rows = table("x,y", 60).cells.to_pylist()
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{row['x']},{row['y']}\n" for row in rows))
    started = cli("fit", "t.csv", "-o", "run", "-q", "-s", "train.epochs=2", "-c", "gaussian")
    assert started.status == 0, started.err
    place = tmp_path / "run" / "checkpoint.safetensors"
    good = place.read_bytes()
    ends = set()
    for seed in range(60):
        dice = random.Random(seed)
        changed = dice.choice(MODEL_CHANGES)(good, dice)
        place.write_bytes(with_checksum(changed) if dice.random() < 0.7 else changed)
        (tmp_path / "run" / "metrics.json").unlink(missing_ok=True)
        done = cli("fit", "--resume", "run", "-q")
        assert done.status in (0, 1, 2), done.err
        assert len(done.err.splitlines()) <= 3
        assert "unexpected" not in done.err, (seed, done.err)
        ends.add(done.status)
    assert ends >= {0, 1}


def test_the_models_here_are_sound(models: dict[str, bytes], tmp_path: Path) -> None:
    for name, content in models.items():
        path = tmp_path / "m.safetensors"
        path.write_bytes(content)
        assert read_header(path).metrics
        rows = table(MODELS[name][0], 3)
        assert len(Model.load(path, "cpu").log_prob(rows)) == 3
    with pytest.raises(FlowcliError):
        read_header(tmp_path / "none")
