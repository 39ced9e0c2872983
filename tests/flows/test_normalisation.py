"""Every density integrates to one: by quadrature, not by trusting a log-determinant."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from transforms.cases import Case, all_cases, perturb

from flowcli.flows.base import StandardNormal
from flowcli.flows.density import TableDensity
from flowcli.flows.flow import Flow
from flowcli.flows.labels import LabelModel
from flowcli.transforms.bijection import Chain

# Orders change nothing at two columns that the chains below do not.
CASES = [case for case in all_cases((1, 2), varied=("kind", "direction", "split")) if case.costs[0] != "none"]
CHUNK = 65536


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


def grid(samples: Tensor, intervals: int = 100) -> tuple[Tensor, Tensor]:
    """Points ``(n, d)`` and weights ``(n,)``."""
    features = samples.shape[-1]
    axes = [axis(column, 2_000 if features == 1 else intervals) for column in samples.unbind(-1)]
    nodes, weights = ([*torch.meshgrid(*part, indexing="ij")] for part in zip(*axes, strict=True))
    return torch.stack([part.reshape(-1) for part in nodes], -1), torch.stack(weights).prod(0).reshape(-1)


@torch.inference_mode()
def integral(flow: Flow, features: int, context: Tensor | None = None) -> float:
    z = torch.randn(10_000, features, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, weight = grid(flow.decode(z, None if context is None else context.expand(len(z), -1)))
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


def flow_of(*cases: Case) -> Flow:
    parts = [case.build(seed=seed, size=size_of(case)) for seed, case in enumerate(cases)]
    return Flow(StandardNormal(), Chain(parts)).double()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_transformed_normal_integrates_to_one(case: Case) -> None:
    small = {**case.parameters, **({"hidden": [16]} if "hidden" in case.parameters else {})}
    case = Case(case.entry, small, case.features, case.context_features)
    flow = flow_of(case)
    contexts = [None] if not case.context_features else [case.context(1, seed=seed) for seed in (1, 2)]
    for context in contexts:
        assert integral(flow, case.features, context) == pytest.approx(1, abs=1e-3)


def test_a_chain_of_different_ones_integrates_to_one() -> None:
    wanted = ("spline_autoregressive", "triangular_affine", "householder", "affine_coupling", "permute")
    found = {case.entry.name: case for case in reversed(CASES) if case.features == 2 and not case.context_features}
    assert integral(flow_of(*(found[name] for name in wanted)), 2) == pytest.approx(1, abs=1e-3)


def label_model(cardinalities: list[int], context_features: int) -> LabelModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LabelModel(cardinalities, context_features)
        perturb(model)
        rows = 200
        codes = torch.stack([torch.randint(size, (rows,)) for size in cardinalities], -1)
    model.initialize(codes)
    return model.double()


def combinations(cardinalities: list[int]) -> Tensor:
    return torch.tensor(list(itertools.product(*map(range, cardinalities))))


@pytest.mark.parametrize("context_features", [0, 2])
@pytest.mark.parametrize("cardinalities", [[1], [3], [2, 3], [4, 2, 3]], ids=str)
def test_label_probabilities_sum_to_one(cardinalities: list[int], context_features: int) -> None:
    model = label_model(cardinalities, context_features)
    codes = combinations(cardinalities)
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        context = torch.randn(1, context_features, generator=generator, dtype=torch.float64).expand(len(codes), -1)
        with torch.inference_mode():
            log_prob = model.log_prob(codes, context if context_features else None)
        assert float(torch.exp(log_prob).sum()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("context_features", [0, 2])
@pytest.mark.parametrize("features", [1, 2])
def test_a_table_density_integrates_and_sums_to_one(features: int, context_features: int) -> None:
    cardinalities = [2, 3]
    labels = label_model(cardinalities, context_features)
    found = {case.entry.name: case for case in reversed(CASES) if case.features == features and case.context_features}
    steps = [found["spline_autoregressive"], found["triangular_affine"]]
    width = sum(cardinalities) + context_features
    flow = flow_of(*(Case(s.entry, {**s.parameters}, features, width) for s in steps))
    density = TableDensity(flow, labels)
    marginals = []
    for code in combinations(cardinalities):

        def rows(n: int, code: Tensor = code) -> tuple[Tensor, Tensor]:
            context = torch.full((1, context_features), 0.5, dtype=torch.float64)
            return code.expand(n, -1), context.expand(n, -1)

        with torch.inference_mode():
            z = torch.randn(10_000, features, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            x, weight = grid(density.decode(z, *rows(len(z))), intervals=50)
            parts = [torch.exp(density.log_prob(part, *rows(len(part)))) for part in x.split(CHUNK)]
        marginals.append(float(torch.cat(parts) @ weight))
    total = sum(marginals)
    assert total == pytest.approx(1, abs=1e-3)
    # What is left of each combination is its probability.
    codes = combinations(cardinalities)
    with torch.inference_mode():
        given = torch.full((len(codes), context_features), 0.5, dtype=torch.float64) if context_features else None
        expected = torch.exp(labels.log_prob(codes, given))
    assert marginals == pytest.approx(expected.tolist(), abs=1e-3)
