"""From a config to a density."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from flowcli.config.schema import FlowConfig
from flowcli.errors import ConfigError
from flowcli.flows.build import build_density
from flowcli.flows.default import default_flow
from flowcli.transforms.autoregressive import Autoregressive
from flowcli.transforms.bijection import Chain
from flowcli.transforms.coupling import Coupling
from flowcli.transforms.permute import Permute
from flowcli.transforms.triangular import TriangularAffine


def config(*transforms: Any, **more: Any) -> FlowConfig:
    return FlowConfig.model_validate({"transforms": list(transforms), **more})


def kinds(chain: Chain) -> list[Any]:
    """The classes of a chain's parts, chains as lists."""
    return [kinds(part) if isinstance(part, Chain) else type(part) for part in chain.bijections()]


def test_a_chain_runs_from_base_to_data() -> None:
    density = build_density(config("triangular_affine", {"permute": {"order": [2, 3, 1]}}), 3, [], 0)
    assert density.flow is not None
    assert kinds(density.flow.chain) == [TriangularAffine, Permute]
    triangular = density.flow.chain.bijections()[0]
    with torch.no_grad():
        triangular.location += torch.tensor([10.0, 20.0, 30.0])
    nothing = torch.empty(1, 0)
    # x = P(L z + mu): the permutation comes last.
    assert density.decode(torch.zeros(1, 3), nothing.long(), nothing).tolist() == [[20.0, 30.0, 10.0]]


def test_repeat_makes_new_weights() -> None:
    density = build_density(config("affine_coupling", "permute", repeat=3), 4, [], 0)
    assert density.flow is not None
    assert kinds(density.flow.chain) == [Coupling, Permute] * 3
    one, two = density.flow.chain.bijections()[0], density.flow.chain.bijections()[2]
    assert not {id(p) for p in one.parameters()} & {id(p) for p in two.parameters()}


def test_a_chain_in_a_chain() -> None:
    inner = {"chain": {"repeat": 2, "transforms": ["affine_coupling", {"permute": {"order": "reverse"}}]}}
    density = build_density(config(inner, "triangular_affine", repeat=2), 4, [], 0)
    assert density.flow is not None
    assert kinds(density.flow.chain) == [[Coupling, Permute, Coupling, Permute], TriangularAffine] * 2
    # The same density as the chain written out.
    flat = ["affine_coupling", "permute"] * 2 + ["triangular_affine"]
    written_out = build_density(config(*flat, repeat=2), 4, [], 0)
    assert sum(p.numel() for p in density.parameters()) == sum(p.numel() for p in written_out.parameters())


@pytest.mark.parametrize("context_features", [0, 2])
def test_no_numbers_no_flow(context_features: int) -> None:
    # Not even a transform that needs two columns stands in the way of a table of labels.
    density = build_density(config("affine_coupling"), 0, [2, 3], context_features)
    assert density.flow is None
    codes, context = torch.tensor([[0, 1], [1, 2]]), torch.zeros(2, context_features)
    density.initialize(torch.empty(2, 0), codes, context)
    assert density.log_prob(torch.empty(2, 0), codes, context).isfinite().all()
    assert density.encode(torch.empty(2, 0), codes, context).shape == (2, 0)
    assert density.decode(torch.empty(2, 0), codes, context).shape == (2, 0)


def test_labels_and_context_reach_the_flow() -> None:
    density = build_density(config("affine_autoregressive"), 2, [3], 2)
    for parameter in density.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(parameter.numel()))
    numbers, context = torch.zeros(1, 2), torch.zeros(1, 2)
    for changed in (
        density.encode(numbers, torch.tensor([[1]]), context),
        density.encode(numbers, torch.tensor([[0]]), context + 1),
    ):
        assert (changed != density.encode(numbers, torch.tensor([[0]]), context)).any()


def test_too_few_columns_are_refused() -> None:
    with pytest.raises(ConfigError, match="affine_coupling needs at least 2"):
        build_density(config("affine_coupling"), 1, [], 0)
    with pytest.raises(ConfigError, match="affine_coupling needs at least 2"):
        build_density(config({"chain": {"transforms": ["affine_coupling"]}}), 1, [], 0)


def test_the_seed_decides_and_the_global_generator_is_left_alone() -> None:
    flow = config({"affine_coupling": {"split": "random"}})
    before = torch.random.get_rng_state()
    built = [build_density(flow, 9, [2, 2], 1, seed).state_dict() for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(built[0][name], built[1][name]) for name in built[0])
    assert not all(torch.equal(built[0][name], built[2][name]) for name in built[0])


@pytest.mark.parametrize("features", [1, 2, 33])
@pytest.mark.parametrize("rows", [20, 5_000, 100_000])
def test_the_default_flow_starts_at_the_gaussian(rows: int, features: int) -> None:
    flow = default_flow(rows, features)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        density = build_density(flow, features, [], 0).double()
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(features, features, generator=generator, dtype=torch.float64)
    x = torch.randn(300, features, generator=generator, dtype=torch.float64) @ mixing.mT + 3
    nothing = torch.empty(300, 0, dtype=torch.float64)
    density.initialize(x, nothing.long(), nothing)
    covariance = torch.cov(x.mT, correction=0).reshape(features, features)
    expected = torch.distributions.MultivariateNormal(x.mean(0), covariance).log_prob(x)
    torch.testing.assert_close(density.log_prob(x, nothing.long(), nothing), expected, atol=1e-2, rtol=1e-4)


def test_networks_may_have_no_hidden_layer() -> None:
    density = build_density(config({"affine_autoregressive": {"hidden": []}}), 3, [], 0)
    assert density.flow is not None
    assert isinstance(density.flow.chain.bijections()[0], Autoregressive)
