"""Operations that are one node of autograd's graph: gradients of first and second order, and torch.func."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from flowcli.transforms.affine import AffineTransformer, _plain
from flowcli.transforms.masked_product import OUTPUTS_PER_BLOCK, blocks_of, masked_linear

from .test_autoregressive import build

BOUND = 3.0


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def affine(inverse: bool) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    transformer = AffineTransformer(BOUND)
    return transformer.inverse if inverse else transformer.forward


@pytest.mark.parametrize("inverse", [False, True])
def test_gradients_of_the_affine_transformer(inverse: bool) -> None:
    inputs = (numbers(4, 3).requires_grad_(), numbers(4, 3, 2, seed=1).requires_grad_())
    assert torch.autograd.gradcheck(affine(inverse), inputs)
    assert torch.autograd.gradgradcheck(affine(inverse), inputs)
    for one, other in zip(affine(inverse)(*inputs), _plain(*inputs, BOUND, inverse), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-14, atol=1e-14)


def test_gradients_of_masked_products() -> None:
    outputs, inputs = 2 * OUTPUTS_PER_BLOCK + 5, 300
    degrees = torch.linspace(1, 0, outputs), torch.linspace(1, 0, inputs)
    mask = degrees[0].unsqueeze(-1) >= degrees[1]
    blocks = blocks_of(mask)
    assert len(blocks) == 3
    weight = (numbers(outputs, inputs, seed=1) * mask).requires_grad_()
    value, bias = numbers(3, inputs).requires_grad_(), numbers(outputs, seed=2).requires_grad_()

    def penalised(product: Callable[..., Tensor], *more: Any) -> tuple[Tensor, ...]:
        """Gradients of something with gradients in it."""
        result = product(value, weight, bias, *more).square().sum()
        first = torch.autograd.grad(result, (value, weight, bias), create_graph=True)
        second = torch.autograd.grad(first[0].square().sum() + result, (value, weight))
        return (*(each.detach() for each in first), *second)

    ours, dense = penalised(masked_linear, blocks), penalised(torch.nn.functional.linear)
    alone = torch.autograd.grad(masked_linear(value, weight, bias, blocks).square().sum(), (value, weight, bias))
    for one, other in zip((*ours, *alone), (*dense, *dense[:3]), strict=True):
        masked = other.shape == mask.shape
        torch.testing.assert_close(
            one * mask if masked else one, other * mask if masked else other, rtol=1e-10, atol=1e-10
        )


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_second_derivatives_of_a_layer() -> None:
    layer = build("affine_autoregressive", 3, hidden=[8])
    x = numbers(3)

    def log_det(value: Tensor) -> Tensor:
        found: Tensor = layer.inverse_and_log_det(value)[1]
        return found

    hessian = torch.autograd.functional.hessian(log_det, x)
    step = 1e-5
    for k in range(3):
        away = step * torch.eye(3, dtype=torch.float64)[k]
        up, down = (torch.autograd.functional.jacobian(log_det, x + side * away) for side in (1, -1))
        torch.testing.assert_close(hessian[k], (up - down) / (2 * step), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(torch.func.jacrev(torch.func.jacrev(log_det))(x), hessian, rtol=1e-12, atol=1e-12)
    rows = numbers(5, 3, seed=4)
    each = torch.func.vmap(torch.func.grad(log_det))(rows)
    torch.testing.assert_close(each[0], torch.autograd.functional.jacobian(log_det, rows[0]), rtol=1e-12, atol=1e-12)
