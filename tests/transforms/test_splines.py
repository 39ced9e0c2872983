"""The splines against their papers' formulas, and where they meet the identity."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flowcli.transforms.spline_bins import LARGEST_RATIO, SplineTransformer
from flowcli.transforms.splines import SPLINES, LinearSpline

BOUND = 3.0
BINS = 6
KINDS = [kind for kind in SPLINES if kind != "linear"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def spline(kind: str, bins: int = BINS, bound: float = BOUND) -> SplineTransformer:
    return SPLINES[kind](bins, bound)


def raw_parameters(kind: str, rows: int, seed: int = 0, size: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(rows, spline(kind).parameter_count, generator=generator, dtype=torch.float64)


class Reference:
    """One spline in NumPy, knots and slopes from raw parameters as the class's docstring says, pieces as the paper."""

    def __init__(self, kind: str, raw: np.ndarray, bins: int = BINS, bound: float = BOUND) -> None:
        def clip(values: np.ndarray, largest: float) -> np.ndarray:
            return values / (1 + np.abs(values) / largest)

        def knots(values: np.ndarray) -> np.ndarray:
            exponentials = np.exp(clip(values, math.log(LARGEST_RATIO) / 2))
            return bound * (2 * np.concatenate([[0], np.cumsum(exponentials)]) / exponentials.sum() - 1)

        self.kind, self.bound = kind, bound
        self.x, self.y = knots(raw[:bins]), knots(raw[bins : 2 * bins])
        self.slopes = np.concatenate([[1], np.exp(clip(raw[2 * bins : 3 * bins - 1], math.log(LARGEST_RATIO))), [1]])
        self.splits = 0.025 + 0.95 / (1 + np.exp(-raw[3 * bins - 1 :]))

    def bin(self, value: float, knots: np.ndarray) -> int:
        return int(np.clip(np.searchsorted(knots, value, side="right") - 1, 0, len(knots) - 2))

    def forward(self, value: float) -> tuple[float, float]:
        """The image and the log-slope."""
        if abs(value) >= self.bound:
            return value, 0.0
        k = self.bin(value, self.x)
        width, height = self.x[k + 1] - self.x[k], self.y[k + 1] - self.y[k]
        left, right = self.slopes[k], self.slopes[k + 1]
        xi = (value - self.x[k]) / width
        if self.kind == "rational_quadratic":
            # Durkan et al. 2019, equations 4 and 5.
            s = height / width
            below = s + (right + left - 2 * s) * xi * (1 - xi)
            image = self.y[k] + height * (s * xi**2 + left * xi * (1 - xi)) / below
            slope = s**2 * (right * xi**2 + 2 * s * xi * (1 - xi) + left * (1 - xi) ** 2) / below**2
            return image, math.log(slope)
        # Dolatabadi, Erfani & Leckie 2020, algorithm 1 and equations 5 to 8, with absolute heights.
        split = self.splits[k]
        w_left, w_right = 1.0, math.sqrt(left / right)
        y_left, y_right = self.y[k], self.y[k + 1]
        y_middle = ((1 - split) * w_left * y_left + split * w_right * y_right) / (
            (1 - split) * w_left + split * w_right
        )
        w_middle = (split * w_left * left + (1 - split) * w_right * right) * width / height
        if xi <= split:
            below = w_left * (split - xi) + w_middle * xi
            image = (w_left * y_left * (split - xi) + w_middle * y_middle * xi) / below
            slope = split * w_left * w_middle * (y_middle - y_left) / below**2 / width
        else:
            below = w_middle * (1 - xi) + w_right * (xi - split)
            image = (w_middle * y_middle * (1 - xi) + w_right * y_right * (xi - split)) / below
            slope = (1 - split) * w_middle * w_right * (y_right - y_middle) / below**2 / width
        return image, math.log(slope)

    def inverse(self, value: float) -> float:
        """Durkan et al. 2019, equations 6 to 8; by bisection for the linear-rational spline."""
        if abs(value) >= self.bound:
            return value
        if self.kind == "linear_rational":
            low, high = -self.bound, self.bound
            for _ in range(60):
                middle = (low + high) / 2
                low, high = (middle, high) if self.forward(middle)[0] < value else (low, middle)
            return (low + high) / 2
        k = self.bin(value, self.y)
        width, height = self.x[k + 1] - self.x[k], self.y[k + 1] - self.y[k]
        left, right = self.slopes[k], self.slopes[k + 1]
        s = height / width
        rise = value - self.y[k]
        a = height * (s - left) + rise * (right + left - 2 * s)
        b = height * left - rise * (right + left - 2 * s)
        c = -s * rise
        return float(2 * c / (-b - math.sqrt(b * b - 4 * a * c)) * width + self.x[k])


