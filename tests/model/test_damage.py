"""Model files that are damaged, and latents that no row has."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load, save

from flowcli.errors import DataError, ModelError
from flowcli.model import Model
from flowcli.programs.stored import PREFIX
from flowcli.tensor_file import sealed

from .cases import fit


def refuse(path: Path) -> ModelError:
    with pytest.raises(ModelError) as refused:
        Model.load(path, "cpu")
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)
    return refused.value


def header_length(content: bytes) -> int:
    return int(struct.unpack("<Q", content[:8])[0])


def rewritten(path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, str]], Any]) -> None:
    """The file with other weights or metadata."""
    content = path.read_bytes()
    metadata = json.loads(content[8 : 8 + header_length(content)])["__metadata__"]
    tensors = load(content)
    change(tensors, metadata)
    path.write_bytes(sealed(save(tensors, metadata=metadata)))


def test_a_cut_file(file: Path) -> None:
    content = file.read_bytes()
    start = 8 + header_length(content)
    for length in [0, 1, 7, 8, 9, 100, start - 1, start, start + 1, len(content) - 1]:
        file.write_bytes(content[:length])
        refuse(file)


def test_a_longer_file(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"0")
    refuse(file)


def test_flipped_bytes_of_the_header(file: Path) -> None:
    content = file.read_bytes()
    for place in [*range(8), *range(8, 8 + header_length(content), 101)]:
        changed = bytearray(content)
        changed[place] ^= 0x80  # no longer ASCII
        file.write_bytes(changed)
        refuse(file)


def test_any_flipped_bit_is_refused(file: Path) -> None:
    content = file.read_bytes()
    random = np.random.default_rng(0)
    for place in random.integers(0, [8 + header_length(content), len(content)] * 200):
        changed = bytearray(content)
        changed[place] ^= 1 << int(random.integers(8))
        file.write_bytes(changed)
        refuse(file)


def test_a_wrong_digit_is_refused(file: Path) -> None:
    content = file.read_bytes()
    assert b'\\"seed\\":' in content
    file.write_bytes(content.replace(b'\\"bits_per_dim\\":1', b'\\"bits_per_dim\\":2').replace(b"0.1", b"0.2", 1))
    assert "checksum" in str(refuse(file))


@pytest.mark.parametrize("version", ["0", "4", "", "x"])
def test_an_unknown_format_version(file: Path, version: str) -> None:
    rewritten(file, lambda tensors, metadata: metadata.update(format_version=version))
    assert f"format version '{version}'" in str(refuse(file))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_weight_that_is_no_number(file: Path, value: float) -> None:
    def change(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(PREFIX)}
        name = next(name for name, tensor in weights.items() if tensor.is_floating_point() and tensor.numel())
        tensors[name].view(-1)[-1] = value

    rewritten(file, change)
    assert "not a finite number" in str(refuse(file))


def test_weights_of_another_shape(file: Path) -> None:
    def change(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(PREFIX)}
        name = next(name for name, tensor in weights.items() if tensor.dim() == 2)
        tensors[name] = tensors[name][:-1].contiguous()

    rewritten(file, change)
    refuse(file)


@pytest.mark.parametrize("kind", ["missing", "too many"])
def test_missing_and_unknown_weights(file: Path, kind: str) -> None:
    def change(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        if kind == "missing":
            tensors.pop(next(iter(tensors)))
        else:
            tensors["more"] = torch.zeros(2)

    rewritten(file, change)
    refuse(file)


def test_an_order_that_is_none(file: Path) -> None:
    def change(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        for name, tensor in tensors.items():
            if name.endswith("order"):
                tensor.zero_()

    rewritten(file, change)
    refuse(file)


def test_frequencies_that_are_none(file: Path) -> None:
    def change(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        tensors["factors.0.labels.frequencies"].neg_()

    rewritten(file, change)
    refuse(file)


@pytest.mark.parametrize("change", [{"flow": None}, {"columns": []}, {"columns": 3}, {"config": {}}, {"kind": "cake"}])
def test_a_header_that_does_not_fit(file: Path, change: dict[str, Any]) -> None:
    def tamper(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        metadata["flowcli"] = json.dumps({**json.loads(metadata["flowcli"]), **change})

    rewritten(file, tamper)
    refuse(file)


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    other = save({"weight": torch.zeros(3)})
    for content in (b"", b"a,b\n1,2\n" * 100, b"\x00" * 100, b"\xff" * 100, b"PK\x03\x04" + b"\x00" * 100, other):
        path.write_bytes(content)
        refuse(path)


def test_latents_that_no_row_has_are_refused(iris: pd.DataFrame) -> None:
    numbers = iris.drop(columns="species")
    fitted = fit(numbers, "flow={base: uniform, transforms: [logit]}", "train.epochs=0")
    latent = fitted.model.encode(numbers.head(3))
    latent.loc[1, "z2"] = 1.5
    with pytest.raises(DataError, match="row 2: no row of the model has these latents"):
        fitted.model.decode(latent)
