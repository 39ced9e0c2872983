"""The factorised joint: who may depend on whom, and what it learns beside a joint flow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transforms.cases import perturb

import flowcli
from flowcli.config.load import load_config
from flowcli.config.schema import FlowConfig
from flowcli.errors import ConfigError
from flowcli.flows.build import build_density
from flowcli.flows.density import TableDensity
from flowcli.flows.layout import Layout
from flowcli.flows.rows import Rows

from .cases import layout, rows

AFFINE = ["triangular_affine"]
SPLINES = [{"spline_autoregressive": {"hidden": [16, 16]}}, "triangular_affine"]


def built(factors: list[dict[str, Any]], columns: Layout, perturbed: bool = True) -> TableDensity:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        density = build_density(FlowConfig.model_validate({"factors": factors}), columns)
        if perturbed:
            perturb(density)
    return density.double()


CHAIN = [
    {"columns": ["x3"], "given": ["x1", "l1"], "transforms": SPLINES},
    {"columns": ["x1", "l1"], "transforms": SPLINES},
    {"columns": ["x2"], "given": ["x3", "c1", "o1"], "transforms": SPLINES},
    {"columns": ["o1"], "given": ["x3"]},
]


def example(n: int = 6) -> Rows:
    generator = torch.Generator().manual_seed(0)
    return rows(
        torch.randn(n, 3, generator=generator).double(),
        torch.randint(3, (n, 1), generator=generator),
        torch.randn(n, 1, generator=generator).double(),
        torch.randint(5, (n, 1), generator=generator).double(),
    )


def test_latents_depend_on_parents_alone() -> None:
    density = built(CHAIN, layout(3, [3], 1, [1.5]))
    # Which latents (x1, x2, x3) move when a column does.
    moves = {
        "x1": [True, False, True],
        "x2": [False, True, False],
        "x3": [False, True, True],
        "l1": [True, False, True],
        "c1": [False, True, False],
        "o1": [False, True, False],
    }
    table = example()
    before = density.encode(table)
    for name, expected in moves.items():
        changed = Rows(*(part.clone() for part in (table.numbers, table.labels, table.ordinals, table.context)))
        part = {"x": changed.numbers, "l": changed.labels, "o": changed.ordinals, "c": changed.context}[name[0]]
        column = int(name[1]) - 1
        part[:, column] = (part[:, column] + 1) % 3 if name[0] == "l" else part[:, column] + 1
        assert (density.encode(changed) != before).any(0).tolist() == expected, name


def test_decode_is_the_inverse_of_encode() -> None:
    density = built(CHAIN, layout(3, [3], 1, [1.5]))
    table = example()
    latent = Rows(density.encode(table), table.labels, table.ordinals, table.context)
    torch.testing.assert_close(density.decode(latent), table.numbers, atol=1e-9, rtol=1e-9)


def test_log_prob_is_the_sum_over_factors() -> None:
    columns = layout(2)
    parts = [{"columns": ["x1"], "transforms": SPLINES}, {"columns": ["x2"], "given": ["x1"], "transforms": SPLINES}]
    density = built(parts, columns)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).double()
    one, two = density.factors
    expected = one.flow.log_prob(x[:, :1]) + two.flow.log_prob(x[:, 1:], x[:, :1])
    torch.testing.assert_close(density.log_prob(rows(x)), expected)


def test_samples_depend_as_the_rows_do() -> None:
    factors = [{"columns": ["x2"], "given": ["x1"], "transforms": AFFINE}, {"columns": ["x1"], "transforms": AFFINE}]
    density = built(factors, layout(2), perturbed=False)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5000, 2, generator=generator).double()
    x[:, 1] = 3 * x[:, 0] + 0.5 * x[:, 1] - 1
    density.initialize(rows(x))
    uniforms = torch.rand(20_000, density.noise_features, generator=generator).double()
    with torch.no_grad():
        drawn = density.sample(uniforms, torch.empty(20_000, 0)).numbers
    np.testing.assert_allclose(np.cov(drawn.numpy().T), np.cov(x.numpy().T), rtol=0.05)


def test_one_factor_keeps_its_own_order_of_columns() -> None:
    one = [{"columns": ["x3", "x1", "x2"], "given": ["c2"], "transforms": [{"affine_coupling": {"split": ["x3"]}}]}]
    density = built(one, layout(3, context_features=2))
    x, context = torch.randn(5, 3).double(), torch.randn(5, 2).double()
    latent = density.encode(rows(x, context=context))
    assert (latent == x).all(0).tolist() == [False, False, True]
    torch.testing.assert_close(density.decode(rows(latent, context=context)), x)
    other = density.encode(rows(x, context=context + torch.tensor([1.0, 0.0])))
    assert torch.equal(other, latent)


def test_samples_of_one_factor_are_in_the_tables_order() -> None:
    density = built([{"columns": ["x2", "x1"], "transforms": AFFINE}], layout(2), perturbed=False)
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)).double() * torch.tensor([1.0, 9.0]) + 5
    density.initialize(rows(x))
    with torch.no_grad():
        drawn = density.sample(torch.rand(5000, density.noise_features).double(), torch.empty(5000, 0)).numbers
    np.testing.assert_allclose(drawn.std(0), x.std(0), rtol=0.1)


def test_a_factor_without_numbers_has_no_use_for_a_flow() -> None:
    factors = [{"columns": ["l1"], "base": "student_t", "transforms": AFFINE}]
    with pytest.raises(ConfigError, match="factor l1: has no number columns, and no use for transforms and base"):
        built(factors, layout(cardinalities=[3]))


def test_a_constant_column_may_be_named() -> None:
    columns = Layout(numbers=("a",), constant=("k", "fixed"))
    density = built(
        [{"columns": ["a", "k"], "given": ["fixed"], "transforms": AFFINE}, {"columns": ["fixed"]}], columns
    )
    assert len(density.factors) == 1


@pytest.mark.parametrize(
    ("factors", "told"),
    [
        ([{"columns": ["x1"], "transforms": AFFINE}], "'x2' in no factor"),
        (
            [{"columns": ["x1", "x2", "xx3"], "transforms": AFFINE}],
            "xx3, columns: no modelled column 'xx3'",
        ),
        (
            [{"columns": ["x1", "x2"], "given": ["c9"], "transforms": AFFINE}],
            "factor x1\\+x2, given: no column 'c9'; there are",
        ),
        ([{"columns": ["x1", "x2", "c1"], "transforms": AFFINE}], "no modelled column 'c1'; it is a context column"),
        ([{"columns": ["x1", "x2"]}], "factor x1\\+x2: needs transforms for its number columns"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_factors_that_do_not_fit_the_table(factors: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        built(factors, layout(2, context_features=1))
    assert len(str(refused.value).splitlines()) == 1


def factor(columns: str, given: str = "", **more: Any) -> dict[str, Any]:
    return {"columns": list(columns), "given": list(given), "transforms": AFFINE, **more}


@pytest.mark.parametrize(
    ("flow", "told"),
    [
        ({"factors": [factor("a", "b"), factor("b", "c"), factor("c", "a")]}, "cycle: a <- b <- c <- a"),
        ({"factors": [factor("x"), factor("ab", "xb")]}, "cycle: a+b <- a+b"),
        ({"factors": [factor("ab"), factor("b")]}, "'b' is in two factors"),
        ({"factors": [factor("aa")]}, "'a' is twice in one factor"),
        ({"factors": [factor("")]}, "factor 1 has no columns"),
        ({"factors": []}, "at least 1 item"),
        ({"factors": [factor("a", "cc")]}, "factor a is given 'c' twice"),
        ({"factors": [factor("a")], "base": "student_t"}, "no base: each factor has its own"),
        ({"factors": [factor("a")], "transforms": AFFINE}, "no transforms: each factor has its own"),
        ({"factors": [factor("a", base="uniform")]}, "first transform must be logit"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_config_check_refuses(flow: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(None, options={"x": ("flow", flow)})
    assert told in str(refused.value)


QUICK = {"train__epochs": 60, "train__batch_size": 128, "train__learning_rate": 5e-3}


@pytest.fixture(scope="module")
def bent() -> pd.DataFrame:
    """A parabola with noise that grows, and a third column that depends on both."""
    rng = np.random.default_rng(0)
    x1 = rng.normal(size=3000)
    x2 = 0.5 * x1**2 + (0.2 + 0.2 * np.abs(x1)) * rng.normal(size=3000)
    x3 = np.sin(x1) + x2 + 0.3 * rng.normal(size=3000)
    return pd.DataFrame({"x1": x1, "x2": x2, "x3": x3})


def test_a_factorised_joint_is_as_good_as_the_joint(bent: pd.DataFrame) -> None:
    test = bent.tail(1000)
    factorised = {
        "factors": [
            {"columns": ["x1"], "transforms": [{"spline": {}}, "triangular_affine"]},
            {"columns": ["x2"], "given": ["x1"], "transforms": [{"spline_autoregressive": {}}, "triangular_affine"]},
            {"columns": ["x3"], "given": ["x1", "x2"], "transforms": [{"spline": {}}, "triangular_affine"]},
        ]
    }
    joint = {"transforms": [{"spline_autoregressive": {}}, "triangular_affine"]}
    means = [
        flowcli.fit(bent.head(2000), flow=flow, device="cpu", **QUICK).log_prob(test).mean()
        for flow in (factorised, joint)
    ]
    assert means[0] == pytest.approx(means[1], abs=0.05)
    # And both are near the truth.
    x1, x2, x3 = (test[name].to_numpy() for name in test)
    spread = 0.2 + 0.2 * np.abs(x1)
    truth = -0.5 * (x1**2 + ((x2 - 0.5 * x1**2) / spread) ** 2 + ((x3 - np.sin(x1) - x2) / 0.3) ** 2)
    truth = truth - np.log(spread) - math.log(0.3) - 1.5 * math.log(2 * math.pi)
    assert truth.mean() - max(means) < 0.1


@pytest.mark.parametrize("flow", [AFFINE, SPLINES], ids=["triangular_affine", "splines"])
def test_conditional_linear_gaussian_data(flow: list[Any]) -> None:
    rng = np.random.default_rng(1)
    given = rng.normal(size=(6000, 2))
    covariance = np.array([[0.5, 0.3], [0.3, 0.8]])
    mean = given @ np.array([[1.0, -2.0], [0.5, 0.3]]) + [3, -1]
    y = mean + rng.multivariate_normal([0, 0], covariance, size=6000)
    frame = pd.DataFrame(np.column_stack([given, y]), columns=["c1", "c2", "y1", "y2"])
    model = flowcli.fit(
        frame.head(5000), flow={"transforms": flow}, data__context=["c1", "c2"], device="cpu", train__epochs=20
    )
    residual = (y - mean)[5000:]
    quadratic = np.einsum("ij,jk,ik->i", residual, np.linalg.inv(covariance), residual)
    truth = -0.5 * (quadratic + np.log(np.linalg.det(covariance))) - math.log(2 * math.pi)
    assert truth.mean() - model.log_prob(frame.tail(1000)).mean() == pytest.approx(0, abs=0.02)
