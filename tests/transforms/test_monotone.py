"""Monotone networks and polynomials against what they are made of, far out, and back."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from flowcli.transforms.block_autoregressive import SMALL_SHARE, BlockNeuralAutoregressive
from flowcli.transforms.deep_sigmoid import DeepSigmoidTransformer
from flowcli.transforms.one_way import OneWayTransformer
from flowcli.transforms.sum_of_squares import SMALLEST_SLOPE, SumOfSquaresTransformer
from flowcli.transforms.unconstrained_monotonic import UnconstrainedMonotonicTransformer

from .cases import perturb

FAR = torch.tensor([-1e6, -1e3, -50.0, -5.0, -0.3, 0.0, 1.0, 5.0, 50.0, 1e3, 1e6], dtype=torch.float64)


def transformers(direction: str = "density") -> dict[str, OneWayTransformer]:
    return {
        "deep_sigmoid": DeepSigmoidTransformer(units=6, direction=direction),
        "sum_of_squares": SumOfSquaresTransformer(polynomials=2, degree=3, bound=4.0, direction=direction),
        "unconstrained_monotonic": UnconstrainedMonotonicTransformer(units=5, bound=4.0, direction=direction),
    }


every_transformer = pytest.mark.parametrize("name", list(transformers()))


def raw(transformer: OneWayTransformer, seed: int = 0, size: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(transformer.parameter_count, generator=generator, dtype=torch.float64)


def test_deep_sigmoids_are_a_logit_of_a_sum():
    transformer = transformers()["deep_sigmoid"]
    theta = raw(transformer)
    x = np.linspace(-4, 4, 33)
    slopes, offsets, weights = theta.numpy().reshape(3, -1)
    a = np.exp(slopes / (1 + np.abs(slopes) / math.log(50)))
    b = offsets * np.linspace(0.5, 2, 6)
    w = np.exp(weights / (1 + np.abs(weights) / math.log(1000) * 2))
    p = (w / w.sum() / (1 + np.exp(-(np.outer(x, a) + b)))).sum(1)
    z, _ = transformer.inverse(torch.from_numpy(x), theta)
    np.testing.assert_allclose(z.numpy(), (np.log(p / (1 - p)) + 1e-3 * x) / 1.001, rtol=1e-10, atol=1e-12)


def test_deep_sigmoids_go_on_in_float32_where_their_sum_rounds_to_one():
    transformer = transformers()["deep_sigmoid"]
    x = torch.tensor([-1e3, -50.0, 50.0, 1e3], dtype=torch.float64)
    for seed in range(5):
        theta = raw(transformer, seed)
        for wide, narrow in zip(
            transformer.inverse(x, theta), transformer.inverse(x.float(), theta.float()), strict=True
        ):
            torch.testing.assert_close(narrow.double(), wide, rtol=1e-6, atol=1e-4)


def test_sums_of_squares_are_integrated_exactly():
    transformer = transformers()["sum_of_squares"]
    theta = raw(transformer)
    coefficients = theta[:-1].reshape(2, 4).numpy().copy()
    constants = np.array([1.5, 0.5])
    coefficients[:, 0] += constants / np.sqrt((constants**2).mean())
    polynomials = [np.polynomial.Polynomial(row, domain=[-4, 4]) for row in coefficients]
    slope = (SMALLEST_SLOPE + sum(p**2 for p in polynomials) / 2) / (1 + SMALLEST_SLOPE)
    area = slope.integ(lbnd=0)
    x = np.linspace(-4, 4, 33)
    z, log_slope = transformer.inverse(torch.from_numpy(x), theta)
    np.testing.assert_allclose(z.numpy(), area(x) + theta[-1].item(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.exp(log_slope.numpy()), slope(x), rtol=1e-12)
    beyond, _ = transformer.inverse(torch.tensor([9.0], dtype=torch.float64), theta)
    assert beyond.item() == pytest.approx(area(4.0) + 5 * slope(4.0) + theta[-1].item(), rel=1e-12)


@pytest.mark.parametrize("size", [1.0, 3.0, 10.0])
def test_positive_networks_are_integrated(size):
    transformer = transformers()["unconstrained_monotonic"]
    for seed in range(5):
        theta = raw(transformer, seed, size)

        def log_slope(u: float, theta: Tensor = theta) -> float:
            return transformer.inverse(torch.tensor(u, dtype=torch.float64), theta)[1].item()

        for x in (-4.0, -1.3, 0.4, 3.0, 4.0):
            z = transformer.inverse(torch.tensor(x, dtype=torch.float64), theta)[0].item()
            area = quad(lambda u: math.exp(log_slope(u)), 0, x, epsabs=1e-12, epsrel=1e-12, limit=500)[0]
            assert z - theta[-1].item() == pytest.approx(area, rel=1e-8, abs=1e-8)
            assert abs(log_slope(x)) < math.log(1000)


@every_transformer
@pytest.mark.parametrize("size", [0.0, 1.0, 3.0])
def test_far_values_come_back(name, size):
    transformer = transformers()[name]
    for seed in range(5):
        theta = raw(transformer, seed, size)
        x, log_slope = transformer.forward(FAR, theta)
        z, log_slope_back = transformer.inverse(x, theta)
        torch.testing.assert_close(z, FAR, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(log_slope, -log_slope_back, rtol=1e-9, atol=1e-9)
        assert (x.diff() > 0).all()


@every_transformer
def test_directions_change_places(name):
    theta = raw(transformers()[name])
    density, sampling = transformers("density")[name], transformers("sampling")[name]
    for one, other in (
        (density.inverse(FAR, theta), sampling.forward(FAR, theta)),
        (density.forward(FAR, theta), sampling.inverse(FAR, theta)),
    ):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@every_transformer
def test_parameters_leave_zero_and_part(name):
    # Two modes: the best shift and scale of a normal are left behind only by units that part.
    transformer = transformers()[name]
    generator = torch.Generator().manual_seed(0)
    side = torch.randint(2, (500,), generator=generator) * 2 - 1
    x = 0.95 * side + 0.3 * torch.randn(500, generator=generator)
    theta = torch.zeros(transformer.parameter_count, requires_grad=True)
    optimizer = torch.optim.Adam([theta], lr=0.05)
    for _ in range(300):
        z, log_slope = transformer.inverse(x, theta)
        loss = (0.5 * z * z + 0.5 * math.log(2 * math.pi) - log_slope).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # A normal gives 1.41, the truth 0.89.
    assert loss.item() < 1.0


def block(features: int, context_features: int = 0, seed: int = 0, size: float = 1.0) -> BlockNeuralAutoregressive:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = BlockNeuralAutoregressive(
            features, context_features, direction="density", hidden_factor=8, layers=2
        ).double()
        perturb(layer, size)
    return layer


def rows(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_blocks_jacobian_is_triangular_and_full():
    layer = block(5)
    for direction in (layer.inverse_and_log_det, layer.forward_and_log_det):
        jacobian = torch.autograd.functional.jacobian(
            lambda v, f=direction: f(v)[0].sum(0), rows(16, 5), vectorize=True
        ).transpose(0, 1)
        assert not torch.triu(jacobian, diagonal=1).any()
        assert (torch.diagonal(jacobian, dim1=1, dim2=2) > 0).all()
        assert (jacobian.abs().amax(0)[torch.tril(torch.ones(5, 5), diagonal=-1).bool()] > 1e-6).all()


@pytest.mark.parametrize("size", [0.0, 1.0, 3.0])
def test_a_block_is_onto(size):
    layer = block(4, size=size)
    z = FAR[:, None] * torch.tensor([1.0, -1.0, 0.5, -2.0], dtype=torch.float64)
    x, log_det = layer.forward_and_log_det(z)
    back, log_det_back = layer.inverse_and_log_det(x)
    torch.testing.assert_close(back, z, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_det, -log_det_back, rtol=1e-8, atol=1e-8)
    # Far out, the gate's share of the identity.
    expected = torch.nn.functional.logsigmoid(-layer.gate - SMALL_SHARE).sum()
    torch.testing.assert_close(log_det_back[[0, -1]], expected.expand(2), rtol=1e-9, atol=1e-9)


def test_a_context_has_a_say_in_every_column_of_a_block():
    layer = block(3, context_features=2)
    x = rows(1, 3)
    jacobian = torch.autograd.functional.jacobian(
        lambda context: layer.inverse_and_log_det(x, context)[0][0], rows(1, 2, seed=4)
    )
    assert (jacobian.abs() > 1e-6).all()
    with pytest.raises(ValueError, match="context"):
        layer.inverse_and_log_det(x)


@pytest.mark.parametrize(("hidden_factor", "layers"), [(1, 1), (3, 1), (2, 4)])
def test_blocks_of_any_size_are_inverted(hidden_factor, layers):
    torch.manual_seed(0)
    layer = BlockNeuralAutoregressive(3, 0, direction="sampling", hidden_factor=hidden_factor, layers=layers).double()
    z = rows(20, 3)
    back, _ = layer.inverse_and_log_det(layer.forward_and_log_det(z)[0])
    torch.testing.assert_close(back, z, rtol=1e-9, atol=1e-9)


def test_twenty_columns_are_inverted_in_time():
    layer, z = block(20), rows(64, 20)
    started = time.perf_counter()
    layer.forward_and_log_det(z)
    # 0.06 s on one core: far from what d whole networks for each step would take.
    assert time.perf_counter() - started < 2
