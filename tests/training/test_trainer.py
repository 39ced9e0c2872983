"""The training loop: reproducible, restoring its best, and stopping when it should."""

from __future__ import annotations

import copy
import itertools
import math
import time

import pytest
import torch
from flows.cases import flow_of, layout

from flowcli.config.schema import FlowConfig
from flowcli.errors import FlowcliError
from flowcli.flows.build import build_density
from flowcli.flows.density import TableDensity
from flowcli.flows.rows import Rows
from flowcli.training.batches import Batch
from flowcli.training.defaults import resolve
from flowcli.training.measuring import mean_log_likelihoods
from flowcli.training.progress import Epoch
from flowcli.training.trainer import Training
from flowcli.transforms.continuous import Field
from flowcli.transforms.normalizing import BatchNorm
from flowcli.transforms.triangular import TriangularAffine

from .cases import banana, density, rows, stop_after, train_config


def weights(training: Training) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in training.density.state_dict().items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(("noise", "average"), [(0.0, 0.0), (0.1, 0.98)])
def test_same_seed_same_weights_to_the_bit(noise: float, average: float) -> None:
    trained = []
    for seed in (0, 0, 1):
        config = train_config(epochs=4, noise=noise, average=average)
        training = Training(density(banana(300, 0)), banana(300, 0), banana(60, 1), config, seed)
        with torch.random.fork_rng(devices=[]):
            # Nothing is drawn from the global generator.
            torch.manual_seed(len(trained))
            training.run()
        trained.append(weights(training))
    assert same(trained[0], trained[1])
    assert not same(trained[0], trained[2])


def test_it_learns() -> None:
    training = Training(
        density(banana(1000, 0)), banana(1000, 0), banana(500, 1), train_config(epochs=25, learning_rate=0.01), 0
    )
    start = mean_log_likelihoods(training.density, training.validation)[0]
    progress = training.run()
    # The entropy of the banana is that of N(0, 1) and N(0, 0.3): no model beats it but by luck.
    best = -(2 * 0.5 * math.log(2 * math.pi * math.e) + math.log(0.3))
    assert progress.best_validation_log_likelihood > start + 0.3
    assert best - 0.25 < progress.best_validation_log_likelihood < best + 0.1


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_the_best_weights_are_restored(average: float) -> None:
    # Few rows, a wide network and a large rate: it overfits, so that the best epoch is not the last.
    training = Training(
        density(banana(20, 0), "spline_autoregressive"),
        banana(20, 0),
        banana(60, 1),
        train_config(epochs=60, batch_size=10, learning_rate=0.02, decay="none", patience=100, average=average),
        0,
    )
    progress = training.run()
    values = [epoch.validation_log_likelihood for epoch in progress.epochs]
    assert len(values) == 60
    assert progress.best_epoch < 60
    assert progress.best_validation_log_likelihood == max(values)
    assert values[progress.best_epoch - 1] == max(values)
    assert values[-1] < max(values) - 0.01
    assert mean_log_likelihoods(training.density, training.validation)[0] == max(values)
    assert [epoch.number for epoch in progress.epochs if epoch.best][-1] == progress.best_epoch


def test_without_validation_rows_the_last_weights_are_kept() -> None:
    training = Training(density(banana(60, 0)), banana(60, 0), banana(0, 1), train_config(epochs=3), 0)
    start = weights(training)
    last: list[dict[str, torch.Tensor]] = []
    progress = training.run(on_epoch=lambda epoch: last.append(weights(training)))
    assert progress.best_epoch == 3
    assert same(weights(training), last[-1])
    assert not same(weights(training), start)


