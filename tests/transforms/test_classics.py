"""Planar, radial and Sylvester flows under strong parameters, and their numerical inverses."""

from __future__ import annotations

import pytest
import torch

from flowcli.errors import ConfigError
from flowcli.transforms.classics import OneWay, Planar, Radial, Sylvester
from flowcli.transforms.normalizing import ActNorm
from flowcli.transforms.root_finding import solve_increasing


def built(kind: str, features: int, seed: int, size: float) -> OneWay:
    torch.manual_seed(seed)
    made = {
        "planar": lambda: Planar(features, 0, direction="sampling"),
        "radial": lambda: Radial(features, 0, direction="sampling"),
        "sylvester": lambda: Sylvester(features, 0, direction="sampling", units=min(features, 4)),
    }[kind]()
    for parameter in made.parameters():
        parameter.data = torch.randn_like(parameter) * size
    return made.double()


@pytest.mark.parametrize("size", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("features", [1, 2, 6])
@pytest.mark.parametrize("kind", ["planar", "radial", "sylvester"])
def test_strong_parameters_are_still_inverted(kind, features, size):
    for seed in range(5):
        transform = built(kind, features, seed, size)
        z = torch.randn(50, features, dtype=torch.float64, generator=torch.Generator().manual_seed(9)) * 2
        x, log_det = transform.forward_and_log_det(z)
        back, inverse_log_det = transform.inverse_and_log_det(x)
        # Where the map nearly flattens, a rounding of x is many of z.
        lost = 1e-13 * torch.exp(-log_det).clamp_min(1).unsqueeze(-1) * (1 + x.abs())
        assert ((back - z).abs() < 1e-5 + lost).all()
        assert torch.isfinite(inverse_log_det).all()


@pytest.mark.parametrize("kind", ["planar", "sylvester"])
def test_the_root_carries_the_gradient(kind):
    transform = built(kind, 3, 0, 0.7)
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    parameters = list(transform.parameters())

    def solved() -> torch.Tensor:
        return transform.inverse_and_log_det(x)[0].sum()

    for parameter, gradient in zip(parameters, torch.autograd.grad(solved(), parameters), strict=True):
        step = torch.zeros_like(parameter)
        step.view(-1)[-1] = 1e-5
        with torch.no_grad():
            parameter += step
            above = solved()
            parameter -= 2 * step
            below = solved()
            parameter += step
        assert gradient.reshape(-1)[-1].item() == pytest.approx(((above - below) / 2e-5).item(), abs=1e-6, rel=1e-4)


def test_more_sylvester_units_than_columns_are_refused():
    with pytest.raises(ConfigError, match=r"sylvester\.units"):
        Sylvester(2, 0, direction="density", units=3)


def test_roots_are_found_to_the_last_digits():
    target = torch.linspace(-3, 3, 25, dtype=torch.float64)

    def cube(value):
        return value**3 + value, 3 * value * value + 1

    root = solve_increasing(cube, target, target - 10, target + 10)
    torch.testing.assert_close(cube(root)[0], target, atol=1e-14, rtol=1e-14)


def test_actnorm_starts_with_standardised_rows():
    torch.manual_seed(0)
    rows = torch.randn(500, 3) * torch.tensor([0.1, 1.0, 30.0]) + torch.tensor([5.0, -2.0, 100.0])
    layer = ActNorm(3, 0)
    layer.initialize(rows)
    z, _ = layer.inverse_and_log_det(rows)
    torch.testing.assert_close(z.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(3), atol=1e-4, rtol=0)
