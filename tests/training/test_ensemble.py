"""Densities trained side by side are what they are alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transforms.cases import perturb

from flowcli.config.schema import FlowConfig
from flowcli.flows.build import build_density
from flowcli.flows.density import TableDensity
from flowcli.flows.layout import Layout
from flowcli.flows.mixture import MixtureDensity
from flowcli.flows.rows import Rows
from flowcli.training.ensemble import Ensemble, can_be_together
from flowcli.training.folds import Folds
from flowcli.training.measuring import mean_log_likelihoods
from flowcli.training.trainer import Training
from flowcli.transforms import registry
from flowcli.transforms.support import Support

from .cases import banana, density, train_config

CONTEXT = 2
WHOLE = Layout(
    numbers=("a", "b", "c"),
    supports=(Support("log"), Support("arcsinh", step=0.1), Support(center=1.0, spread=2.0)),
    states=(None, None, None),
    labels=(("l", 3), ("m", 2)),
    ordinals=(("o", 3.0),),
    context=(("y", CONTEXT),),
)
PARTIAL = Layout(
    numbers=("a", "b", "c"),
    supports=(Support("softplus"), Support(), Support()),
    states=(None, 1, 2),
    labels=(("l", 3), ("b", 2), ("c", 3)),
    context=(("y", CONTEXT),),
)
# What is done by value, or column by column with products that vmap has no rule for.
SEARCHES = {"root finding", "d root findings", "ODE solver", "d passes"}


def variants() -> list[tuple[str, dict[str, Any]]]:
    """Every transform that can be scored, in both directions, with columns in orders of their own."""
    found = []
    for name, entry in registry.entries().items():
        known = {parameter.name for parameter in entry.parameters}
        own = {key: value for key, value in (("order", "random"), ("split", "random")) if key in known}
        own |= {"hidden": [6]} if "hidden" in known else {}
        for way in ["density", "sampling"] if "direction" in known else [""]:
            parameters = {**own, "direction": way} if way else own
            if registry.costs(name, parameters)[0] != "none":
                found.append((name, parameters))
    return found


def members(columns: Layout, flow: dict[str, Any], count: int = 3) -> list[TableDensity]:
    """Densities of one kind, with other weights, and other orders of the columns."""
    whole = build_density(FlowConfig.model_validate({"mixture": [{"copies": count, **flow}]}), columns)
    assert isinstance(whole, MixtureDensity)
    built = []
    for seed in range(count):
        each = whole.member(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            perturb(each, 0.3)
        built.append(each.double().eval())
    return built


@torch.no_grad()
def example(one: TableDensity, n: int = 12, seed: int = 0) -> Rows:
    """Rows that some density may have drawn, one of them with a label that training had not."""
    generator = torch.Generator().manual_seed(seed)
    numbers, _, ordinals = one.columns
    labels = torch.stack([torch.randint(size, (n,), generator=generator) for size in one.cardinalities], dim=-1)
    normals = torch.randn(n, numbers + ordinals + CONTEXT, generator=generator, dtype=torch.float64)
    return Rows(
        one.supports.from_real(normals[:, :numbers]),
        labels,
        torch.round(4 * normals[:, numbers : numbers + ordinals]),
        normals[:, numbers + ordinals :],
    )


def check(of: list[TableDensity]) -> None:
    """The ensemble's log-densities of shared rows, and of each member's own, are the members'."""
    ensemble = Ensemble(of)
    table = example(of[0])
    table.labels[3, 0] = -1
    each = [example(of[0], 12, seed) for seed in range(len(of))]
    with torch.no_grad():
        found = ensemble.log_prob(table)
        expected = torch.stack([member.log_prob(table) for member in of])
        assert bool(torch.isneginf(expected[:, 3]).all())
        assert not torch.allclose(expected[0], expected[1])
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        own = Rows(*(torch.stack(part) for part in zip(*(vars(rows).values() for rows in each), strict=True)))
        found = ensemble.log_prob(own)
        expected = torch.stack([member.log_prob(rows) for member, rows in zip(of, each, strict=True)])
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    for number, member in enumerate(of):
        state = ensemble.state_of(number)
        assert state.keys() == member.state_dict().keys()
        assert all(torch.equal(state[name], tensor) for name, tensor in member.state_dict().items())


@pytest.mark.parametrize(("name", "parameters"), variants(), ids=lambda value: str(value))
def test_every_transform(name: str, parameters: dict[str, Any]) -> None:
    entry = registry.entries()[name]
    base = "uniform" if entry.domain == "unit" else "normal"
    flow = {"base": base, "transforms": [{name: parameters}, {"permute": {"order": "random"}}]}
    apart = name == "batchnorm" or registry.costs(name, parameters)[0] in SEARCHES
    of = members(PARTIAL if entry.skips_absent and base == "normal" else WHOLE, flow)
    assert can_be_together(of, example(of[0], 4)) == (not apart)
    if not apart:
        check(of)


def test_members_with_orders_of_their_own() -> None:
    """Also where the first one's is that of the table, and before they have learned anything."""
    of = []
    for seed, order in enumerate([[1, 2, 3], [3, 1, 2], [2, 1, 3], [3, 2, 1]]):
        flow = {"transforms": ["triangular_affine", {"permute": {"order": order}}]}
        built = build_density(FlowConfig.model_validate(flow), PARTIAL, seed)
        assert isinstance(built, TableDensity)
        of.append(built.double())
    assert can_be_together(of, example(of[0], 4))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for member in of:
            perturb(member, 0.3)
    check(of)


