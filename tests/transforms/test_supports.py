"""Maps to the real line."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcli.transforms.support import PLACEHOLDER, Support
from flowcli.transforms.supports import MAPS, Supports

# Of each map: numbers that it takes, the ends of its domain among them.
DOMAINS = {
    "none": (-50.0, 50.0),
    "arcsinh": (-1e6, 1e6),
    "log": (1e-9, 1e6),
    "softplus": (1e-9, 1e3),
    "logit": (1e-9, 1 - 1e-9),
}


def supports(name: str, step: float = 0.0) -> Supports:
    return Supports([Support(name, center=0.3, spread=1.7, unit=-2.5 if name == "log" else 2.5, step=step)])


def test_every_map_is_here():
    assert set(MAPS) == set(DOMAINS)
    for name, (low, high) in DOMAINS.items():
        assert low < PLACEHOLDER < high, name


@pytest.mark.parametrize("name", MAPS)
@settings(deadline=None)
@given(share=st.floats(0, 1))
def test_there_and_back(name: str, share: float):
    low, high = DOMAINS[name]
    u = torch.tensor([[low + share * (high - low)]], dtype=torch.float64)
    real, log_slope = supports(name).to_real(u)
    assert torch.isfinite(real).all()
    back = supports(name).from_real(real)
    # Near one, the logit's inverse has the digits of one minus it.
    torch.testing.assert_close(back, u, rtol=1e-9, atol=1e-15)
    u.requires_grad_()
    (slope,) = torch.autograd.grad(supports(name).to_real(u)[0].sum(), u)
    torch.testing.assert_close(log_slope, torch.log(slope / 2.5), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", MAPS)
@settings(deadline=None)
@given(seed=st.integers(0, 1000))
def test_blurring_stays_on_the_step_and_in_the_domain(name: str, seed: int):
    """A value at the end of its domain, half a step from the bound, as the encoder has it."""
    step = 0.125
    generator = torch.Generator().manual_seed(seed)
    uniforms = torch.rand(64, 1, generator=generator)
    uniforms[0], uniforms[1] = 0.0, 1 - 2**-24
    for u in (step / 2, 1 - step / 2):
        moved = supports(name, step).spread_over_steps(torch.full((64, 1), u), uniforms)
        assert ((moved - u).abs() <= step / 2 + 1e-6).all()
        assert torch.isfinite(supports(name, step).to_real(moved)[0]).all()


def test_blurring_is_uniform():
    moved = supports("none", 0.5).spread_over_steps(torch.zeros(10_000, 1), torch.rand(10_000, 1))
    counts = np.histogram(moved.numpy(), bins=10, range=(-0.25, 0.25))[0]
    assert counts.sum() == 10_000
    assert counts.min() > 850


def test_far_samples_do_not_overflow():
    for name in MAPS:
        u = supports(name).from_real(torch.tensor([[1e6], [-1e6]]).double())
        assert torch.isfinite(u).all(), name