def test_no_epochs_leave_the_start() -> None:
    training = Training(density(banana(60, 0)), banana(60, 0), banana(60, 1), train_config(epochs=0), 0)
    start = weights(training)
    progress = training.run()
    assert same(weights(training), start)
    assert (progress.epochs, progress.best_epoch, progress.stopped_by) == ([], 0, "epochs")
    assert progress.best_validation_log_likelihood == mean_log_likelihoods(training.density, training.validation)[0]


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_steps_without_a_finite_gradient_are_skipped_and_counted(bad: float) -> None:
    training_rows = banana(300, 0)
    training_rows.numbers[17, 1] = bad
    start_from = density(training_rows, "affine_autoregressive")
    training = Training(start_from, training_rows, banana(60, 1), train_config(epochs=4), 0)
    start = mean_log_likelihoods(training.density, training.validation)[0]
    progress = training.run()
    # One step of each epoch holds the row.
    assert progress.skipped_steps == 4
    assert all(weight.isfinite().all() for weight in weights(training).values())
    assert all(math.isfinite(epoch.training_log_likelihood) for epoch in progress.epochs)
    assert progress.best_validation_log_likelihood > start


def test_the_learning_rate_is_eased_and_recovers() -> None:
    training_rows = banana(5000, 0)
    start_from = density(training_rows, "affine_autoregressive")
    config = train_config(epochs=1, decay="none", learning_rate=1e-3)
    training = Training(start_from, training_rows, banana(60, 1), config, 0)
    # The tenth and the eleventh step of a hundred.
    for batch in list(itertools.islice(training.batches.of(1), 9, 11)):
        for row in batch.rows.numbers:
            training_rows.numbers[(training_rows.numbers == row).all(-1)] = math.nan
    rates: list[float] = []
    step = training._step

    def noted(batch: Batch, there: tuple[Rows, torch.Tensor], started: float) -> float | None:
        rates.append(training.progress.learning_rate)
        return step(batch, there, started)

    training._step = noted  # type: ignore[method-assign]
    assert training.run().skipped_steps == 2
    assert rates[:10] == [1e-3] * 10
    assert rates[10:12] == [5e-4, 2.5e-4]
    # Fifty good steps double it.
    assert rates[11 + 50] == pytest.approx(5e-4)
    assert rates == sorted(rates[:12], reverse=True) + sorted(rates[12:])
    assert len(rates) == 100


@pytest.mark.parametrize("validated", [60, 0])
def test_bad_steps_in_a_row_end_a_long_epoch(validated: int) -> None:
    training_rows = banana(10_000, 0)
    start_from = density(training_rows, "affine_autoregressive")
    training = Training(start_from, training_rows, banana(validated, 1), train_config(batch_size=20), 0)
    for batch in list(itertools.islice(training.batches.of(1), 50, 500)):
        for row in batch.rows.numbers:
            training_rows.numbers[(training_rows.numbers == row).all(-1)] = math.nan
    start = training.progress.best_validation_log_likelihood
    progress = training.run()
    assert (progress.stopped_by, progress.skipped_steps, progress.best_epoch) == ("divergence", 100, 1)
    if not validated:
        return
    assert progress.best_validation_log_likelihood > start
    assert mean_log_likelihoods(training.density, training.validation)[0] == progress.best_validation_log_likelihood


def test_nothing_but_bad_steps_stops_the_training() -> None:
    bad = rows(torch.full((100, 2), math.nan))
    start = density(banana(100, 0))
    training = Training(copy.deepcopy(start), bad, banana(60, 1), train_config(), 0)
    progress = training.run()
    assert (progress.stopped_by, progress.best_epoch, progress.skipped_steps) == ("divergence", 0, 2)
    assert same(weights(training), start.state_dict())
    with pytest.raises(FlowcliError, match=r"diverged.*train\.learning_rate") as stopped:
        Training(copy.deepcopy(start), bad, banana(0, 1), train_config(), 0).run()
    assert "\n" not in str(stopped.value)


