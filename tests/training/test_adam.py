"""Adam against torch's own optimizers."""

from __future__ import annotations

import pytest
import torch

from flowcli.training.adam import Adam


def gradients(step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(size, generator=generator) for size in (7, 3)]


@pytest.mark.parametrize("decoupled", [True, False])
def test_the_same_steps_as_torchs(decoupled: bool) -> None:
    start = [torch.linspace(-1, 1, 7), torch.linspace(2, 3, 3)]
    ours = [tensor.clone() for tensor in start]
    theirs = [torch.nn.Parameter(tensor.clone()) for tensor in start]
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    other = kind([{"params": theirs[:1], "weight_decay": 0.1}, {"params": theirs[1:], "weight_decay": 0.0}])
    adam = Adam([(ours[0], 0.1), (ours[1], 0.0)], decoupled)
    for step in range(20):
        for each, parameter, gradient in zip(ours, theirs, gradients(step), strict=True):
            each.grad, parameter.grad = gradient, gradient.clone()
        for group in other.param_groups:
            group["lr"] = 0.01 * (step + 1)
        adam.step(0.01 * (step + 1))
        other.step()
        for each, parameter in zip(ours, theirs, strict=True):
            torch.testing.assert_close(each, parameter.detach(), rtol=1e-5, atol=1e-6)


def test_a_restored_state_goes_on_to_the_bit() -> None:
    def run(adam: Adam, steps: range) -> None:
        for step in steps:
            for parameter, gradient in zip(adam.parameters, gradients(step), strict=True):
                parameter.grad = gradient
            adam.step(0.01)

    def start() -> Adam:
        return Adam([(torch.zeros(7), 0.1), (torch.ones(3), 0.0)], True)

    whole, first, then = start(), start(), start()
    run(whole, range(10))
    run(first, range(4))
    then.restore({name: tensor.clone() for name, tensor in first.state().items()})
    for parameter, other in zip(then.parameters, first.parameters, strict=True):
        parameter.copy_(other)
    run(then, range(4, 10))
    assert all(map(torch.equal, whole.parameters, then.parameters))


def test_without_a_gradient_there_is_no_step() -> None:
    with pytest.raises(ValueError, match="no gradient"):
        Adam([(torch.zeros(2), 0.0)], True).step(0.1)
