"""Programs give what the density gives, for every transform and distribution that flowcli has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from flowcli.config.distributions import BASES, LABEL_MODELS, ORDINAL_MODELS
from flowcli.config.schema import FlowConfig
from flowcli.flows.build import build_density
from flowcli.flows.density import Density
from flowcli.flows.layout import Layout
from flowcli.flows.mixture import MixtureDensity
from flowcli.flows.rows import Rows
from flowcli.programs.density import record_programs
from flowcli.programs.mixture import engine_of
from flowcli.programs.stored import FUNCTIONS
from flowcli.transforms import registry
from flowcli.transforms.support import Support
from tests.transforms.cases import perturb

# What needs a search, or steps of its own choice.
SEARCHES = {"root finding", "d root findings", "ODE solver"}
CONTEXT = 2
LAYOUT = Layout(
    numbers=("a", "b", "c", "d"),
    supports=(Support("log"), Support("logit"), Support("arcsinh", step=0.1), Support(center=1.0, spread=2.0)),
    states=(None, None, None, None),
    labels=(("l", 3), ("m", 2)),
    ordinals=(("o", 3.0),),
    context=(("y", CONTEXT),),
)
PARTIAL = Layout(
    numbers=("a", "b", "c"),
    supports=(Support("softplus"), Support(), Support()),
    states=(None, 1, 2),
    labels=(("l", 3), ("b", 2), ("c", 3)),
)


def density_of(config: dict[str, Any], layout: Layout = LAYOUT) -> Density:
    """A density with weights that are not those of its start."""
    density = build_density(FlowConfig.model_validate(config), layout)
    perturb(density, 0.3)
    return density.to(torch.float64).eval()


def same(density: Density, context_features: int = CONTEXT) -> set[str]:
    """Which functions have a program; each is compared on rows of its own, more and fewer than a program takes."""
    stored, constants = record_programs(density, context_features)
    weights = {name: weight.numpy() for name, weight in density.state_dict().items()}
    wide = {name: constant.astype(stored.types[name]) for name, constant in constants.items()}
    engine = engine_of("m", stored, {**weights, **wide}, density.columns, density.cardinalities)
    for rows in (1, 150):
        generator = torch.Generator().manual_seed(rows)
        uniforms = torch.rand(rows, density.noise_features, generator=generator, dtype=torch.float64)
        context = torch.randn(rows, context_features, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            drawn = density.sample(uniforms, context)
            if engine.pays("sample", rows):
                for one, other in zip(
                    engine.sample(uniforms.numpy(), context.numpy()),
                    (drawn.numbers, drawn.labels, drawn.ordinals),
                    strict=True,
                ):
                    np.testing.assert_allclose(one, other.numpy(), rtol=1e-9, atol=1e-9)
            for name in ("log_prob", "encode", "decode"):
                if engine.pays(name, rows):
                    numbers = drawn.numbers if name != "decode" else torch.randn_like(drawn.numbers)
                    if name == "decode" and density.components:
                        number = torch.arange(rows, dtype=torch.float64).unsqueeze(-1) % density.components + 1
                        numbers = torch.cat([numbers, number], dim=-1)
                    labels = drawn.labels.clone()
                    if name == "log_prob" and labels.numel():
                        labels[0, 0] = -1
                    given = Rows(numbers, labels, drawn.ordinals, context)
                    wanted = getattr(density, name)(given).numpy()
                    parts = [part.numpy() for part in (numbers, labels, drawn.ordinals, context)]
                    found = getattr(engine, name)(_encoded(parts))
                    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    return {name for name in FUNCTIONS if engine.pays(name, rows)}


def _encoded(parts: list[np.ndarray]) -> Any:
    from flowcli.preprocess.encoder import Encoded

    return Encoded(*parts, outside=np.zeros(len(parts[0]), dtype=bool), bad={})


def expected(costs: tuple[str, str]) -> set[str]:
    scoring, sampling = costs
    functions = set() if scoring in SEARCHES else {"log_prob", "encode"}
    return functions if sampling in SEARCHES else functions | {"decode", "sample"}


def directions(name: str) -> list[dict[str, Any]]:
    parameters = {parameter.name for parameter in registry.entries()[name].parameters}
    return [{"direction": way} for way in ("density", "sampling")] if "direction" in parameters else [{}]


@pytest.mark.parametrize(
    ("name", "parameters"), [(name, given) for name in registry.entries() for given in directions(name)]
)
def test_every_transform(name: str, parameters: dict[str, Any]) -> None:
    entry = registry.entries()[name]
    if "hidden" in {parameter.name for parameter in entry.parameters}:
        parameters = {**parameters, "hidden": [8]}
    base = "uniform" if entry.domain == "unit" else "normal"
    costs = registry.costs(name, parameters)
    density = density_of({"base": base, "transforms": [{name: parameters}]})
    assert same(density) == expected(costs)


def test_mixtures() -> None:
    flow = {"transforms": [{"spline_autoregressive": {"hidden": [8]}}, {"permute": {"order": "random"}}]}
    density = density_of({"mixture": [{"copies": 3, **flow}, {"transforms": [], "base": {"gaussian_mixture": {}}}]})
    assert isinstance(density, MixtureDensity)
    density.weights.copy_(torch.tensor([0.5, 0.0, 0.2, 0.3]))
    assert same(density) == FUNCTIONS.keys()
    stored, _ = record_programs(density, CONTEXT)
    # Copies that differ in their weights and orders share their programs.
    assert stored.members == [0, 0, 0, 1]


def test_latents_of_a_member_that_torch_alone_can_decode() -> None:
    members = [{"transforms": ["affine"]}, {"transforms": ["planar"]}]
    density = density_of({"mixture": members})
    assert isinstance(density, MixtureDensity)
    density.weights.copy_(torch.tensor([1.0, 0.0]))
    # It is never drawn, but somebody may have latents of it.
    assert same(density) == {"log_prob", "encode", "sample"}


TRANSFORMERS = [name for name, entry in registry.entries().items() if entry.transformer]


@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.parametrize("layer", ["coupling", "autoregressive"])
def test_every_transformer(name: str, layer: str) -> None:
    density = density_of({"transforms": [{layer: {"transformer": {name: {}}, "hidden": [8]}}]})
    found = same(density)
    if registry.costs(name, {})[1] in SEARCHES:
        assert found == {"log_prob", "encode"}
    else:
        assert found == FUNCTIONS.keys()


@pytest.mark.parametrize("kind", ["rational_quadratic", "linear_rational", "linear"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "silu", "elu"])
def test_splines_and_activations(kind: str, activation: str) -> None:
    layer = {"spline_autoregressive": {"kind": kind, "activation": activation, "hidden": [8], "order": "random"}}
    assert same(density_of({"repeat": 2, "transforms": [layer]})) == FUNCTIONS.keys()


@pytest.mark.parametrize("name", [entry.name for entry in BASES])
def test_every_base(name: str) -> None:
    transforms = ["logit"] if name == "uniform" else ["actnorm"]
    assert same(density_of({"base": name, "transforms": transforms})) == FUNCTIONS.keys()


@pytest.mark.parametrize("labels", [entry.name for entry in LABEL_MODELS])
@pytest.mark.parametrize("ordinals", [entry.name for entry in ORDINAL_MODELS])
def test_every_model_of_labels_and_ordinals(labels: str, ordinals: str) -> None:
    assert same(density_of({"transforms": ["affine"], "labels": labels, "ordinals": ordinals})) == FUNCTIONS.keys()


def test_heavy_tails_that_are_kept() -> None:
    config = {"transforms": ["affine_autoregressive"], "heavy_tails": "kept"}
    assert same(density_of(config)) == {"log_prob", "encode", "decode", "sample"}


def test_labels_alone() -> None:
    assert same(density_of({"transforms": None}, Layout(labels=(("l", 3), ("m", 2)))), 0) == FUNCTIONS.keys()


def test_columns_that_some_rows_have_not() -> None:
    layers = [{"spline_autoregressive": {"hidden": [8]}}, {"permute": {"order": "reverse"}}, "actnorm"]
    assert same(density_of({"repeat": 2, "transforms": layers}, PARTIAL), 0) == FUNCTIONS.keys()


def test_factors() -> None:
    factors = [
        {"columns": ["l", "o"]},
        {"columns": ["d", "a"], "given": ["l", "o", "y"], "transforms": [{"affine_coupling": {"hidden": [8]}}]},
        {"columns": ["m", "b", "c"], "given": ["a"], "transforms": [{"affine_autoregressive": {"hidden": [8]}}]},
    ]
    assert same(density_of({"factors": factors})) == FUNCTIONS.keys()


def test_what_takes_too_many_operations_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowcli.programs.program.MOST_OPERATIONS", 400)
    density = density_of({"repeat": 4, "transforms": [{"affine_autoregressive": {"hidden": [8]}}]})
    assert same(density) == {"log_prob", "encode"}
