"""Every density integrates to one: by quadrature, not by trusting a log-determinant."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transforms.cases import Case, all_cases, perturb

from flowcli.config import distributions
from flowcli.config.schema import FlowConfig
from flowcli.flows.base import Normal, Uniform
from flowcli.flows.build import build_density
from flowcli.flows.density import TableDensity
from flowcli.flows.flow import Flow
from flowcli.flows.layout import Layout
from flowcli.flows.rows import Rows
from flowcli.transforms import registry
from flowcli.transforms.bijection import Chain

from .cases import flow_of, layout, rows

# Orders change nothing at two columns that the chains below do not, nor a context that it has not changed at one.
CASES = [
    case
    for case in all_cases((1, 2), varied=("kind", "direction", "split"))
    if case.costs[0] != "none"
    and (case.features == 1 or not case.context_features or registry.min_features(case.entry.name, case.parameters) > 1)
]
# Small enough to stay in the processor's cache.
CHUNK = 4096


def axis(samples: Tensor, intervals: int, reach: float = 100.0) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes and weights between ``sinh`` of an even grid and the samples' quantiles.

    The grid reaches far; the quantiles put nodes where the density is steep. The rule holds wherever they are.
    """
    end = torch.asinh(torch.tensor(reach, dtype=torch.float64)).item()
    even = torch.sinh(torch.linspace(-end, end, intervals, dtype=torch.float64))
    quantiles = torch.quantile(samples, torch.linspace(0, 1, intervals, dtype=torch.float64))
    ends = torch.cat([even, quantiles]).unique()
    middle, half = (ends[1:] + ends[:-1]) / 2, ends.diff() / 2
    nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(3))
    return (middle[:, None] + half[:, None] * nodes).flatten(), (half[:, None] * weights).flatten()


def grid(samples: Tensor, reach: float, intervals: int) -> tuple[Tensor, Tensor]:
    """Points ``(n, d)`` and weights ``(n,)``."""
    features = samples.shape[-1]
    axes = [axis(column, 20 * intervals if features == 1 else intervals, reach) for column in samples.unbind(-1)]
    nodes, weights = ([*torch.meshgrid(*part, indexing="ij")] for part in zip(*axes, strict=True))
    return torch.stack([part.reshape(-1) for part in nodes], -1), torch.stack(weights).prod(0).reshape(-1)


@torch.inference_mode()
def integral(
    flow: Flow, features: int, context: Tensor | None = None, reach: float = 100.0, intervals: int = 100
) -> float:
    # Each of them may take a search for a root.
    uniforms = torch.rand(
        100 * intervals, flow.base.noise_features, generator=torch.Generator().manual_seed(0)
    ).double()
    given = None if context is None else context.expand(len(uniforms), -1)
    x, weight = grid(flow.sample(uniforms, given), reach, intervals)
    total = 0.0
    for part, weights in zip(x.split(CHUNK), weight.split(CHUNK), strict=True):
        given = None if context is None else context.expand(len(part), -1)
        total += float((torch.exp(flow.log_prob(part, given)) * weights).sum())
    return total


def size_of(case: Case) -> float:
    """How far weights are moved, so that the grid sees what there is."""
    if case.features == 1:
        return 1.0
    # At two columns, with weights of full size, conditional peaks are so narrow that only finer grids see them,
    # and a piecewise linear spline's density jumps at knots that are no ends of intervals.
    return 0.05 if case.parameters.get("kind") == "linear" else 0.5


def chain_of(*cases: Case) -> Flow:
    parts = [case.build(seed=seed, size=size_of(case)) for seed, case in enumerate(cases)]
    base = Uniform if cases[0].entry.domain == "unit" else Normal
    return Flow(base(cases[0].features), Chain(parts)).double().eval()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_transformed_normal_integrates_to_one(case: Case) -> None:
    small = {**case.parameters, **({"hidden": [16]} if "hidden" in case.parameters else {})}
    if "units" in small:
        small["units"] = min(small["units"], 4)
    case = Case(case.entry, small, case.features, case.context_features)
    flow = chain_of(case)
    numerical = case.costs[0] not in ("1 pass", "d passes")
    # Few nodes see to 1e-5 what has no knots.
    intervals = 100 if "kind" in case.parameters else 20 if numerical else 40
    found = integral(flow, case.features, case.context(1), intervals=intervals)
    assert found == pytest.approx(1, abs=1e-3)


def test_a_chain_of_different_ones_integrates_to_one() -> None:
    wanted = ("spline_autoregressive", "triangular_affine", "householder", "affine_coupling", "permute")
    found = {case.entry.name: case for case in reversed(CASES) if case.features == 2 and not case.context_features}
    assert integral(chain_of(*(found[name] for name in wanted)), 2) == pytest.approx(1, abs=1e-3)


def combinations(cardinalities: list[int]) -> Tensor:
    return torch.tensor(list(itertools.product(*map(range, cardinalities))))


def contexts(features: int) -> list[Tensor | None]:
    """One row each."""
    if not features:
        return [None]
    return [torch.randn(1, features, generator=torch.Generator().manual_seed(seed)).double() for seed in (1, 2)]


