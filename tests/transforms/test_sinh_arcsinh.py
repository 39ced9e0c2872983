"""Sinh-arcsinh against Jones & Pewsey 2009: density, moments, and what its parameters do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import kv

from flowcli.transforms.sinh_arcsinh import SinhArcsinhTransformer
from flowcli.transforms.transformer import soft_clip

SETTINGS = [(0.0, 0.0), (0.7, 0.0), (-1.2, 0.4), (0.3, -0.5)]


def parameters(epsilon: float, raw_log_delta: float, rows: int) -> tuple[torch.Tensor, float]:
    raw = torch.tensor([epsilon, raw_log_delta, 0.0, 0.0], dtype=torch.float64).expand(rows, 4)
    return raw, math.exp(float(soft_clip(torch.tensor(raw_log_delta, dtype=torch.float64), 1.5)))


def log_density(x: np.ndarray, epsilon: float, raw_log_delta: float) -> np.ndarray:
    raw, _ = parameters(epsilon, raw_log_delta, len(x))
    z, log_slope = SinhArcsinhTransformer().inverse(torch.from_numpy(x), raw)
    return (-0.5 * z * z - 0.5 * math.log(2 * math.pi) + log_slope).numpy()


@pytest.mark.parametrize(("epsilon", "raw"), SETTINGS)
def test_the_density_is_the_published_one(epsilon, raw):
    x = np.linspace(-8, 8, 101)
    delta = parameters(epsilon, raw, 1)[1]
    s = np.sinh(delta * np.arcsinh(x) - epsilon)
    c = np.cosh(delta * np.arcsinh(x) - epsilon)
    published = delta * c * np.exp(-s * s / 2) / np.sqrt(2 * np.pi * (1 + x * x))
    np.testing.assert_allclose(np.exp(log_density(x, epsilon, raw)), published, rtol=1e-10)


@pytest.mark.parametrize(("epsilon", "raw"), SETTINGS)
def test_the_moments_are_the_published_ones(epsilon, raw):
    delta = parameters(epsilon, raw, 1)[1]

    def p(q: float) -> float:
        return math.exp(0.25) / math.sqrt(8 * math.pi) * (kv((q + 1) / 2, 0.25) + kv((q - 1) / 2, 0.25))

    first = math.sinh(epsilon / delta) * p(1 / delta)
    second = 0.5 * (math.cosh(2 * epsilon / delta) * p(2 / delta) - 1)
    # Heavy tails: integrate over z, in which the density is the base's.
    z, weights = np.polynomial.hermite_e.hermegauss(160)
    x, _ = SinhArcsinhTransformer().forward(torch.from_numpy(z), parameters(epsilon, raw, len(z))[0])
    weights = weights / math.sqrt(2 * math.pi)
    assert weights @ x.numpy() == pytest.approx(first, rel=1e-6, abs=1e-9)
    assert weights @ x.numpy() ** 2 == pytest.approx(second, rel=1e-6)


def test_far_values_stay_finite_both_ways():
    x = torch.tensor([-1e12, 1e12], dtype=torch.float64)
    for raw in ((3.0, 40.0, 0.0, 0.0), (-3.0, -40.0, 2.0, 40.0)):
        theta = torch.tensor(raw, dtype=torch.float64).expand(2, 4)
        for result in SinhArcsinhTransformer().inverse(x, theta):
            assert torch.isfinite(result).all()