def test_max_time_is_kept() -> None:
    training_rows = banana(20_000, 0)
    training = Training(
        density(training_rows, {"spline_autoregressive": {}}),
        training_rows,
        banana(200, 1),
        train_config(epochs=100_000, batch_size=512, max_time=1.5, patience=100_000),
        0,
    )
    started = time.monotonic()
    progress = training.run()
    seconds = time.monotonic() - started
    assert progress.stopped_by == "max_time"
    # One step and one look at the validation rows are well under a tenth of a second here.
    assert 1.4 < seconds < 1.5 * 1.1 + 0.3
    assert progress.seconds == pytest.approx(seconds, abs=0.1)
    # The rate has come down as if the time were all the epochs there are.
    assert progress.epochs[-1].learning_rate < 0.01 * 2e-3


def test_patience_stops() -> None:
    # The better it fits the training rows, the worse these: no epoch beats the start.
    training_rows = banana(200, 0)
    validation = rows(-3 * training_rows.numbers)
    training = Training(
        density(training_rows, {"affine_autoregressive": {"hidden": [16]}}),
        training_rows,
        validation,
        train_config(epochs=50, patience=3, learning_rate=1e-3),
        0,
    )
    training.density.load_state_dict(
        {k: torch.zeros_like(v) if "output" in k else v for k, v in weights(training).items()}
    )
    progress = training.run()
    assert progress.stopped_by == "patience"
    assert len(progress.epochs) == progress.best_epoch + 3


def test_weight_decay_leaves_the_triangular_affine_alone() -> None:
    normal = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    training_rows = rows(normal + 100)
    built = density(training_rows, {"affine_coupling": {"hidden": [16]}}, "triangular_affine")
    hidden = {name: weight.clone() for name, weight in built.named_parameters() if "hidden" in name}
    config = train_config(epochs=200, batch_size=200, learning_rate=2e-3, weight_decay=2.0, decay="none")
    training = Training(built, training_rows, rows(torch.empty(0, 2)), config, 0)
    training.run()
    triangular = next(module for module in built.modules() if isinstance(module, TriangularAffine))
    # Decay would have taken exp(-200 * 2e-3 * 2) of it; its own steps are of 2e-3 at most.
    assert (triangular.location - 100).abs().max() < 2
    now = dict(built.named_parameters())
    for name, weight in hidden.items():
        assert now[name].norm() < 0.8 * weight.norm(), name


def test_adams_weight_decay_leaves_it_alone_too() -> None:
    training_rows = rows(torch.randn(200, 2, generator=torch.Generator().manual_seed(0)) + 100)
    built = density(training_rows, "triangular_affine")
    config = train_config(epochs=200, batch_size=200, learning_rate=2e-3, weight_decay=2.0, optimizer="adam")
    Training(built, training_rows, rows(torch.empty(0, 2)), config, 0).run()
    triangular = next(module for module in built.modules() if isinstance(module, TriangularAffine))
    assert (triangular.location - 100).abs().max() < 0.1


def test_the_kept_weights_are_the_moving_average_of_the_steps() -> None:
    # One step an epoch, so that an epoch's weights are a step's.
    config = train_config(epochs=30, batch_size=100, average=0.9, learning_rate=0.01)
    training = Training(density(banana(100, 0)), banana(100, 0), banana(0, 1), config, 0)
    steps: list[dict[str, torch.Tensor]] = []
    training.run(
        on_epoch=lambda epoch: steps.append({k: p.detach().clone() for k, p in training.density.named_parameters()})
    )
    expected = steps[0]
    for step in steps[1:]:
        expected = {name: 0.9 * expected[name] + 0.1 * step[name] for name in step}
    for name, parameter in training.density.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], atol=1e-6, rtol=1e-5)


def test_noise_widens_the_fit_and_leaves_the_rows_alone() -> None:
    normal = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    training_rows = rows(normal.clone())
    built = density(training_rows, "triangular_affine")
    config = train_config(epochs=60, batch_size=500, noise=1.0, learning_rate=0.02, average=0.9)
    Training(built, training_rows, rows(torch.empty(0, 1)), config, 0).run()
    triangular = next(module for module in built.modules() if isinstance(module, TriangularAffine))
    # The sum of two normals of variance one each.
    assert triangular.log_diagonal.exp().item() == pytest.approx(math.sqrt(normal.var().item() + 1), rel=0.03)
    assert torch.equal(training_rows.numbers, normal)


