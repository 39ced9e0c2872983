"""Parameters that are views of few long tensors."""

from __future__ import annotations

import torch
from torch import nn

from flowcli.training.flat import FlatParameters


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleList([nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(2, 2, dtype=torch.float64)])


def test_parameters_keep_their_values_and_follow_the_tensor() -> None:
    parts = module()
    before = [parameter.clone() for parameter in parts.parameters()]
    flat = FlatParameters([list(parts.parameters())])
    assert [tensor.dtype for tensor in flat.tensors] == [torch.float32, torch.float64]
    assert sum(len(tensor) for tensor in flat.tensors) == sum(parameter.numel() for parameter in before)
    assert all(map(torch.equal, parts.parameters(), before))
    for tensor in flat.tensors:
        tensor.add_(1)
    assert all(torch.equal(now, then + 1) for now, then in zip(parts.parameters(), before, strict=True))
    # The other way, as loading a state does.
    parts.load_state_dict(module().state_dict())
    assert torch.equal(flat.tensors[0][:12].view(4, 3), next(module().parameters()))


def test_gradients_are_those_of_the_parameters() -> None:
    parts, other = module(), module()
    flat = FlatParameters([list(parts[0].parameters()), list(parts[1].parameters())])
    rows = torch.randn(5, 3)

    def loss(of: nn.Module) -> torch.Tensor:
        return of[1](of[0](rows)).square().mean()  # type: ignore[index, no-any-return, operator]

    flat.differentiate(loss(parts))
    loss(other).backward()  # type: ignore[no-untyped-call]
    for tensor, part in zip(flat.tensors, (other[0], other[1]), strict=True):  # type: ignore[index]
        expected = torch.cat([parameter.grad.flatten() for parameter in part.parameters()])  # type: ignore[union-attr]
        assert tensor.grad is not None
        torch.testing.assert_close(tensor.grad, expected, rtol=0, atol=0)


def test_a_parameter_that_is_not_used_has_gradient_zero() -> None:
    parts = module()
    flat = FlatParameters([list(parts[0].parameters()) + list(parts[1].parameters())])
    flat.differentiate(parts[1](torch.randn(5, 4)).sum())
    (tensor,) = flat.tensors
    assert tensor.grad is not None
    assert not tensor.grad[:16].any()
    assert tensor.grad[16:].all()


def test_masked_parameters_stay_within_their_masks() -> None:
    weight, other = nn.Parameter(torch.randn(2, 3)), nn.Parameter(torch.randn(4))
    mask = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    start = weight.detach().clone()
    flat = FlatParameters([[weight, other]], {weight: mask})
    torch.testing.assert_close(weight.detach(), start * mask, rtol=0, atol=0)
    # The gradient is that of a product with the mask.
    (gradient,) = flat.differentiate((weight.exp().sum() + other.square().sum()) * 2)
    expected = torch.cat([(2 * weight.detach().exp() * mask).reshape(-1), 4 * other.detach()])
    torch.testing.assert_close(gradient, expected)
    with torch.no_grad():
        weight.copy_(start)
    flat.mask()
    torch.testing.assert_close(weight.detach(), start * mask, rtol=0, atol=0)
