"""Autoregressive layers: who depends on whom, and in which direction it costs one pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from flowcli.errors import ConfigError
from flowcli.transforms import registry
from flowcli.transforms.autoregressive import Autoregressive

from .cases import perturb

NAMES = ("affine_autoregressive", "spline_autoregressive")
every_name = pytest.mark.parametrize("name", NAMES)
every_direction = pytest.mark.parametrize("direction", ["density", "sampling"])


def build(name: str, features: int, context_features: int = 0, seed: int = 0, **changed: Any) -> Autoregressive:
    defaults = {parameter.name: parameter.default for parameter in registry.entries()[name].parameters}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = registry.build(name, features, context_features, {**defaults, **changed})
        perturb(layer)
    assert isinstance(layer, Autoregressive)
    return layer.double()


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def jacobian(function: Any, value: Tensor) -> Tensor:
    """``(n, d, d)``: row ``i`` of a result with respect to column ``j``."""
    return torch.autograd.functional.jacobian(lambda v: function(v)[0].sum(0), value, vectorize=True).transpose(0, 1)


@every_name
@every_direction
@pytest.mark.parametrize(
    "order",
    [[1, 2, 3, 4, 5], [3, 1, 5, 2, 4], [5, 4, 3, 2, 1]],
    ids=["natural", "mixed", "reversed"],
)
def test_jacobian_is_triangular_in_the_given_order(name: str, direction: str, order: list[int]) -> None:
    layer = build(name, 5, direction=direction, order=order)
    positions = [column - 1 for column in order]
    value = normal(32, 5)
    for function in (layer.forward_and_log_det, layer.inverse_and_log_det):
        ordered = jacobian(function, value)[:, positions][:, :, positions]
        assert not torch.triu(ordered, diagonal=1).any()
        # Every column before has a say: the map is triangular and no sparser than that.
        below = torch.tril(torch.ones(5, 5), diagonal=-1).bool()
        assert (ordered.abs().amax(0)[below] > 1e-6).all()
        assert (torch.diagonal(ordered, dim1=1, dim2=2) > 0).all()


@pytest.mark.parametrize(("word", "order"), [("natural", [1, 2, 3, 4]), ("reverse", [4, 3, 2, 1])])
def test_named_orders(word: str, order: list[int]) -> None:
    value = normal(8, 4)
    one, two = (build("affine_autoregressive", 4, order=given) for given in (word, order))
    assert torch.equal(one.inverse_and_log_det(value)[0], two.inverse_and_log_det(value)[0])


def test_random_order_comes_from_the_seed() -> None:
    orders = [build("affine_autoregressive", 20, order="random", seed=seed).order.tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(20))


@pytest.mark.parametrize("order", [[1, 2], [1, 2, 2], [0, 1, 2], [1, 2, 3, 4]])
def test_wrong_order_is_refused(order: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"must hold each of 1\.\.3 once"):
        build("affine_autoregressive", 3, order=order)


@every_name
@every_direction
def test_context_reaches_every_feature_beyond_a_straight_line(name: str, direction: str) -> None:
    layer = build(name, 3, context_features=1, direction=direction)
    value = normal(3).expand(3, 3)
    context = torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64)
    for function in (layer.forward_and_log_det, layer.inverse_and_log_det):
        result = function(value, context)[0]
        second_difference = result[0] - 2 * result[1] + result[2]
        # The first feature, too: it sees nothing but the context.
        assert (second_difference.abs() > 1e-4).all()


@every_name
@every_direction
@pytest.mark.parametrize("context_features", [0, 2])
@pytest.mark.parametrize("hidden", [[], [2], [2, 3], [1]], ids=str)
def test_narrow_networks_work(name: str, direction: str, context_features: int, hidden: list[int]) -> None:
    # tanh: one of two rectified units may well be off for every row.
    layer = build(name, 6, context_features, direction=direction, hidden=hidden, activation="tanh")
    value = normal(16, 6)
    context = normal(16, context_features, seed=2) if context_features else None
    x, log_det = layer.forward_and_log_det(value, context)
    back, log_det_back = layer.inverse_and_log_det(x, context)
    torch.testing.assert_close(back, value, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(log_det, -log_det_back, atol=1e-8, rtol=1e-8)
    ordered = jacobian(lambda v: layer.forward_and_log_det(v, context), value)
    assert not torch.triu(ordered, diagonal=1).any()
    expected = torch.linalg.slogdet(ordered).logabsdet
    torch.testing.assert_close(log_det, expected, atol=1e-8, rtol=1e-8)
    if hidden != [1] or not context_features:
        # Some column still depends on another one.
        assert torch.tril(ordered, diagonal=-1).any()


@every_name
@pytest.mark.parametrize("context_features", [0, 2])
@pytest.mark.parametrize("hidden", [[], [1], [40, 7], [9, 40, 9], [150, 400]], ids=str)
@pytest.mark.parametrize("features", [1, 2, 7])
def test_each_unit_once_is_the_same_as_a_pass_for_each_column(
    name: str, context_features: int, hidden: list[int], features: int
) -> None:
    features = max(features, registry.entries()[name].min_features)
    order = torch.randperm(features, generator=torch.Generator().manual_seed(features)).add(1).tolist()
    layer = build(name, features, context_features, hidden=hidden, activation="silu", order=order)
    value = normal(3, 5, features)
    context = normal(3, 5, context_features, seed=2) if context_features else None
    present = normal(3, 5, features, seed=3) > -0.5
    for there in (None, present):
        given = value if there is None else torch.where(there, value, 0.0)
        with torch.no_grad():
            no_rows = layer.forward_and_log_det(given[:0], None if context is None else context[:0])
        assert [tuple(part.shape) for part in no_rows] == [(0, 5, features), (0, 5)]
        with_gradients = layer.forward_and_log_det(given, context, there)
        with torch.no_grad():
            without = layer.forward_and_log_det(given, context, there)
        for one, other in zip(with_gradients, without, strict=True):
            torch.testing.assert_close(one.detach(), other, atol=1e-12, rtol=1e-12)


@every_name
def test_direction_swaps_the_costs(name: str) -> None:
    passes: dict[tuple[str, str], int] = {}
    for direction in ("density", "sampling"):
        layer = build(name, 7, direction=direction)
        calls: list[None] = []
        layer.network.hidden.register_forward_hook(lambda *_, calls=calls: calls.append(None))
        for way, function in (("sampling", layer.forward_and_log_det), ("density", layer.inverse_and_log_det)):
            calls.clear()
            function(normal(4, 7))
            passes[direction, way] = len(calls)
        assert registry.costs(name, {"direction": direction}) == (
            ("1 pass", "d passes") if direction == "density" else ("d passes", "1 pass")
        )
    assert passes == {
        ("density", "density"): 1,
        ("density", "sampling"): 7,
        ("sampling", "density"): 7,
        ("sampling", "sampling"): 1,
    }


def test_affine_formulas_in_both_directions() -> None:
    # MAF: z_k = (x_k - t_k(x_<k)) exp(-s_k(x_<k)). IAF: x_k = z_k exp(s_k(z_<k)) + t_k(z_<k).
    value = normal(16, 4)
    maf, iaf = (build("affine_autoregressive", 4, direction=direction) for direction in ("density", "sampling"))
    shift, raw = maf.network(value, None).unbind(-1)
    log_scale = raw / (1 + raw.abs() / 3.0)
    torch.testing.assert_close(maf.inverse_and_log_det(value)[0], (value - shift) * torch.exp(-log_scale))
    torch.testing.assert_close(maf.inverse_and_log_det(value)[1], -log_scale.sum(-1))
    torch.testing.assert_close(iaf.forward_and_log_det(value)[0], value * torch.exp(log_scale) + shift)
    torch.testing.assert_close(iaf.forward_and_log_det(value)[1], log_scale.sum(-1))
