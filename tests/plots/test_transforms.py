"""A picture of every registered transform."""

import itertools

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from scipy.stats import multivariate_normal

from flowcli.plots import warp
from flowcli.plots.elementwise import PLACES, REACH, curve, elementwise, variations
from flowcli.plots.warp import draw_parameters, plane_density
from flowcli.plotting import transform_picture
from flowcli.transforms import registry
from flowcli.transforms.catalogue import CONDITIONER
from flowcli.transforms.transformer import Transformer

SMALL = {"hidden": [8, 8]}
ELEMENTWISE = [name for name, entry in registry.entries().items() if entry.transformer]
KINDS = [
    (name, {"kind": kind}) if kind else (name, {})
    for name in ELEMENTWISE
    for kind in (("rational_quadratic", "linear_rational", "linear") if name == "spline" else (None,))
]


def parameters(name, **changed):
    entry = registry.entries()[name]
    found = {p.name: p.default for p in entry.parameters}
    found |= {key: value for key, value in SMALL.items() if key in found}
    if "transformer" in found:
        found["transformer"] = {"affine": {"log_scale_bound": 3.0}}
    return {**found, **changed}


def transformer_of(name, changed):
    own = [p.name for p in registry.entries()[name].parameters if p not in CONDITIONER]
    return registry.build_transformer({name: {key: parameters(name, **changed)[key] for key in own}})


@pytest.mark.parametrize("name", registry.entries())
def test_every_transform_has_a_picture(name, monkeypatch):
    monkeypatch.setattr(warp, "PLACES_EACH_WAY", 31)
    monkeypatch.setattr(warp, "PLACES_ON_LINE", 11)
    figure = transform_picture(name, parameters(name), seed=0)
    entry = registry.entries()[name]
    plane = not entry.transformer and entry.domain == "real"
    assert len(figure.axes) % 3 == 0
    assert figure.get_suptitle() == name
    for axes in figure.axes:
        assert axes.get_lines() or axes.collections
        assert all(np.isfinite(axes.get_xlim() + axes.get_ylim()))
    assert plane == any(axes.get_title("left") == "density of x" for axes in figure.axes)


@pytest.mark.parametrize(("name", "changed"), KINDS, ids=str)
def test_curves_are_the_transform_and_its_slope(name, changed):
    transformer = transformer_of(name, changed)
    figure = elementwise(name, transformer)
    varied = variations(transformer)
    grid = np.array(figure.axes).reshape(3, len(varied))
    z = torch.linspace(-REACH, REACH, PLACES, dtype=torch.float64)
    for column, variation in enumerate(varied):
        assert grid[0, column].get_title("left") == variation.name
        lines = [axes.get_lines()[: len(variation.values)] for axes in grid[:, column]]
        for value, top, middle, bottom in zip(variation.values, *lines, strict=True):
            raw = torch.from_numpy(variation.raw(value)).expand(PLACES, -1)
            inside = z.clone().requires_grad_()
            x = transformer.forward(inside, raw)[0]
            (slope,) = torch.autograd.grad(x.sum(), inside)
            np.testing.assert_allclose(top.get_ydata(), x.detach(), atol=1e-9)
            # At a knot of straight pieces, autograd may take the one on the other side.
            off = np.abs(middle.get_ydata() / slope.numpy() - 1) > 1e-6
            assert off.sum() <= (8 if changed.get("kind") == "linear" else 0)
            reached = trapezoid(bottom.get_ydata(), bottom.get_xdata())
            # What 3.5 standard deviations hold, but for jumps between two places.
            assert reached == pytest.approx(0.99953, abs=0.03)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_parameters_that_are_varied_make_a_difference(name):
    transformer = transformer_of(name, {})
    z = np.linspace(-REACH, REACH, 31)
    for variation in variations(transformer):
        curves = [curve(transformer, variation.raw(value), z).x for value in variation.values]
        for one, other in itertools.pairwise(curves):
            assert np.abs(one - other).max() > 0.05


def test_values_are_those_of_the_formula():
    """``x = sinh((arcsinh(z) + epsilon) / delta)`` and ``x = exp(s) z + t``, with the values that the legend tells."""
    z = np.linspace(-3, 3, 11)
    epsilon, delta = variations(transformer_of("sinh_arcsinh", {}))
    for value in epsilon.values:
        found = curve(transformer_of("sinh_arcsinh", {}), epsilon.raw(value), z).x
        np.testing.assert_allclose(found, np.sinh(np.arcsinh(z) + value), atol=1e-12)
    for value in delta.values:
        found = curve(transformer_of("sinh_arcsinh", {}), delta.raw(value), z).x
        np.testing.assert_allclose(found, np.sinh(np.arcsinh(z) / value), atol=1e-12)
    shift, scale = variations(transformer_of("affine", {}))
    for value in shift.values:
        np.testing.assert_allclose(curve(transformer_of("affine", {}), shift.raw(value), z).x, z + value)
    for value in scale.values:
        np.testing.assert_allclose(curve(transformer_of("affine", {}), scale.raw(value), z).x, z * value)


def test_a_transformer_that_is_not_known_here():
    class Shift(Transformer):
        parameter_count = 1

        def forward(self, z, parameters):
            return z + parameters[..., 0], torch.zeros_like(z)

        def inverse(self, x, parameters):
            return x - parameters[..., 0], torch.zeros_like(x)

    figure = elementwise("shift", Shift())
    assert len(figure.axes) == 6


def test_the_plane_density_of_a_linear_map_is_a_normal():
    transform = registry.build("lu_linear", 2, 0, {}).double()
    draw_parameters(transform, seed=3)
    at = torch.linspace(-4, 4, 9, dtype=torch.float64)
    with torch.no_grad():
        images = transform.forward_and_log_det(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).double())[0].numpy()
        found = plane_density(transform, at, at / 2)
    matrix = (images[1:] - images[0]).T
    normal = multivariate_normal(images[0], matrix @ matrix.T)
    expected = [[normal.pdf([float(x), float(y)]) for x in at] for y in at / 2]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
