"""Training a mixture: interrupted and resumed, in bounded time, and weighted by rows that no member learned from."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flows.cases import layout
from hostile import key_of, put_together, taken_apart
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import flowcli.training.mixture as mixture_module
import flowcli.training.trainer as trainer
from flowcli.config.schema import Config, FlowConfig
from flowcli.errors import ModelError
from flowcli.flows.build import build_density
from flowcli.flows.density import TableDensity
from flowcli.flows.mixture import MixtureDensity
from flowcli.training.adam import Adam
from flowcli.training.checkpoint import restore_checkpoint, save_checkpoint
from flowcli.training.folds import Folds
from flowcli.training.mixture import MixtureTraining

from .cases import banana, train_config

NORMALS = {"copies": 2, "epochs": 0, "transforms": [], "base": {"gaussian_mixture": {"components": 2}}}
COUPLING = {"copies": 3, "transforms": [{"affine_coupling": {"hidden": [8]}}, "permute"]}
APART = {"copies": 2, "epochs": 2, "transforms": [{"affine_coupling": {"hidden": [4]}}, "batchnorm"]}
LAST = {"epochs": 0, "transforms": ["triangular_affine"]}
# Mixtures of normals, each on its own; couplings, side by side; batch-normalised ones, each on its own; the last.
MIXTURE: list[dict[str, Any]] = [NORMALS, COUPLING, APART, LAST]
SETTINGS: dict[str, Any] = {"epochs": 3, "batch_size": 30, "noise": 0.05, "average": 0.9, "weight_decay": 0.1}
# 90 rows in batches of 30; each of those apart leaves out a third of them.
STEPS = [3 * 3, 2 * 2, 2 * 2]


def start(folds: int = 3, mixture: list[dict[str, Any]] = MIXTURE, **changed: Any) -> MixtureTraining:
    config = FlowConfig.model_validate({"mixture": mixture})
    density = build_density(config, layout(2))
    assert isinstance(density, MixtureDensity)
    assert config.mixture is not None
    validation = banana(0 if folds > 1 else 60, 1)
    train = train_config(**{**SETTINGS, "folds": folds, **changed})
    return MixtureTraining(density, config.mixture, banana(90, 0), validation, train, 5)


def same(one: MixtureTraining, two: MixtureTraining) -> bool:
    clock = {"seconds": 0.0, "rows_per_second": 0.0}
    epochs = [
        [repr(replace(epoch, **clock)) for epoch in each.progress.epochs]  # as text: NaN is no NaN
        for each in (one, two)
    ]
    states = [each.density.state_dict() for each in (one, two)]
    return (
        epochs[0] == epochs[1]
        and one.progress.best_epochs == two.progress.best_epochs
        and all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        and torch.equal(one.held_out_log_prob, two.held_out_log_prob)
        and one.entries_told() == two.entries_told()
    )


@pytest.fixture(scope="module")
def whole() -> dict[int, MixtureTraining]:
    """Trainings that nothing interrupted, by their folds."""
    trained = {folds: start(folds) for folds in (1, 3)}
    for training in trained.values():
        training.run()
    return trained


def test_groups(whole: dict[int, MixtureTraining]) -> None:
    training = whole[3]
    assert [group.numbers for group in training.groups] == [(0,), (1,), (2, 3, 4), (5,), (6,), (7,)]
    assert [group.epochs for group in training.groups] == [0, 0, 3, 2, 2, 0]
    assert training.epochs == 7
    assert [epoch.number for epoch in training.progress.epochs] == [*range(1, 8)]
    assert training.progress.stopped_by == "epochs"
    # The epochs that are kept are numbered as the others; 0 is a start.
    best = training.progress.best_epochs
    assert len(best) == 5
    assert all(each in (0, 1, 2, 3) for each in best[:3])
    assert best[3] in (0, 4, 5)
    assert best[4] in (0, 6, 7)


def stop_in(
    training: MixtureTraining, monkeypatch: pytest.MonkeyPatch, what: str, number: int
) -> Callable[[Any], None]:
    """Ask for an end in a step, while a checkpoint is written, or while members take their start."""
    taken = itertools.count(1)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            result = function(*args, **more)
            if next(taken) == number:
                training.stop()
            return result

        return call

    if what == "step":
        monkeypatch.setattr(Adam, "step", counted(Adam.step))
    if what == "start":
        monkeypatch.setattr(TableDensity, "initialize", counted(TableDensity.initialize))
    return counted(lambda checkpoint: None) if what == "checkpoint" else lambda checkpoint: None


INTERRUPTIONS = [
    *(("step", number) for number in (1, 4, 9, 10, 13, 14, 17)),
    # Groups are told of when they begin and end, and where the interrupted one stands.
    *(("checkpoint", number) for number in range(1, 7)),
    # Of eight members; those that are trained side by side start one after the other.
    *(("start", number) for number in (1, 2, 3, 5, 6, 7)),
]


@pytest.mark.parametrize(
    ("folds", "what", "number"), [*((3, *each) for each in INTERRUPTIONS), *((1, *each) for each in INTERRUPTIONS[::4])]
)
def test_resumed_weights_are_the_same_to_the_bit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: dict[int, MixtureTraining],
    folds: int,
    what: str,
    number: int,
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    interrupted = start(folds)
    assert sum(STEPS) == 17
    if folds == 1:
        monkeypatch.setattr(mixture_module, "TRIED_ROWS", 2)  # which rows are tried changes nothing
    with monkeypatch.context() as patched:
        stop = stop_in(interrupted, patched, what, number)

        def keep(training: MixtureTraining) -> None:
            save_checkpoint(path, training, Config(), {"files": ["a.csv"]})
            stop(training)

        assert interrupted.run(on_checkpoint=keep).stopped_by == "interrupt"
    done = len(interrupted.progress.epochs)
    assert done < 7 or (what, number) in (("step", 17), ("checkpoint", 6))
    resumed = start(folds)
    restore_checkpoint(path, resumed)
    assert len(resumed.progress.epochs) == done
    told: list[int] = []
    resumed.run(on_epoch=lambda epoch: told.append(epoch.number))
    assert told == [*range(done + 1, 8)]
    assert same(resumed, whole[folds])


def test_what_is_interrupted_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[int, MixtureTraining]
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    for times in range(20):
        training = start()
        if times:
            restore_checkpoint(path, training)
        with monkeypatch.context() as patched:
            stop_in(training, patched, "step", 2)
            training.run(on_checkpoint=lambda t: save_checkpoint(path, t, Config(), {"files": ["a.csv"]}))
        if training.progress.stopped_by != "interrupt":
            break
    assert times > 5
    assert same(training, whole[3])


# --- checkpoints of others


def late(**changed: Any) -> Callable[[dict[str, Any]], None]:
    return lambda facts: facts.update(changed)


def no_longer(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda facts: facts.pop(key)


NONSENSE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a group below 0": late(at=-1),
    "a group beyond the last": late(at=6, finished=[]),
    "far beyond": late(at=10**30),
    "no number of a group": late(at="x"),
    "a truth for a number": late(at=True),
    "another group": lambda facts: late(at=4, finished=[*facts["finished"], facts["finished"][0]])(facts),
    "a group before": lambda facts: late(at=1, finished=facts["finished"][:1])(facts),
    "no groups": late(finished=[]),
    "groups that are none": late(finished=[{"epoch": "x"}] * 2),
    "groups of something else": late(finished=3),
    "no list in a group": lambda facts: facts["finished"][0].update(epochs="x"),
    "an epoch below 0": lambda facts: facts["finished"][0].update(epoch=-1),
    "nothing under way": late(current=None),
    "something else under way": late(current=3),
    "no training under way": late(current={"at": 3}),
    "best epochs of other densities": lambda facts: facts["current"].update(best_epochs=[1]),
    "best likelihoods of other densities": lambda facts: facts["current"].update(best_validation_log_likelihoods=[0.0]),
    "both": lambda facts: facts["current"].update(best_epochs=[1], best_validation_log_likelihoods=[0.0]),
    "a step below 0": lambda facts: facts["current"].update(step=-3),
    "a cut below 0": lambda facts: facts["current"].update(cuts=-1),
    "no current": no_longer("current"),
    "no at": no_longer("at"),
    "no finished": no_longer("finished"),
    "nothing": lambda facts: facts.clear(),
}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint of a mixture whose third group is under way."""
    path = tmp_path_factory.mktemp("interrupted") / "checkpoint.safetensors"
    training = start()
    with pytest.MonkeyPatch.context() as patched:
        stop_in(training, patched, "step", 5)
        training.run(on_checkpoint=lambda t: save_checkpoint(path, t, Config(), {"files": ["a.csv"]}))
    assert training.at == 2
    return path.read_bytes()


