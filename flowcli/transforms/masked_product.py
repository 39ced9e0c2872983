"""Products with a masked weight, in blocks that leave out what no output of them sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Block = tuple[slice, slice]

# A smaller layer is one product: several would take longer than what they leave out.
SMALLEST_BLOCKED = 256 * 256
OUTPUTS_PER_BLOCK = 128


def blocks_of(mask: Tensor) -> list[Block]:
    """Of a mask ``(outputs, inputs)``, neighbouring outputs with the stretch of inputs that any of them sees.

    None for a layer that is too small for it.
    """
    if mask.numel() < SMALLEST_BLOCKED:
        return []
    blocks = []
    for start in range(0, len(mask), OUTPUTS_PER_BLOCK):
        own = slice(start, min(start + OUTPUTS_PER_BLOCK, len(mask)))
        seen = mask[own].any(0).nonzero().squeeze(-1).tolist()
        blocks.append((own, slice(seen[0], seen[-1] + 1) if seen else slice(0, 0)))
    return blocks


def masked_linear(inputs: Tensor, weight: Tensor, bias: Tensor, blocks: Sequence[Block]) -> Tensor:
    """``inputs @ weight.T + bias``, ``(..., outputs)``, for a weight that is zero outside the blocks.

    What its gradient is there does not count: it is that of a product with a mask.
    """
    result: Tensor = _MaskedLinear.apply(  # type: ignore[no-untyped-call]
        inputs.reshape(-1, inputs.shape[-1]), weight, bias, blocks
    )
    return result.reshape(*inputs.shape[:-1], len(bias))


class _MaskedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, blocks: Sequence[Block]) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.blocks = blocks
        result = inputs.new_empty(inputs.shape[0], len(bias))
        for own, seen in blocks:
            torch.addmm(bias[own], inputs[:, seen], weight[own, seen].mT, out=result[:, own])
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        if torch.is_grad_enabled():
            # The gradient will have a gradient: by operations that autograd knows.
            return grad @ weight, grad.mT @ inputs, grad.sum(0), None
        of_inputs, of_weight = grad.new_zeros(inputs.shape), grad.new_zeros(weight.shape)
        for own, seen in ctx.blocks:
            torch.mm(grad[:, own].mT, inputs[:, seen], out=of_weight[own, seen])
            of_inputs[:, seen].addmm_(grad[:, own], weight[own, seen])
        return of_inputs, of_weight, grad.sum(0), None
