"""A config from a stranger does no harm: it is taken, or refused in a few lines that say where and why."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hostile import obeyed, try_all

from flowcli.config.load import load_config
from flowcli.config.presets import preset_names
from flowcli.config.yaml_source import LARGEST_TEXT, MOST_NODES
from flowcli.errors import ConfigError, UsageError
from flowcli.flows.build import build_density
from flowcli.flows.layout import Layout


def test_thousands_of_changed_configs(tmp_path: Path) -> None:
    tried = try_all("configs", tmp_path, 0, 2000)
    assert tried.wrong == []
    assert sum(tried.counts.values()) == 2000
    assert min(tried.counts[stage] for stage in ("refused", "loaded", "large", "built")) > 10


def refused(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    started = time.monotonic()
    with pytest.raises(UsageError) as caught:
        load_config(str(path))
    assert time.monotonic() - started < 10
    assert caught.value.exit_code == 2
    lines = str(caught.value).split("\n")
    assert len(lines) <= 3
    assert lines[0].startswith(str(path))
    assert not any(obeyed(line) or len(line) > 2100 for line in lines)
    return lines[0]


TEXTS: dict[str, str | bytes] = {
    "tag": "seed: !!python/object/apply:os.mkdir [owned]\n",
    "tag of a key": "!!python/name:os.system x: 1\n",
    "aliases": "a: &a [x, x]\n" + "".join(f"{n}: &{n} [*a, *a]\n" for n in "bcdefghijk"),
    "alias of itself": "a: &a [*a]\n",
    "merge": "a: &a {seed: 1}\n<<: *a\n",
    "deep lists": "[" * 500_000,
    "deep mappings": "{a: " * 200_000,
    "deep dashes": "- " * 400_000,
    "huge": "# " + "x" * LARGEST_TEXT,
    "many values": "data: {drop: [" + "a," * MOST_NODES + "]}\n",
    "a huge integer": "seed: " + "9" * 900_000,
    "a large integer": "train: {warmup: " + "9" * 900 + "}\n",
    "infinite": "train: {max_time: 1e999}\n",
    "infinite days": "train: {max_time: 1e308d}\n",
    "not a number": "train: {learning_rate: .nan}\n",
    "a bound": "data: {kinds: {a: {lower: -1e999}}}\n",
    "NUL": "seed: 1\0\n",
    "ESC": "seed: \x1b[2J\n",
    "ESC in words": '"\\e[2J\\n\\x9b": 1\n',
    "surrogate": '"\\uD800": 1\n',
    "raw surrogate": "a: \ud800\n",
    "Latin-1": "data: {drop: [caf\xe9]}\n".encode("latin-1"),
    "UTF-16": "seed: 1\n".encode("utf-16"),
    "binary": bytes(range(256)),
    "a key twice": "seed: 1\nseed: 2\n",
    "a key that is a list": "? [1, 2]\n: 3\n",
    "a key that is a number": "1: 2\n",
    "a key that is nothing": "~: 2\n",
    "an encoding": "data: {encoding: ../../etc/passwd}\n",
    "an encoding that unpacks": "data: {encoding: zlib}\n",
    "an encoding with NUL": 'data: {encoding: "a\\0b"}\n',
    "a long word": "flow: {base: " + "x" * 500_000 + "}\n",
    "a path with NUL": 'data: {test: "a\\0b"}\n',
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(tmp_path / "c.yaml", TEXTS[name])
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


def chain(depth: int) -> str:
    return "actnorm" if not depth else f"{{chain: {{repeat: 1000, transforms: [{chain(depth - 1)}]}}}}"


# What is asked for, and the key that the message names.
ABSURD = {
    "wide": ("flow: {transforms: [{affine_coupling: {hidden: [1000000, 1000000]}}]}", "hidden"),
    "deep": (f"flow: {{transforms: [{{affine_coupling: {{hidden: [{'8, ' * 100}8]}}}}]}}", "hidden"),
    "bins": ("flow: {transforms: [{spline: {bins: 1000000000}}]}", "bins"),
    "repeat": ("flow: {repeat: 1000000000, transforms: [actnorm]}", "repeat"),
    "chain in chain": (f"flow: {{transforms: [{chain(2)}]}}", "repeat"),
    "chains": (f"flow: {{transforms: [{chain(12)}]}}", "repeat"),
    "transforms": (f"flow: {{transforms: [{'actnorm, ' * 2000}]}}", "transforms"),
    "factors": (
        "flow: {factors: ["
        + "".join(f"{{columns: [a{n}], repeat: 900, transforms: [actnorm]}}, " for n in range(3))
        + "]}",
        "factors",
    ),
    "epochs": ("train: {epochs: 1000000000}", "epochs"),
    "batches": (f"train: {{batch_size: {10**30}}}", "batch_size"),
}


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_networks_are_refused_by_their_key(tmp_path: Path, name: str) -> None:
    text, key = ABSURD[name]
    assert key in refused(tmp_path / "c.yaml", text)


@pytest.mark.parametrize(
    ("flow", "part"),
    [
        ("{repeat: 100, transforms: [{affine_coupling: {hidden: [8192, 8192, 8192]}}]}", "affine_coupling"),
        ("{transforms: [{spline_autoregressive: {hidden: [8192, 8192], bins: 256}}]}", "spline_autoregressive"),
        ("{base: {gaussian_mixture: {components: 1000}}, transforms: [actnorm]}", "gaussian_mixture"),
    ],
)
def test_a_network_that_is_too_large_for_its_table(tmp_path: Path, flow: str, part: str) -> None:
    # Each key is within its limits; all together, with these columns, they are not.
    path = tmp_path / "c.yaml"
    path.write_text(f"flow: {flow}\n")
    config = load_config(str(path))
    assert config.flow is not None
    with pytest.raises(ConfigError, match=f"with {part} the network has more than 100,000,000 weights: lower"):
        build_density(config.flow, Layout(numbers=tuple(f"c{n}" for n in range(600))))


@pytest.mark.parametrize("key", ["test", "validation"])
def test_rows_without_an_end(tmp_path: Path, key: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in ("/dev/zero", "/dev/stdin", "/proc/kmsg", "/proc/self/mem", "/etc", tmp_path / "pipe"):
        assert "is not a regular file" in refused(tmp_path / "c.yaml", f"data: {{{key}: {place}}}\n")


@pytest.mark.parametrize("name", ["/dev/zero", "/proc/self/mem", "/etc", "/etc/passwd"])
def test_what_is_no_config(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(name)
    assert len(str(caught.value).split("\n")) <= 3


@pytest.mark.parametrize(
    "name", ["../presets/maf", "../configs/maf", "./maf", "maf.yaml", "x/../maf", "maf\0", "", "*"]
)
def test_a_preset_is_a_name_alone(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "maf" in preset_names()
    with pytest.raises(UsageError):
        load_config(name)


def test_very_many_mistakes_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("".join(f"k{n}: 1\n" for n in range(5000)))
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1] == "and 4,980 more mistakes"