@pytest.mark.parametrize("name", [None, *NONSENSE])
def test_facts_that_are_none(tmp_path: Path, interrupted: bytes, name: str | None) -> None:
    path = tmp_path / "checkpoint.safetensors"
    header, weights = taken_apart(interrupted)
    key = key_of(header["__metadata__"])
    inner = json.loads(header["__metadata__"][key])
    if name is not None:
        NONSENSE[name](inner["progress"])
    header["__metadata__"][key] = json.dumps(inner)
    path.write_bytes(put_together(header, weights))
    if name is None:
        restore_checkpoint(path, start())
        return
    with pytest.raises(ModelError) as refused:
        restore_checkpoint(path, start())
    assert str(path) in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_other_mixtures_are_refused(tmp_path: Path, interrupted: bytes) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(interrupted)
    for mixture in ([COUPLING], [NORMALS, {**COUPLING, "copies": 2}, APART, LAST], MIXTURE[:3]):
        with pytest.raises(ModelError) as refused:
            restore_checkpoint(path, start(mixture=mixture))
        assert len(str(refused.value).splitlines()) == 1


# --- weights


def member_log_probs(training: MixtureTraining, table: Any) -> np.ndarray:
    """Of each row by each member, ``(n, k)``."""
    members = [training.density.member(k) for k in range(training.density.components)]
    with torch.no_grad():
        return np.stack([member.eval().log_prob(table).double().numpy() for member in members], axis=-1)


