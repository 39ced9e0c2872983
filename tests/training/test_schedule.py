"""The learning rate's rise and fall."""

from __future__ import annotations

import math

import pytest

from flowcli.training.schedule import learning_rate_factor


def test_it_rises_linearly() -> None:
    rises = [learning_rate_factor(step, 10, 0.0, "none") for step in range(12)]
    assert rises == pytest.approx([(step + 1) / 10 for step in range(10)] + [1, 1])


@pytest.mark.parametrize("decay", ["cosine", "none"])
def test_without_warm_up_it_starts_at_its_peak(decay: str) -> None:
    assert learning_rate_factor(0, 0, 0.0, decay) == 1


@pytest.mark.parametrize(
    ("progress", "share"), [(0, 1), (0.25, 0.5 + math.sqrt(0.5) / 2), (0.5, 0.5), (1, 0), (1.7, 0)]
)
def test_cosine(progress: float, share: float) -> None:
    assert learning_rate_factor(1000, 50, progress, "cosine") == pytest.approx(share, abs=1e-12)


def test_none_stays() -> None:
    assert {learning_rate_factor(1000, 50, progress / 10, "none") for progress in range(15)} == {1.0}


def test_never_negative_and_never_above_its_peak() -> None:
    for step in range(0, 200, 7):
        for progress in (0.0, 0.3, 0.99, 1.0, 2.0):
            assert 0 <= learning_rate_factor(step, 50, progress, "cosine") <= 1
