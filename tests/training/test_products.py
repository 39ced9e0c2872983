"""The precision of float32 products in training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flowcli.training import products
from flowcli.training.products import fast_products, is_exact

WIDE, NARROW = nn.Linear(512, 512), nn.Linear(64, 64)


def within(network: nn.Module, device: str = "cpu") -> str:
    with fast_products(network, torch.device(device)):
        inside = torch.get_float32_matmul_precision()
    assert torch.get_float32_matmul_precision() == "highest"
    return inside


def test_only_large_products_on_the_cpu_and_only_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "is_exact", lambda precision: True)
    assert within(WIDE) == "medium"
    assert within(NARROW) == "highest"
    assert within(WIDE, "cuda") == "highest"
    monkeypatch.setattr(products, "is_exact", lambda precision: False)
    assert within(WIDE) == "highest"


def test_shorter_numbers_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_exact("highest")
    whole = torch.Tensor.__matmul__

    def rounded(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        if torch.get_float32_matmul_precision() != "medium":
            return whole(left, right)
        return whole(left.bfloat16().to(left.dtype), right.bfloat16().to(left.dtype))

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    assert not is_exact("medium")
    assert torch.get_float32_matmul_precision() == "highest"
