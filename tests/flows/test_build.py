"""From a config to a density."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from flowcli.config.schema import FlowConfig
from flowcli.errors import ConfigError
from flowcli.flows.build import build_density
from flowcli.flows.default import default_chain
from flowcli.transforms.autoregressive import Autoregressive
from flowcli.transforms.bijection import Chain
from flowcli.transforms.coupling import Coupling
from flowcli.transforms.permute import Permute
from flowcli.transforms.triangular import TriangularAffine

from .cases import flow_of, layout, rows


def config(*transforms: Any, **more: Any) -> FlowConfig:
    return FlowConfig.model_validate({"transforms": list(transforms), **more})


def kinds(chain: Chain) -> list[Any]:
    """The classes of a chain's parts, chains as lists."""
    return [kinds(part) if isinstance(part, Chain) else type(part) for part in chain.bijections()]


def test_a_chain_runs_from_base_to_data() -> None:
    density = build_density(config("triangular_affine", {"permute": {"order": [2, 3, 1]}}), layout(3, [], 0))
    assert kinds(flow_of(density).chain) == [TriangularAffine, Permute]
    triangular = flow_of(density).chain.bijections()[0]
    with torch.no_grad():
        triangular.location += torch.tensor([10.0, 20.0, 30.0])
    # x = P(L z + mu): the permutation comes last.
    assert density.decode(rows(torch.zeros(1, 3))).tolist() == [[20.0, 30.0, 10.0]]


def test_repeat_makes_new_weights() -> None:
    density = build_density(config("affine_coupling", "permute", repeat=3), layout(4, [], 0))
    assert kinds(flow_of(density).chain) == [Coupling, Permute] * 3
    one, two = flow_of(density).chain.bijections()[0], flow_of(density).chain.bijections()[2]
    assert not {id(p) for p in one.parameters()} & {id(p) for p in two.parameters()}


def test_a_chain_in_a_chain() -> None:
    inner = {"chain": {"repeat": 2, "transforms": ["affine_coupling", {"permute": {"order": "reverse"}}]}}
    density = build_density(config(inner, "triangular_affine", repeat=2), layout(4, [], 0))
    assert kinds(flow_of(density).chain) == [[Coupling, Permute, Coupling, Permute], TriangularAffine] * 2
    # The same density as the chain written out.
    flat = ["affine_coupling", "permute"] * 2 + ["triangular_affine"]
    written_out = build_density(config(*flat, repeat=2), layout(4, [], 0))
    assert sum(p.numel() for p in density.parameters()) == sum(p.numel() for p in written_out.parameters())


@pytest.mark.parametrize("context_features", [0, 2])
def test_no_numbers_no_flow(context_features: int) -> None:
    # Not even a transform that needs two columns stands in the way of a table of labels.
    density = build_density(config("affine_coupling"), layout(0, [2, 3], context_features))
    assert density.factors[0].flow is None
    codes, context = torch.tensor([[0, 1], [1, 2]]), torch.zeros(2, context_features)
    table = rows(labels=codes, context=context)
    density.initialize(table)
    assert density.log_prob(table).isfinite().all()
    assert density.encode(table).shape == (2, 0)
    assert density.decode(table).shape == (2, 0)


def test_labels_and_context_reach_the_flow() -> None:
    density = build_density(config("affine_autoregressive"), layout(2, [3], 2))
    for parameter in density.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(parameter.numel()))
    numbers, context = torch.zeros(1, 2), torch.zeros(1, 2)
    before = density.encode(rows(numbers, torch.tensor([[0]]), context))
    assert (density.encode(rows(numbers, torch.tensor([[1]]), context)) != before).any()
    assert (density.encode(rows(numbers, torch.tensor([[0]]), context + 1)) != before).any()


def test_too_few_columns_are_refused() -> None:
    with pytest.raises(ConfigError, match="affine_coupling needs at least 2"):
        build_density(config("affine_coupling"), layout(1, [], 0))
    with pytest.raises(ConfigError, match="affine_coupling needs at least 2"):
        build_density(config({"chain": {"transforms": ["affine_coupling"]}}), layout(1, [], 0))


def test_the_seed_decides_and_the_global_generator_is_left_alone() -> None:
    flow = config({"affine_coupling": {"split": "random"}}, {"permute": {"order": "random"}}, repeat=2)
    before = torch.random.get_rng_state()
    built = [build_density(flow, layout(9, [2, 2], 1), seed).state_dict() for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(built[0][name], built[1][name]) for name in built[0])
    assert not all(torch.equal(built[0][name], built[2][name]) for name in built[0])
    # The orders of the columns are part of the architecture.
    orders = [name for name in built[0] if name.endswith("order")]
    assert all(torch.equal(built[0][name], built[2][name]) for name in orders)
    assert len({tuple(built[0][name].tolist()) for name in orders}) == len(orders) == 4


@pytest.mark.parametrize("features", [1, 2, 33])
@pytest.mark.parametrize("size", [20, 5_000, 100_000])
def test_the_default_flow_starts_at_the_gaussian(size: int, features: int) -> None:
    flow = FlowConfig.model_validate(default_chain(size, features))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        density = build_density(flow, layout(features, [], 0)).double()
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(features, features, generator=generator, dtype=torch.float64)
    x = torch.randn(300, features, generator=generator, dtype=torch.float64) @ mixing.mT + 3
    density.initialize(rows(x))
    covariance = torch.cov(x.mT, correction=0).reshape(features, features)
    expected = torch.distributions.MultivariateNormal(x.mean(0), covariance).log_prob(x)
    torch.testing.assert_close(density.log_prob(rows(x)), expected, atol=1e-2, rtol=1e-4)


def test_networks_may_have_no_hidden_layer() -> None:
    density = build_density(config({"affine_autoregressive": {"hidden": []}}), layout(3, [], 0))
    assert isinstance(flow_of(density).chain.bijections()[0], Autoregressive)