def test_gradients_are_clipped() -> None:
    # One step from the start: Adam divides by the gradient's size, and so only its direction would show.
    far = rows(torch.full((10, 2), 1e4))
    near = banana(100, 0)
    training = Training(density(near), far, banana(10, 1), train_config(epochs=1, batch_size=10, clip_norm=1e-3), 0)
    training.run()
    assert training.optimizer is not None
    norm = torch.cat([p.grad for p in training.optimizer.parameters if p.grad is not None]).norm()
    assert norm <= 1.001e-3


def test_labels_without_training_rows_do_not_decide() -> None:
    # A validation row whose label training had not is minus infinity for every model alike.
    codes = torch.tensor([[0], [1]]).repeat(50, 1)
    training_rows = rows(banana(100, 0).numbers, codes)
    unseen = torch.cat([codes[:19], torch.tensor([[-1]])])
    validation = rows(banana(20, 1).numbers, unseen)
    training = Training(density(training_rows, labels=(2,)), training_rows, validation, train_config(epochs=3), 0)
    seen = rows(validation.numbers[:19], unseen[:19])
    assert training.progress.best_validation_log_likelihood == pytest.approx(
        mean_log_likelihoods(training.density, seen)[0], abs=1e-6
    )
    assert math.isfinite(training.run().best_validation_log_likelihood)


def test_validation_rows_of_unseen_labels_alone_do_not_stop_learning() -> None:
    # As without validation rows: there is nothing to choose by, and the last weights are kept.
    codes = torch.tensor([[0], [1]]).repeat(50, 1)
    training_rows = rows(banana(100, 0).numbers, codes)
    validation = rows(banana(5, 1).numbers, torch.full((5, 1), -1))
    training = Training(density(training_rows, labels=(2,)), training_rows, validation, train_config(epochs=3), 0)
    start = weights(training)
    progress = training.run()
    assert progress.best_epoch == 3
    assert not same(weights(training), start)


@pytest.mark.parametrize(
    ("n", "size", "decay", "noise"), [(10, 16, 1.0, 0.1), (1000, 64, 0.1, 0.01), (100_000, 512, 0.001, 0.0001)]
)
def test_what_is_left_to_the_rows(n: int, size: int, decay: float, noise: float) -> None:
    resolved = resolve(train_config(batch_size=None, weight_decay=None, noise=None), n)
    assert resolved.batch_size == size
    assert resolved.weight_decay == pytest.approx(decay)
    assert resolved.noise == pytest.approx(noise)
    kept = resolve(train_config(batch_size=7), n)
    assert (kept.batch_size, kept.weight_decay, kept.noise) == (7, 0.0, 0.0)


def normalised(training_rows: Rows) -> TableDensity:
    return density(training_rows, "batchnorm", {"affine_coupling": {"hidden": [16]}}, "batchnorm")


def test_steps_move_running_statistics_and_validation_does_not() -> None:
    training = Training(normalised(banana(300, 0)), banana(300, 0), banana(60, 1), train_config(epochs=5), 0)
    averaged = training.averaged
    moved: list[dict[str, torch.Tensor]] = []
    validated: list[dict[str, torch.Tensor]] = []

    def on_epoch(epoch: Epoch) -> None:
        before = {name: buffer.clone() for name, buffer in averaged.named_buffers()}
        assert mean_log_likelihoods(averaged, training.validation)[0] == epoch.validation_log_likelihood
        assert same(before, dict(averaged.named_buffers()))
        moved.append({name: buffer.clone() for name, buffer in training.density.named_buffers()})
        validated.append(before)

    start = {name: buffer.clone() for name, buffer in training.density.named_buffers()}
    progress = training.run(on_epoch=on_epoch)
    for one, two in itertools.pairwise([start, *moved]):
        assert not same(one, two)
    # The best weights come with theirs.
    assert progress.best_epoch > 0
    assert not training.density.training
    assert same(validated[progress.best_epoch - 1], dict(training.density.named_buffers()))
    assert mean_log_likelihoods(training.density, training.validation)[0] == progress.best_validation_log_likelihood