def mean_density(log_probs: np.ndarray) -> float:
    return float(logsumexp(log_probs) - math.log(len(log_probs)))


def weighed(training: MixtureTraining, monkeypatch: pytest.MonkeyPatch) -> MixtureTraining:
    """Run, but for the last step, in which members take their start from the rows that they had left out, too."""
    monkeypatch.setattr(training, "_start_from_all_rows", lambda: None)
    training.run()
    return training


def test_held_out_rows_are_scored_by_members_that_left_them_out(monkeypatch: pytest.MonkeyPatch) -> None:
    training = weighed(start(3), monkeypatch)
    each = member_log_probs(training, training.training)
    part = Folds.of(90, 3, [0], 5, torch.device("cpu")).part.tolist()
    entries = [[0, 1], [2, 3, 4], [5, 6], [7]]
    weights = training.density.weights.double().numpy()
    # A member of its own leaves out the first part alone, so that nothing compares all on the other rows.
    rows = [row for row in range(90) if part[row] == 0]
    expected = []
    for row in rows:
        # Copy number c of an entry leaves out part c.
        by_entry = [mean_density(each[row, [members[0]]]) for members in entries]
        expected.append(logsumexp(by_entry, b=[weights[members].sum() for members in entries]))
    np.testing.assert_allclose(training.held_out_log_prob.numpy(), expected, atol=1e-5)
    for members in entries:
        assert np.ptp(weights[members]) < 1e-6  # copies count alike
    assert weights.sum() == pytest.approx(1, abs=1e-6)
    told = training.entries_told()
    assert [entry["copies"] for entry in told] == [2, 3, 2, 1]
    for entry, members in zip(told, entries, strict=True):
        assert entry["weight"] == pytest.approx(weights[members].sum(), abs=1e-6)
        assert entry["held_out_log_likelihood"] == pytest.approx(each[rows, members[0]].mean(), abs=1e-5)


def test_copies_for_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    # Five copies and three parts: some parts are left out by two.
    training = start(mixture=[{**COUPLING, "copies": 5}, {**NORMALS, "copies": 3}], epochs=1)
    weighed(training, monkeypatch)
    each = member_log_probs(training, training.training)
    part = Folds.of(90, 3, [0], 5, torch.device("cpu")).part.tolist()
    weights = training.density.weights.double().numpy()
    expected = []
    for row in range(90):
        first = [k for k in range(5) if k % 3 == part[row]]
        by_entry = [mean_density(each[row, first]), each[row, 5 + part[row]]]
        expected.append(logsumexp(by_entry, b=[weights[:5].sum(), weights[5:].sum()]))
    np.testing.assert_allclose(training.held_out_log_prob.numpy(), expected, atol=1e-5)


def test_without_folds_the_validation_rows_decide() -> None:
    training = start(1, [COUPLING, APART])
    training.run()
    each = member_log_probs(training, training.validation)
    weights = training.density.weights.double().numpy()
    found = logsumexp(each, b=weights, axis=-1)
    np.testing.assert_allclose(training.held_out_log_prob.numpy(), found, atol=1e-5)
    # No other weights are likelier.
    random = np.random.default_rng(0)
    for other in random.dirichlet(np.ones(5), 50):
        mixed = 0.9 * weights + 0.1 * other
        assert logsumexp(each, b=mixed, axis=-1).mean() < found.mean() + 2e-3


def test_what_only_takes_a_start_takes_it_from_the_validation_rows_too() -> None:
    training = start(1, [LAST])
    training.run()
    learned, held_out = (rows.numbers.double().numpy() for rows in (training.training, training.validation))
    both = np.concatenate([learned, held_out])
    expected = multivariate_normal(both.mean(axis=0), np.cov(both.T, bias=True)).logpdf(held_out)
    np.testing.assert_allclose(member_log_probs(training, training.validation)[:, 0], expected, rtol=1e-4)
    # What is told of them is from before, when they were held out.
    before = multivariate_normal(learned.mean(axis=0), np.cov(learned.T, bias=True)).logpdf(held_out)
    np.testing.assert_allclose(training.held_out_log_prob.numpy(), before, rtol=1e-4)


