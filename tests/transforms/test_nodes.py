"""Operations that are one node of autograd's graph: gradients of first and second order, and torch.func."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from flowcli.transforms.affine import AffineTransformer, _plain
from flowcli.transforms.masked_product import OUTPUTS_PER_BLOCK, blocks_of, masked_linear
from flowcli.transforms.rational_quadratic import RationalQuadraticSpline
from flowcli.transforms.spline_bins import SplineTransformer

from .test_autoregressive import build

BOUND, BINS = 3.0, 5


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


def spline_inputs() -> tuple[Tensor, Tensor]:
    """Values inside and outside the bounds, and parameters that make bins and slopes of many sizes."""
    return (2 * numbers(5, 4)).requires_grad_(), (3 * numbers(5, 4, 3 * BINS - 1, seed=1)).requires_grad_()


@pytest.mark.parametrize("inverse", [False, True])
def test_gradients_of_the_rational_quadratic_spline(inverse: bool) -> None:
    spline = RationalQuadraticSpline(BINS, BOUND)
    transform = spline.inverse if inverse else spline.forward
    inputs = spline_inputs()
    assert (inputs[0].abs() > BOUND).any()
    assert torch.autograd.gradcheck(transform, inputs)
    assert torch.autograd.gradgradcheck(transform, inputs)
    # With respect to one of the two alone.
    assert torch.autograd.gradcheck(lambda value: transform(value, inputs[1].detach()), inputs[:1])


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("dims", [(0, 0), (1, 1), (None, 0), (0, None)])
def test_splines_side_by_side(inverse: bool, dims: tuple[int | None, int | None]) -> None:
    spline = RationalQuadraticSpline(BINS, BOUND)
    transform = spline.inverse if inverse else spline.forward
    value, parameters = spline_inputs()
    inputs = (value if dims[0] is not None else value[0], parameters if dims[1] is not None else parameters[0])
    together = torch.vmap(transform, in_dims=dims)(*inputs)
    assert "_Spline" in type(together[0].grad_fn).__name__
    value, parameters = (
        tensor.expand(5, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
        for tensor, dim in zip(inputs, dims, strict=True)
    )
    apart = SplineTransformer._evaluate(spline, value, parameters, inverse)
    weights = numbers(*apart[0].shape, seed=2), numbers(*apart[0].shape, seed=3)
    gradients = [
        torch.autograd.grad(sum((weight * each).sum() for weight, each in zip(weights, pair, strict=True)), inputs)  # type: ignore[arg-type]
        for pair in (together, apart)
    ]
    for one, other in zip((*together, *gradients[0]), (*apart, *gradients[1]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_torch_func_looks_into_splines() -> None:
    spline = RationalQuadraticSpline(BINS, BOUND)
    value, parameters = (tensor.detach() for tensor in spline_inputs())

    def total(value: Tensor, parameters: Tensor) -> Tensor:
        result, log_slope = spline.inverse(value, parameters)
        return (result * log_slope).sum()

    whole = torch.func.grad(total, argnums=1)(value, parameters)
    each = torch.func.vmap(torch.func.grad(total, argnums=1))(value, parameters)
    torch.testing.assert_close(each, whole, rtol=1e-12, atol=1e-12)
    parameters.requires_grad_()
    torch.testing.assert_close(
        torch.autograd.grad(total(value, parameters), parameters)[0], whole, rtol=1e-9, atol=1e-11
    )


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