@every_kind
@pytest.mark.parametrize("size", [0.0, 1.0, 4.0])
def test_is_the_papers(kind: str, size: float) -> None:
    raw = raw_parameters(kind, 20, size=size)
    points = np.linspace(-1.2 * BOUND, 1.2 * BOUND, 37)
    for parameters in raw:
        reference = Reference(kind, parameters.numpy())
        expected = np.array([reference.forward(point) for point in points])
        values = torch.from_numpy(points)
        found, log_slope = spline(kind).forward(values, parameters.expand(len(points), -1))
        np.testing.assert_allclose(found.numpy(), expected[:, 0], atol=1e-10, rtol=1e-10)
        np.testing.assert_allclose(log_slope.numpy(), expected[:, 1], atol=1e-8)
        back, _ = spline(kind).inverse(values, parameters.expand(len(points), -1))
        np.testing.assert_allclose(back.numpy(), [reference.inverse(point) for point in points], atol=1e-8)


@every_kind
def test_passes_through_its_knots_with_its_slopes(kind: str) -> None:
    for parameters in raw_parameters(kind, 50):
        reference = Reference(kind, parameters.numpy())
        inner = torch.from_numpy(reference.x[1:-1])
        found, log_slope = spline(kind).forward(inner, parameters.expand(len(inner), -1))
        np.testing.assert_allclose(found.numpy(), reference.y[1:-1], atol=1e-12)
        # A knot belongs to two bins; rounding may put it in either.
        np.testing.assert_allclose(log_slope.numpy(), np.log(reference.slopes[1:-1]), atol=1e-7)
        inner = torch.from_numpy(reference.y[1:-1])
        found, log_slope = spline(kind).inverse(inner, parameters.expand(len(inner), -1))
        np.testing.assert_allclose(found.numpy(), reference.x[1:-1], atol=1e-12)
        np.testing.assert_allclose(log_slope.numpy(), -np.log(reference.slopes[1:-1]), atol=1e-7)


@every_kind
def test_slope_is_one_at_the_bound(kind: str) -> None:
    raw = raw_parameters(kind, 200)
    for sign in (-1, 1):
        for direction in (spline(kind).forward, spline(kind).inverse):
            # 1e-9 inside: the slope changes by no more than curvature times that.
            value, log_slope = direction(torch.full((200,), sign * (BOUND - 1e-9), dtype=torch.float64), raw)
            assert log_slope.abs().max() < 1e-5
            assert (value - sign * BOUND).abs().max() < 2e-9
            value, log_slope = direction(torch.full((200,), sign * BOUND, dtype=torch.float64), raw)
            assert (value == sign * BOUND).all()
            assert log_slope.abs().max() < 1e-12


@every_kind
@pytest.mark.parametrize("far", [BOUND, BOUND + 1e-6, 10.0, 1e6, 1e20])
def test_is_the_identity_outside(kind: str, far: float) -> None:
    for dtype in (torch.float32, torch.float64):
        raw = raw_parameters(kind, 20).to(dtype).requires_grad_()
        for direction in (spline(kind).forward, spline(kind).inverse):
            value = torch.full((20,), far, dtype=dtype)
            value[::2] *= -1
            value.requires_grad_()
            found, log_slope = direction(value, raw)
            assert torch.equal(found, value)
            assert not log_slope.any()
            to_value, to_raw = torch.autograd.grad(found.sum() + log_slope.sum(), [value, raw])
            # At the bound itself the subgradient is either side's, and both are 1.
            assert (to_value == 1).all()
            assert not to_raw.any()


