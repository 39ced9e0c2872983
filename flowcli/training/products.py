"""Which library multiplies float32 matrices on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# Small products are not faster, and some are slower.
LARGE_WEIGHT = 256 * 256
# The other library adds up in another order. Products of bfloat16 numbers would be off by a thousand times as much.
MOST_TIMES_THE_ERROR = 4.0


@contextmanager
def fast_products(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Multiply a network's large float32 matrices with oneDNN, where that is as exact on this processor.

    torch takes it at the precision "medium". On some processors it is twice as fast as the default; on those with
    units for bfloat16 products it would use these, which is seen by measuring one product's error.
    """
    wide = any(parameter.dim() == 2 and parameter.numel() >= LARGE_WEIGHT for parameter in network.parameters())
    before = torch.get_float32_matmul_precision()
    # On a GPU the setting means shorter numbers.
    if device.type == "cpu" and wide and before == "highest" and is_exact("medium"):
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def is_exact(precision: str) -> bool:
    """Whether products at this precision of torch's have about the error of those at the highest."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(512, 512, generator=generator) for _ in range(2))
    exact = left.double() @ right.double()
    before = torch.get_float32_matmul_precision()

    def error(precision: str) -> Tensor:
        torch.set_float32_matmul_precision(precision)
        return (left @ right - exact).abs().max()

    try:
        return bool(error(precision) <= MOST_TIMES_THE_ERROR * error("highest"))
    finally:
        torch.set_float32_matmul_precision(before)