@pytest.mark.parametrize(
    "flow",
    [
        {"base": "student_t", "transforms": [], "labels": {"modular_flow": {"hidden": [6]}}},
        {"transforms": [{"coupling": {"transformer": "spline", "hidden": [6]}}], "ordinals": "integer_flow"},
        {"repeat": 2, "transforms": [{"chain": {"transforms": ["actnorm", "permute"]}}]},
    ],
    ids=str,
)
def test_other_parts(flow: dict[str, Any]) -> None:
    of = members(WHOLE, flow)
    assert can_be_together(of, example(of[0], 4))
    check(of)


@pytest.mark.parametrize("transforms", [["batchnorm"], ["actnorm", {"chain": {"transforms": ["batchnorm"]}}]])
def test_running_statistics_keep_densities_apart(transforms: list[Any]) -> None:
    of = members(WHOLE, {"transforms": transforms})
    assert not can_be_together(of, example(of[0], 4))


def test_members_are_left_as_they_are() -> None:
    of = [density(banana(50, 0), seed=seed) for seed in range(2)]
    before = copy.deepcopy([member.state_dict() for member in of])
    config = train_config(epochs=2, learning_rate=0.1)
    training = Training(Ensemble(of), banana(50, 0), banana(0, 1), config, 0)
    training.run()
    for member, state in zip(of, before, strict=True):
        assert all(torch.equal(member.state_dict()[name], tensor) for name, tensor in state.items())
    assert not all(torch.equal(training.density.state_of(0)[name], tensor) for name, tensor in before[0].items())


# --- training


def doubled(table: Rows) -> Rows:
    return Rows(table.numbers.double(), table.labels, table.ordinals.double(), table.context.double())


@pytest.mark.parametrize(("noise", "average", "cuts"), [(0.0, 0.0, 0), (0.05, 0.9, 0), (0.0, 0.5, 2)])
def test_together_they_learn_what_they_learn_alone(noise: float, average: float, cuts: int) -> None:
    # In float64, so that adding up in another order does not grow to a difference; nothing is clipped, as the norm is
    # that of all together.
    table, validation = doubled(banana(120, 0)), doubled(banana(60, 1))
    config = train_config(
        epochs=6, batch_size=30, noise=noise, average=average, weight_decay=0.1, clip_norm=1e9, cuts=cuts
    )
    of = [density(banana(120, 0), seed=seed).double() for seed in range(3)]
    together = Training(Ensemble(of), table, validation, config, 0)
    progress = together.run()
    for number, member in enumerate(of):
        alone = Training(member, table, validation, config, 0)
        its = alone.run()
        assert [progress.best_epochs[number]] == its.best_epochs
        assert progress.best_validation_log_likelihoods[number] == pytest.approx(
            its.best_validation_log_likelihood, abs=1e-5
        )
        found = together.density.state_of(number)
        for name, tensor in alone.density.state_dict().items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-4)
    assert min(progress.best_epochs) > 0


def test_a_gradient_is_clipped_as_that_of_one_density() -> None:
    # Densities with gradients of one size are clipped together as each would be alone.
    far = doubled(banana(10, 0))
    far.numbers.add_(9)
    one = density(banana(100, 0), {"affine_autoregressive": {"hidden": [8]}}).double()
    config = train_config(epochs=1, batch_size=10, clip_norm=1e-3)
    norms = []
    for count in (1, 4):
        training = Training(Ensemble([one] * count), far, doubled(banana(10, 1)), config, 0)
        training.run()
        assert training.optimizer is not None
        norms.append(torch.cat([p.grad for p in training.optimizer.parameters if p.grad is not None]).norm())
    # The loss is the mean over the densities: of each, the gradient is a quarter of what it is alone.
    assert float(norms[0]) == pytest.approx(1e-3, rel=1e-5)
    assert float(norms[1]) / 2 == pytest.approx(1e-3 / 4, rel=1e-5)


@pytest.mark.parametrize("folded", [False, True])
def test_each_density_keeps_its_own_best_epoch(folded: bool) -> None:
    # Few rows and a large rate: they overfit, each at its own time.
    table = banana(24, 0)
    of = [density(banana(24, 0), "spline_autoregressive", seed=seed) for seed in range(3)]
    folds = Folds.of(24, 3, range(3), 0, torch.device("cpu")) if folded else None
    config = train_config(epochs=25, batch_size=6, learning_rate=0.02, decay="none", patience=100)
    training = Training(Ensemble(of), table, banana(0 if folded else 40, 1), config, 0, folds)
    seen = [mean_log_likelihoods(training.averaged, training.validation)]
    progress = training.run(
        on_epoch=lambda epoch: seen.append(mean_log_likelihoods(training.averaged, training.validation))
    )
    values = torch.tensor(seen)
    assert values.shape == (26, 3)
    assert progress.best_epochs == values.argmax(0).tolist()
    assert len({*progress.best_epochs}) > 1
    assert max(progress.best_epochs) < 25
    kept = mean_log_likelihoods(training.density, training.validation)
    assert kept == pytest.approx(values.max(0).values.tolist(), abs=1e-5)
    assert progress.best_validation_log_likelihoods == pytest.approx(kept, abs=1e-5)
    # By the rows that it left out, or the same validation rows.
    for number in range(3):
        alone = copy.deepcopy(of[number])
        alone.load_state_dict(training.density.state_of(number))
        rows = table.take(folds.left_out_by(number)) if folds else banana(40, 1)
        assert mean_log_likelihoods(alone, rows)[0] == pytest.approx(kept[number], abs=1e-5)