raws = st.sampled_from(KINDS).flatmap(
    lambda kind: st.tuples(
        st.just(kind), hnp.arrays(np.float64, spline(kind).parameter_count, elements=st.floats(-20, 20, width=32))
    )
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(raws)
def test_increases_and_inverts_whatever_the_parameters(kind_and_raw: tuple[str, np.ndarray]) -> None:
    kind, raw = kind_and_raw
    values = torch.linspace(-1.1 * BOUND, 1.1 * BOUND, 301, dtype=torch.float64)
    parameters = torch.from_numpy(raw).expand(301, -1)
    for first, second in (
        (spline(kind).forward, spline(kind).inverse),
        (spline(kind).inverse, spline(kind).forward),
    ):
        image, log_slope = first(values, parameters)
        assert log_slope.isfinite().all()
        assert (image.diff() > 0).all()
        back, log_slope_back = second(image, parameters)
        # Slopes reach about 1e6 where bins and slopes are at their extremes.
        assert (back - values).abs().max() < 1e-8
        assert (log_slope + log_slope_back).abs().max() < 1e-4


@settings(max_examples=150, deadline=None, derandomize=True)
@given(raws, st.sampled_from([torch.float32, torch.float64]))
def test_gradients_are_finite_whatever_the_parameters(kind_and_raw: tuple[str, np.ndarray], dtype: torch.dtype) -> None:
    kind, raw = kind_and_raw
    reference = Reference(kind, raw)
    edges = [-1e20, -BOUND, BOUND, 1e20, 0.0, np.nextafter(np.float32(BOUND), np.float32(0))]
    for direction, knots in ((spline(kind).forward, reference.x), (spline(kind).inverse, reference.y)):
        values = torch.from_numpy(np.concatenate([knots, edges])).to(dtype).requires_grad_()
        parameters = torch.from_numpy(raw).to(dtype).requires_grad_()
        image, log_slope = direction(values, parameters.expand(len(values), -1))
        assert image.isfinite().all()
        assert log_slope.isfinite().all()
        for gradient in torch.autograd.grad(image.sum() + log_slope.sum(), [values, parameters]):
            assert gradient.isfinite().all()


@every_kind
@pytest.mark.parametrize("bins", [2, 64])
def test_any_number_of_bins(kind: str, bins: int) -> None:
    transformer = spline(kind, bins, 5.0)
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(101, transformer.parameter_count, generator=generator, dtype=torch.float64)
    values = torch.linspace(-5, 5, 101, dtype=torch.float64)
    image, _ = transformer.forward(values, raw)
    back, _ = transformer.inverse(image, raw)
    torch.testing.assert_close(back, values, atol=1e-9, rtol=0)


@pytest.mark.parametrize("size", [0.5, 3.0])
def test_the_linear_spline_joins_its_knots_and_goes_on(size):
    transformer = LinearSpline(BINS, BOUND)
    raw = size * torch.randn(
        transformer.parameter_count, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    reference = Reference("linear", np.concatenate([raw.numpy(), np.zeros(2 * BINS)]))
    x = torch.linspace(-BOUND, BOUND, 401, dtype=torch.float64)
    y, _ = transformer.forward(x, raw.expand(len(x), -1))
    np.testing.assert_allclose(y, np.interp(x, reference.x, reference.y), atol=1e-12)
    # Beyond the bounds the outer pieces go on with the slope that they have.
    for at, piece in ((-20.0, 0), (20.0, -1)):
        slope = np.diff(reference.y)[piece] / np.diff(reference.x)[piece]
        end = reference.y[piece] + (at - reference.x[piece]) * slope
        far, far_slope = transformer.forward(torch.tensor([at], dtype=torch.float64), raw[None])
        assert far.item() == pytest.approx(end, rel=1e-12)
        assert far_slope.item() == pytest.approx(math.log(slope), rel=1e-12)
    back, _ = transformer.inverse(y, raw.expand(len(x), -1))
    np.testing.assert_allclose(back, x, atol=1e-10)
