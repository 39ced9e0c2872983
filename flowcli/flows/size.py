"""How large a network may be, so that a config, or a file, cannot fill the memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from flowcli.tensor_file import TensorFacts

# Training holds about seven times as much as the weights.
MOST_WEIGHTS = 100_000_000
MOST_TENSORS = 20_000
MOST_MODELLED = 10_000

_FACTORIES: set[Callable[..., Tensor]] = {
    torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.eye,
}  # fmt: skip


class TooLarge(Exception):
    """A network has more weights than it may have; the message is the name of the part that was being built."""


class Limited(TorchFunctionMode):
    """What is built within may make so many tensors, and so many numbers in them, before they are made.

    Tensors of a size of their own are counted, as weights are. What a layer derives from others, a mask say, it must
    derive after it has made its weights.

    Raises:
        TooLarge: it makes more.
    """

    def __init__(self, tensors: int = MOST_TENSORS, weights: int = MOST_WEIGHTS) -> None:
        super().__init__()
        self.tensors, self.weights = tensors, weights

    @classmethod
    def to(cls, facts: Iterable[TensorFacts]) -> Limited:
        """To about what makes these tensors: some are made on the way to others."""
        shapes = [each.shape for each in facts]
        return cls(4 * len(shapes) + 1000, min(4 * sum(map(math.prod, shapes)) + 1_000_000, 4 * MOST_WEIGHTS))

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _FACTORIES:
            self.tensors -= 1
            self.weights -= _numbers(func, args, kwargs or {})
            if min(self.tensors, self.weights) < 0:
                raise TooLarge
        return func(*args, **(kwargs or {}))


def _numbers(func: Callable[..., Tensor], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """How many numbers are asked for, by a size as one argument or as several."""
    if func is torch.eye:
        return int(args[0]) ** 2
    size = kwargs.get("size", args[0] if args and not isinstance(args[0], int) else args)
    return math.prod(size)


# What weights and buffers of a file are in.
_DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.bool: "BOOL"}


def facts_of(tensor: Tensor) -> TensorFacts:
    """What a file's header says of such a tensor."""
    return TensorFacts(_DTYPES[tensor.dtype], tuple(tensor.shape))
