"""Coupling layers: which columns are kept, and what the others see."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from flows.cases import flow_of, layout

from flowcli.config.schema import FlowConfig
from flowcli.errors import ConfigError
from flowcli.flows.build import build_density
from flowcli.flows.layout import Layout
from flowcli.transforms import registry
from flowcli.transforms.coupling import Coupling

from .cases import perturb

every_name = pytest.mark.parametrize("name", ["affine_coupling", "spline_coupling"])


def build(name: str, features: int, context_features: int = 0, seed: int = 0, **changed: Any) -> Coupling:
    defaults = {parameter.name: parameter.default for parameter in registry.entries()[name].parameters}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = registry.build(name, features, context_features, {**defaults, **changed})
        perturb(layer)
    assert isinstance(layer, Coupling)
    return layer.double()


def kept_columns(layer: Coupling, features: int) -> set[int]:
    """Found by what the layer does, not by its buffers."""
    z = torch.randn(64, features, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    kept = set()
    for function in (layer.forward_and_log_det, layer.inverse_and_log_det):
        x, _ = function(z)
        kept = {column for column in range(features) if torch.equal(x[:, column], z[:, column])}
        changed = [column for column in range(features) if column not in kept]
        assert (x != z)[:, changed].any(0).all()
    return kept


@every_name
@pytest.mark.parametrize(
    ("split", "features", "kept"),
    [
        ("half", 2, {0}),
        ("half", 5, {0, 1}),
        ("half", 6, {0, 1, 2}),
        ("alternate", 2, {1}),
        ("alternate", 5, {1, 3}),
        ("alternate", 6, {1, 3, 5}),
        ([3, 0, 1], 5, {0, 1, 3}),
        ([1], 2, {1}),
    ],
)
def test_kept_columns_are_unchanged(name: str, split: Any, features: int, kept: set[int]) -> None:
    assert kept_columns(build(name, features, split=split), features) == kept


def test_a_split_by_names_of_columns() -> None:
    flow = FlowConfig.model_validate({"transforms": [{"affine_coupling": {"split": ["x3", "x1"]}}]})
    density = build_density(flow, layout(4))
    layer = flow_of(density).chain.bijections()[0]
    assert isinstance(layer, Coupling)
    perturb(layer)
    assert kept_columns(layer.double(), 4) == {0, 2}


@pytest.mark.parametrize(
    ("split", "told"), [(["x9"], "no column 'x9'"), (["x2", "x1"], "keeps every column")], ids=["unknown", "all"]
)
def test_a_split_that_does_not_fit_the_table(split: list[str], told: str) -> None:
    flow = FlowConfig.model_validate({"transforms": [{"affine_coupling": {"split": split}}]})
    with pytest.raises(ConfigError, match=told):
        build_density(flow, layout(2))


@pytest.mark.parametrize(
    ("chain", "refused"),
    [
        ({"transforms": [{"coupling": {"split": ["x1"]}}, "permute"]}, True),
        ({"transforms": ["permute", {"coupling": {"split": ["x1"]}}, "triangular_affine"]}, False),
        ({"repeat": 2, "transforms": ["permute", {"coupling": {"split": ["x1"]}}]}, True),
        ({"transforms": [{"chain": {"transforms": [{"coupling": {"split": ["x1"]}}]}}, "permute"]}, True),
    ],
)
def test_names_do_not_outlive_a_permutation(chain: dict[str, Any], refused: bool) -> None:
    flow = FlowConfig.model_validate(chain)
    if not refused:
        build_density(flow, layout(2))
        return
    with pytest.raises(ConfigError, match=r"split names columns, which a permute .* moves"):
        build_density(flow, layout(2))


def test_a_constant_column_may_be_named_in_a_split() -> None:
    flow = FlowConfig.model_validate({"transforms": [{"coupling": {"split": ["k", "b"]}}]})
    layer = flow_of(build_density(flow, Layout(numbers=("a", "b"), constant=("k",)))).chain.bijections()[0]
    assert isinstance(layer, Coupling)
    assert layer.order.tolist() == [1, 0]


@every_name
def test_random_split_keeps_half_and_comes_from_the_seed(name: str) -> None:
    kept = [kept_columns(build(name, 9, seed=seed, split="random"), 9) for seed in (0, 0, 1)]
    assert kept[0] == kept[1] != kept[2]
    assert {len(columns) for columns in kept} == {4}


@every_name
def test_the_rest_sees_itself_and_the_kept(name: str) -> None:
    layer = build(name, 5, split="alternate")
    z = torch.randn(32, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for function in (layer.forward_and_log_det, layer.inverse_and_log_det):
        matrix = torch.autograd.functional.jacobian(lambda v, f=function: f(v)[0].sum(0), z, vectorize=True)
        depends = matrix.transpose(0, 1).abs().amax(0) > 1e-9
        kept, rest = [1, 3], [0, 2, 4]
        assert torch.equal(depends[kept], torch.eye(5, dtype=torch.bool)[kept])
        assert depends[rest][:, kept].all()
        assert torch.equal(depends[rest][:, rest], torch.eye(3, dtype=torch.bool))


@every_name
def test_context_moves_the_rest_alone(name: str) -> None:
    layer = build(name, 4, context_features=2)
    z = torch.randn(8, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    one, two = (layer.forward_and_log_det(z, torch.full((8, 2), value, dtype=torch.float64))[0] for value in (0.0, 1.0))
    assert torch.equal(one[:, [1, 3]], two[:, [1, 3]])
    assert (one != two)[:, [0, 2]].any(0).all()
