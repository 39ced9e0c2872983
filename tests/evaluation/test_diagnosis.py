"""The checks find and name what is wrong, and let be what is right."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from flowcli.evaluation.check import LEVEL, Check, Verdict, judge
from flowcli.evaluation.classifier import two_sample
from flowcli.evaluation.diagnosis import all_checks, plain_checks

from .cases import Drawn, Flaw, evidence

REPETITIONS = 200


def verdicts(seed: int, n: int = 600, flaw: Flaw | None = None, **options: bool) -> list[Verdict]:
    return judge(plain_checks(evidence(n, seed, flaw, **options), np.random.default_rng(seed)))


def failed(found: list[Verdict], kind: str) -> list[Check]:
    return [verdict.check for verdict in found if verdict.failed and verdict.check.kind == kind]


@pytest.mark.parametrize(("n", "conditional"), [(15, False), (120, True), (150, False)])
def test_of_a_right_model_one_in_twenty_fails_any_check(n: int, conditional: bool) -> None:
    """The bound is one that a test of this level passes but once in a thousand times."""
    alarms, below = 0, []
    for seed in range(REPETITIONS):
        found = verdicts(seed, n, conditional=conditional)
        alarms += any(verdict.failed for verdict in found)
        below += [verdict.check.p <= 0.1 for verdict in found]
    assert alarms <= stats.binom.ppf(0.999, REPETITIONS, LEVEL)
    # Nor are they blind: so many of the single p-values are small.
    assert 0.06 < np.mean(below) < 0.11


def scale_of_b(rows: Drawn) -> None:
    rows.z[:, 1] *= 1.35


def place_of_c(rows: Drawn) -> None:
    rows.z[:, 2] += 0.3


def parabola_of_a_and_c(rows: Drawn) -> None:
    """Neither correlated with the other, nor any less normal."""
    bent = rows.z[:, 2] + 0.9 * (rows.z[:, 0] ** 2 - 1)
    rows.z[:, 2] = stats.norm.ppf(stats.rankdata(bent) / (len(bent) + 1))


def correlation_of_b_and_c(rows: Drawn) -> None:
    rows.z[:, 2] = 0.9 * rows.z[:, 2] + np.sqrt(1 - 0.9**2) * rows.z[:, 1]


def upper_tail_of_b(rows: Drawn) -> None:
    far = rows.z[:, 1] > np.quantile(rows.z[:, 1], 0.97)
    rows.z[far, 1] += 3.0


def sizes_together(rows: Drawn) -> None:
    """A Student-t's latents: uncorrelated, of one common size."""
    rows.z *= np.sqrt(4 / np.random.default_rng(0).chisquare(6, size=(len(rows.z), 1)))


@pytest.mark.parametrize(
    ("flaw", "kind", "columns"),
    [
        (scale_of_b, "latent normality", ("b",)),
        (place_of_c, "latent normality", ("c",)),
        (place_of_c, "marginal distance", ("c",)),
        (parabola_of_a_and_c, "latent independence", ("a", "c")),
        (correlation_of_b_and_c, "latent independence", ("b", "c")),
        (correlation_of_b_and_c, "pairwise distance", ("b", "c")),
        (upper_tail_of_b, "tails", ("b",)),
    ],
)
def test_what_is_wrong_is_named(flaw: Flaw, kind: str, columns: tuple[str, ...]) -> None:
    found = failed(verdicts(1, 1500, flaw), kind)
    assert [check.columns for check in found] == [columns]


def test_the_side_of_a_tail_is_named() -> None:
    (check,) = failed(verdicts(1, 1500, upper_tail_of_b), "tails")
    assert check.place == "b, upper tail"


def test_a_common_size_shows_in_the_radius() -> None:
    found = verdicts(1, 1500, sizes_together)
    assert failed(found, "latent radius")


def test_wrong_frequencies_of_a_label_are_named() -> None:
    def flaw(rows: Drawn) -> None:
        rows.label[:150] = 2

    found = verdicts(1, 1500, flaw)
    assert [check.columns for check in failed(found, "marginal distance") if check.statistic == "chi-squared"] == [
        ("kind",)
    ]


def test_a_number_that_varies_with_a_label_in_another_way_is_named() -> None:
    def flaw(rows: Drawn) -> None:
        rows.z[rows.label == 2, 2] -= 1.0

    assert [check.columns for check in failed(verdicts(1, 1500, flaw), "latent given label")] == [("c", "kind")]


def test_a_number_that_varies_with_the_context_in_another_way_is_named() -> None:
    """In place and in spread."""

    def place(rows: Drawn) -> None:
        rows.z[:, 1] += 0.5 * (rows.context[:, 0] - 1)

    def spread(rows: Drawn) -> None:
        rows.z[:, 2] *= 0.5 + 0.5 * rows.context[:, 0]

    for flaw, column in ((place, "b"), (spread, "c")):
        found = verdicts(1, 1500, flaw, conditional=True)
        assert [check.columns for check in failed(found, "latent given context")] == [(column, "t")]


def test_of_a_conditional_model_the_rank_among_samples_names_the_column() -> None:
    def twice_b(rows: Drawn) -> None:
        rows.z[:, 1] *= 2

    for flaw, column in ((place_of_c, "c"), (twice_b, "b")):
        found = verdicts(1, 1500, flaw, conditional=True)
        assert [check.columns for check in failed(found, "rank among samples")] == [(column,)]


def test_of_a_conditional_model_a_tail_is_named_by_its_latent() -> None:
    (check,) = failed(verdicts(1, 1500, upper_tail_of_b, conditional=True), "latent tails")
    assert check.place == "z2 (b), upper tail"


def test_copies_are_found_and_nothing_else() -> None:
    found = verdicts(1, 600, copies=True)
    assert [verdict.check.kind for verdict in found if verdict.failed] == ["copies"]


def test_the_classifier_names_the_column_that_gives_most_away() -> None:
    def flaw(rows: Drawn) -> None:
        rows.z[:, 1] += 0.8

    found = evidence(400, 1, flaw)
    (check,) = two_sample(found.rows, found.samples, np.random.default_rng(0))
    assert check.p < 1e-6
    assert check.columns == ("b",)
    assert 0.6 < check.value < 0.9


def test_the_classifier_is_not_fooled_by_a_right_model() -> None:
    found = [evidence(60, seed, conditional=seed % 2 == 1) for seed in range(20)]
    p = [
        two_sample(its.rows, its.samples.take(np.arange(60) * (4 if its.conditional else 1)), np.random.default_rng(0))[
            0
        ].p
        for its in found
    ]
    assert sum(value <= LEVEL for value in p) <= stats.binom.ppf(0.999, len(p), LEVEL)


def test_what_cannot_be_looked_at_is_told() -> None:
    found = evidence(40, 0)
    _, left_out = all_checks(found, np.random.default_rng(0))
    assert left_out == ["classifier: it takes 50 rows or more"]