def test_what_only_takes_a_start_takes_it_from_the_parts_left_out_too() -> None:
    training = start(3, [{**LAST, "copies": 3}])
    training.run()
    rows = training.training.numbers.double().numpy()
    expected = multivariate_normal(rows.mean(axis=0), np.cov(rows.T, bias=True)).logpdf(rows)
    for each in member_log_probs(training, training.training).T:
        np.testing.assert_allclose(each, expected, rtol=1e-4)


def test_the_weights_are_better_than_the_start() -> None:
    # One kind can learn the parabola, the other cannot.
    couplings = {**COUPLING, "copies": 3, "transforms": [{"spline_autoregressive": {"hidden": [16]}}]}
    training = start(mixture=[couplings, {**LAST, "copies": 3}], epochs=30, learning_rate=0.02)
    training.run()
    good, bad = training.entries_told()
    assert good["held_out_log_likelihood"] > bad["held_out_log_likelihood"]
    assert good["weight"] > 0.5
    mean = float(training.held_out_log_prob.mean())
    assert mean > max(good["held_out_log_likelihood"], bad["held_out_log_likelihood"]) - 1e-6


@pytest.mark.parametrize("folds", [1, 3])
def test_members_that_cannot_be_side_by_side(folds: int) -> None:
    others = [
        {"copies": 3, "transforms": ["triangular_affine", "batchnorm"]},
        {"copies": 3, "transforms": [{"planar": {"direction": "sampling"}}, "triangular_affine"]},
        {"copies": 3, "transforms": ["planar", "triangular_affine"]},
    ]
    training = start(folds, others, epochs=2)
    training.run()
    assert len(training.groups) > 3
    weights = training.density.weights
    assert float(weights.sum()) == pytest.approx(1, abs=1e-6)
    with torch.no_grad():
        assert bool(torch.isfinite(training.density.eval().log_prob(banana(30, 2))).all())
    assert bool(torch.isfinite(training.held_out_log_prob).all())


def test_a_single_row_and_none_to_validate() -> None:
    config = FlowConfig.model_validate({"mixture": [COUPLING]})
    density = build_density(config, layout(2))
    assert isinstance(density, MixtureDensity)
    assert config.mixture is not None
    training = MixtureTraining(density, config.mixture, banana(1, 0), banana(0, 1), train_config(folds=5, epochs=1), 0)
    training.run()
    assert density.weights.tolist() == pytest.approx([1 / 3] * 3)


# --- time


@pytest.mark.parametrize(("step", "again"), [(0.01, True), (1.0, False)])
def test_a_limit_leaves_time_to_start_from_all_rows(monkeypatch: pytest.MonkeyPatch, step: float, again: bool) -> None:
    """By a clock that goes on by so many seconds with every look, of which a start takes two."""
    mixture = [NORMALS, COUPLING]
    free = start(mixture=mixture)
    free.run()
    clock = itertools.count()
    monkeypatch.setattr(trainer.time, "monotonic", lambda: next(clock) * step)
    limited = start(mixture=mixture, epochs=1000, patience=1000, max_time=15.0)
    limited.run()
    normals = [name for name in free.density.state_dict() if name.startswith(("members.0.", "members.1."))]
    alike = [torch.equal(free.density.state_dict()[name], limited.density.state_dict()[name]) for name in normals]
    assert all(alike) is again


def test_max_time_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by a hundredth of a second with every look."""
    clock = itertools.count()
    monkeypatch.setattr(trainer.time, "monotonic", lambda: next(clock) / 100)
    training = start(epochs=1000, max_time=6.0, patience=1000, mixture=[NORMALS, COUPLING, {**APART, "epochs": None}])
    begun = trainer.time.monotonic()
    progress = training.run()
    taken = trainer.time.monotonic() - begun
    assert progress.stopped_by == "max_time"
    assert 5.5 < progress.seconds < 6.3
    assert progress.seconds == pytest.approx(taken, abs=0.2)
    # Every group has its share, by how much there is to train, and its rate comes down in it.
    parts = [part for part in training._finished if part.epochs]
    sizes = [
        sum(p.numel() for number in group.numbers for p in training.density.member(number).parameters())
        for group in training.groups
        if group.epochs
    ]
    assert len(parts) == len(sizes) == 3
    assert sizes[0] > 2 * sizes[1] > 0
    for part, size in zip(parts, sizes, strict=True):
        assert part.seconds == pytest.approx(6 * size / sum(sizes), abs=0.3)
        assert part.epochs[-1].learning_rate < 0.2 * 2e-3