def test_running_statistics_are_the_same_to_the_bit_after_a_resume() -> None:
    def start() -> Training:
        config = train_config(epochs=3, average=0.9, noise=0.05)
        return Training(normalised(banana(300, 0)), banana(300, 0), banana(60, 1), config, 0)

    whole, interrupted, resumed = start(), start(), start()
    whole.run()
    stop_after(interrupted, 8)
    saved: list[tuple[dict[str, torch.Tensor], dict[str, object]]] = []
    interrupted.run(on_checkpoint=lambda training: saved.append(copy.deepcopy(training.state())))
    resumed.restore(*saved[-1])
    progress = resumed.run()
    assert [epoch.number for epoch in progress.epochs] == [1, 2, 3]
    assert same(weights(whole), weights(resumed))


def test_a_density_that_cannot_be_computed_is_a_step_skipped() -> None:
    # A field that spins too fast for single precision's steps, as a rate far too high may leave it.
    training_rows = banana(50, 0)
    spinning = density(training_rows, {"ffjord": {"hidden": [4]}})
    start = Training(copy.deepcopy(spinning), training_rows, training_rows, train_config(epochs=1), 0)
    start.run()
    assert start.progress.skipped_steps == 0
    field = next(module for module in spinning.modules() if isinstance(module, Field))
    with torch.no_grad():
        field.hidden[0].weight[:2, :2] = torch.eye(2)
        field.output.weight[:, :2] = 1e5 * torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    training = Training(spinning, training_rows, training_rows, train_config(epochs=1), 0)
    assert training.progress.best_validation_log_likelihood == -math.inf
    with pytest.raises(FlowcliError, match=r"diverged.*train\.learning_rate"):
        training.run()
    assert training.progress.skipped_steps == 1


def test_averaged_weights_have_statistics_of_their_own() -> None:
    training_rows = banana(400, 0)
    built = density(training_rows, {"affine_coupling": {"hidden": [16]}}, "batchnorm", "permute", "batchnorm")
    config = train_config(epochs=3, average=0.98, learning_rate=0.05)
    Training(built, training_rows, banana(100, 1), config, 0).run()
    # What the layers see of the training rows has the mean and variance that they hold.
    x = training_rows.numbers
    chain = flow_of(built).chain
    for part in reversed(chain.bijections()):
        if isinstance(part, BatchNorm):
            torch.testing.assert_close(part.mean, x.mean(0), atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(part.variance, x.var(0, correction=0) + 1e-5, atol=1e-4, rtol=1e-3)
        x = part.inverse_and_log_det(x)[0].detach()


def test_a_mixture_is_not_pulled_to_zero() -> None:
    clumps = torch.tensor([[-2.0], [2.0]]).repeat(60, 1) + 0.1 * torch.randn(
        120, 1, generator=torch.Generator().manual_seed(0)
    )
    config = FlowConfig.model_validate({"base": {"gaussian_mixture": {"components": 2}}, "transforms": []})
    built = build_density(config, layout(1))
    built.initialize(rows(clumps))
    before = float(built.log_prob(rows(clumps)).detach().mean())
    training = Training(built, rows(clumps), rows(torch.empty(0, 1)), train_config(epochs=60, weight_decay=1.0), 0)
    training.run()
    assert float(built.log_prob(rows(clumps)).detach().mean()) > before - 0.05


def test_masks_kept_in_the_weights_are_as_good_as_masks_in_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = []
    for kept in (True, False):
        if not kept:
            monkeypatch.setattr("flowcli.training.trainer.take_as_masked", lambda *_: None)
        training = Training(density(banana(200, 0)), banana(200, 0), banana(60, 1), train_config(), 0)
        training.run()
        weights.append(training.best_weights)
    for name, one in weights[0].items():
        torch.testing.assert_close(weights[1][name], one, rtol=0, atol=0, msg=name)
