"""Training steps that are compiled."""

from __future__ import annotations

import pytest
import torch

from flowcli.training.compiling import is_worth_compiling
from flowcli.training.trainer import Training, with_noise

from .cases import banana, density, train_config

LAYER = {"affine_coupling": {"hidden": [4]}}


def trained(**changed: object) -> tuple[Training, list[str]]:
    said: list[str] = []
    # Batches of two sizes: 103 rows in three.
    config = train_config(epochs=2, batch_size=35, **changed)
    training = Training(density(banana(103, 0), LAYER), banana(103, 0), banana(30, 1), config, 0)
    training.run(on_detail=said.append)
    return training, said


def is_like_plain(training: Training) -> bool:
    """Whether a training ended with the weights, to the bit, of one that compiled nothing."""
    plain, _ = trained(compile="never")
    return all(map(torch.equal, plain.density.state_dict().values(), training.density.state_dict().values()))


def test_compiled_steps_give_the_same_model() -> None:
    plain, nothing = trained(compile="never")
    compiled, said = trained(compile="always")
    assert nothing == []
    assert len(said) == 1
    assert said[0].startswith("compiling the training step")
    assert compiled.progress.step == plain.progress.step
    for (name, one), other in zip(
        plain.density.state_dict().items(), compiled.density.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4, msg=name)


def test_without_a_compiler_training_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(function: object) -> object:
        def call(*_: object) -> None:
            raise RuntimeError("no C++ compiler\nand a page about it")

        return call

    monkeypatch.setattr(torch, "compile", fails)
    training, said = trained(compile="always")
    assert said[1] == "training goes on without compiling: RuntimeError: no C++ compiler"
    assert is_like_plain(training)


def test_a_later_failure_ends_only_the_compiled_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def breaks(function: object) -> object:
        def call(*tensors: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise RuntimeError("another size")
            return function(*tensors)  # type: ignore[operator, no-any-return]

        return call

    monkeypatch.setattr(torch, "compile", breaks)
    training, said = trained(compile="always")
    assert said[1] == "training goes on without compiling: RuntimeError: another size"
    assert is_like_plain(training)


def test_an_interrupt_does_not_wait_for_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(
        density(banana(103, 0), LAYER), banana(103, 0), banana(30, 1), train_config(compile="always"), 0
    )

    def interrupted(function: object) -> object:
        training.stop()  # as a signal's handler does
        raise AssertionError("it went on")

    monkeypatch.setattr(torch, "compile", interrupted)
    assert training.run().stopped_by == "interrupt"
    assert training.progress.step == 0


def test_an_interrupt_just_before_the_compiler_does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(
        density(banana(103, 0), LAYER), banana(103, 0), banana(30, 1), train_config(compile="always"), 0
    )

    def noise(*args: object) -> object:
        training.stop()
        return with_noise(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("flowcli.training.trainer.with_noise", noise)
    monkeypatch.setattr(torch, "compile", lambda _: pytest.fail("it compiles"))
    assert training.run().stopped_by == "interrupt"
    assert training.progress.step == 0


@pytest.mark.parametrize(
    ("layers", "changed", "why"),
    [((LAYER,), {"max_time": 60}, "longer than train.max_time"), ((LAYER, "batchnorm"), {}, "running statistics")],
)
def test_what_is_not_compiled_even_if_asked_for(
    layers: tuple[object, ...], changed: dict[str, object], why: str
) -> None:
    said: list[str] = []
    config = train_config(epochs=1, compile="always", **changed)
    Training(density(banana(103, 0), *layers), banana(103, 0), banana(30, 1), config, 0).run(on_detail=said.append)
    assert len(said) == 1
    assert why in said[0]


@pytest.mark.parametrize("wrong", ["loss", "gradient"])
def test_a_compiled_step_that_gives_other_numbers_is_not_used(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    def distorted(function: object) -> object:
        def call(*tensors: torch.Tensor) -> torch.Tensor:
            value: torch.Tensor = function(*tensors)  # type: ignore[operator]
            return value + 0.1 if wrong == "loss" else value + 0.1 * (value - value.detach())

        return call

    monkeypatch.setattr(torch, "compile", distorted)
    _, said = trained(compile="always")
    assert "the compiled step is off by" in said[1]


@pytest.mark.parametrize(
    ("layer", "changed", "steps", "worth"),
    [
        (LAYER, {}, 100, True),
        (LAYER, {}, 10, False),
        (LAYER, {"epochs": 3}, 100, False),
        (LAYER, {"max_time": 60}, 100, False),
        (LAYER, {"max_time": 3600}, 100, True),
        # Whose training solves equations.
        ({"neural_autoregressive": {"hidden": [8], "units": 2}}, {}, 100, False),
    ],
)
def test_what_is_worth_it(layer: object, changed: dict[str, object], steps: int, worth: bool) -> None:
    config = train_config(**{"patience": 50, "epochs": 400, **changed})
    assert is_worth_compiling(config, steps, density(banana(50, 0), layer)) is worth