def built(config: dict[str, Any], columns: Layout, size: float = 1.0) -> TableDensity:
    """A density with perturbed weights, whose labels have uneven frequencies."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        density = build_density(FlowConfig.model_validate(config), columns)
        n = 200
        codes = [torch.randint(k, (n,)) * torch.randint(2, (n,)) for _, k in columns.labels]
        for code, (_, k) in zip(codes, columns.labels, strict=True):
            code[:k] = torch.arange(k)
        density.initialize(
            Rows(
                torch.randn(n, len(columns.numbers)),
                torch.stack(codes, -1) if codes else torch.empty(n, 0, dtype=torch.long),
                torch.randn(n, len(columns.ordinals)).round(),
                torch.randn(n, len(columns.context)),
            )
        )
        perturb(density, size)
    return density.double()


LABELS = ["softmax", {"modular_flow": {"layers": 3}}]


@pytest.mark.parametrize("model", LABELS, ids=["softmax", "modular_flow"])
@pytest.mark.parametrize("context_features", [0, 2])
@pytest.mark.parametrize("cardinalities", [[1], [3], [2, 3], [4, 2, 3]], ids=str)
def test_label_probabilities_sum_to_one(model: Any, cardinalities: list[int], context_features: int) -> None:
    columns = layout(cardinalities=cardinalities, context_features=context_features)
    density = built({"labels": model, "transforms": []}, columns)
    codes = combinations(cardinalities)
    for context in contexts(context_features):
        given = None if context is None else context.expand(len(codes), -1)
        with torch.inference_mode():
            log_prob = density.log_prob(rows(labels=codes, context=given))
        assert float(torch.exp(log_prob).sum()) == pytest.approx(1, abs=1e-6)
        # A discrete flow permutes: what is likely is not always the same.
        assert len(codes) == 1 or log_prob.std() > 0.1


@pytest.mark.parametrize("context_features", [0, 2])
@pytest.mark.parametrize(("columns", "reach"), [(1, 4000), (2, 120)])
def test_ordinal_probabilities_sum_to_one(columns: int, reach: int, context_features: int) -> None:
    scales = [2.0, 0.7][:columns]
    density = built({"transforms": []}, layout(ordinals=scales, context_features=context_features), size=0.5)
    whole = torch.arange(-reach, reach + 1, dtype=torch.float64)
    grid = torch.cartesian_prod(*[whole] * columns).reshape(-1, columns)
    for context in contexts(context_features):
        given = None if context is None else context.expand(len(grid), -1)
        with torch.inference_mode():
            log_prob = density.log_prob(rows(ordinals=grid, context=given))
        assert float(torch.exp(log_prob).sum()) == pytest.approx(1, abs=1e-6)


BASES = {
    "normal": "normal",
    "student_t": "student_t",
    "gaussian_mixture": {"gaussian_mixture": {"components": 3}},
    "uniform": "uniform",
    "conditional_normal": {"conditional_normal": {"hidden": [8]}},
    "conditional_student_t": {"conditional_student_t": {"hidden": [8]}},
    "conditional_gaussian_mixture": {"conditional_gaussian_mixture": {"components": 3, "hidden": [8]}},
}


def test_every_base_is_there() -> None:
    assert list(BASES.keys() ^ {entry.name for entry in distributions.BASES}) == []


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("features", [1, 2])
def test_a_flow_on_every_base_integrates_to_one(base: str, features: int) -> None:
    context_features = 2 if base.startswith("conditional") else 0
    transforms = ["logit"] if base == "uniform" else []
    config = {"base": BASES[base], "transforms": [*transforms, {"spline": {"bins": 4, "hidden": [8]}}, "affine"]}
    density = built(config, layout(features, context_features=context_features), size=0.3)
    for context in contexts(context_features):
        assert integral(flow_of(density), features, context, reach=1e5) == pytest.approx(1, abs=1e-3)


PLAIN = {"transforms": [{"spline_autoregressive": {"hidden": [8]}}, "triangular_affine"]}
# Each kind of column is given each other kind.
FACTORS = {
    "factors": [
        {"columns": ["o1"], "given": ["l2", "x1", "c1"]},
        {"columns": ["l1"], "given": ["o1", "x1", "c2"], "labels": "modular_flow"},
        {"columns": ["x1", "l2"], "transforms": ["affine", {"spline": {"bins": 4}}]},
    ]
}


@pytest.mark.parametrize("config", [PLAIN, FACTORS], ids=["one factor", "three factors"])
@pytest.mark.parametrize("context_features", [0, 2])
def test_a_table_density_integrates_and_sums_to_one(config: Any, context_features: int) -> None:
    columns = layout(1, [2, 3], context_features, [1.5])
    if "factors" in config and not context_features:
        given = [[name for name in f.get("given", []) if name[0] != "c"] for f in config["factors"]]
        config = {"factors": [{**f, "given": g} for f, g in zip(config["factors"], given, strict=True)]}
    density = built(config, columns, size=0.5)
    counts = torch.arange(-40, 41, dtype=torch.float64)
    nodes, weight = axis(torch.linspace(-4, 4, 101, dtype=torch.float64), 40)
    total = 0.0
    for code in combinations([2, 3]):
        count, node = torch.cartesian_prod(counts, nodes).unbind(-1)
        n = len(node)
        table = rows(
            node.unsqueeze(-1), code.expand(n, -1), torch.full((n, context_features), 0.5).double(), count.unsqueeze(-1)
        )
        with torch.inference_mode():
            densities = torch.cat([torch.exp(density.log_prob(part)) for part in table.chunks(CHUNK)])
        total += float((densities.reshape(len(counts), -1) @ weight).sum())
    assert total == pytest.approx(1, abs=1e-3)
