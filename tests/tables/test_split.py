"""Rows for training, validation and the test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcli.errors import DataError
from flowcli.tables.row_hash import row_hashes
from flowcli.tables.split import TEST, TRAINING, VALIDATION, Split

SHARES = st.floats(0, 0.99)


def parts(rows, validation, test, seed, known=True):
    """The rows of each part."""
    part_of = Split(validation, test, seed, rows if known else None).parts(np.arange(rows))
    return [np.flatnonzero(part_of == part) for part in (TRAINING, VALIDATION, TEST)]


@given(st.integers(1, 300), SHARES, SHARES, st.integers(0, 2**63 - 1))
def test_the_parts_are_as_large_as_asked(rows, validation, test, seed):
    asked = [max(1, round(share * rows)) if share else 0 for share in (validation, test)]
    if sum(asked) > rows - 2:
        with pytest.raises(DataError, match=f"{rows} rows are too few"):
            Split(validation, test, seed, rows)
        return
    assert [len(part) for part in parts(rows, validation, test, seed)] == [rows - sum(asked), *asked]


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.25), (0.0, 0.1), (0.1, 0.0), (0.0, 0.0), (0.5, 0.4)])
def test_the_parts_are_nearly_so_where_the_rows_are_not_known(validation, test):
    rows = 100_000
    found = [len(part) for part in parts(rows, validation, test, 3, known=False)]
    for count, share in zip(found, (1 - validation - test, validation, test), strict=True):
        assert abs(count - share * rows) <= 5 * np.sqrt(share * (1 - share) * rows)


def test_a_row_does_not_depend_on_the_others():
    split = Split(0.1, 0.1, 5)
    rows = np.random.default_rng(0).integers(0, 10**12, 1000)
    together = split.parts(rows)
    assert [int(split.parts(rows[k : k + 1])[0]) for k in range(100)] == together[:100].tolist()
    assert np.array_equal(split.parts(rows[::-1]), together[::-1])


@pytest.mark.parametrize("known", [True, False])
def test_a_seed_fixes_the_rows(known):
    one, same, other = (parts(200, 0.1, 0.1, seed, known) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[2], other[2])


def test_seeds_have_nothing_in_common():
    # Of 1000 rows in the test of one seed, those in another's are binomial.
    one, other = (set(parts(10_000, 0.0, 0.1, seed)[2].tolist()) for seed in (0, 1))
    assert abs(len(one & other) - 100) < 5 * 9.5
    # Nor has a seed with the sample of a large table.
    sampled = row_hashes(np.arange(10_000)) < 2**64 // 10
    assert abs(sampled[sorted(one)].sum() - 100) < 5 * 9.5


def test_the_rows_are_not_simply_the_first_or_last():
    _, validation, test = parts(1000, 0.1, 0.1, 0)
    for part in (validation, test):
        # The mean position of 100 of 1000 rows drawn at random has a standard error of 27.
        assert abs(part.mean() - 499.5) < 5 * 27.4
        assert len(set(np.diff(part))) > 3


@pytest.mark.parametrize("known", [True, False])
def test_the_test_rows_stay_when_the_validation_share_changes(known):
    assert np.array_equal(parts(200, 0.1, 0.2, 5, known)[2], parts(200, 0.3, 0.2, 5, known)[2])


@given(st.integers(0, 2**62), st.none() | st.integers(0, 2**63 - 1))
def test_no_two_rows_have_one_hash(start, seed):
    assert len(np.unique(row_hashes(np.arange(start, start + 500), seed))) == 500


@pytest.mark.parametrize(("rows", "validation", "test"), [(2, 0.1, 0.1), (1, 0.1, 0), (10, 0.5, 0.5)])
def test_too_few_rows_are_refused_with_the_counts(rows, validation, test):
    with pytest.raises(DataError, match=f"{rows} rows? (is|are) too few"):
        Split(validation, test, 0, rows)
