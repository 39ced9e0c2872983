"""Rows for training, validation and the test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcli.errors import DataError
from flowcli.tables.split import split_rows

SHARES = st.floats(0, 0.99)


@given(st.integers(1, 300), SHARES, SHARES, st.integers(0, 2**63 - 1))
def test_every_row_is_in_one_part(rows, validation, test, seed):
    try:
        parts = split_rows(rows, validation, test, seed)
    except DataError:
        # At least one row for each part that is asked for, and one to train on.
        assert sum(max(1, round(share * rows)) for share in (validation, test) if share) > rows - 2
        return
    assert sorted(np.concatenate(parts)) == list(range(rows))
    assert len(parts[0]) > 0
    for part, share in zip(parts[1:], (validation, test), strict=True):
        assert (part == np.sort(part)).all()
        assert (len(part) == 0) == (share == 0)
        assert share == 0 or len(part) in (1, round(share * rows))


def test_the_shares_are_as_asked():
    assert [len(part) for part in split_rows(1000, 0.1, 0.25, 0)] == [650, 100, 250]


def test_a_seed_fixes_the_rows():
    one, same, other = (split_rows(200, 0.1, 0.1, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[2], other[2])


def test_the_rows_are_not_simply_the_first_or_last():
    _, validation, test = split_rows(1000, 0.1, 0.1, 0)
    for part in (validation, test):
        # The mean position of 100 of 1000 rows drawn at random has a standard error of 27.
        assert abs(part.mean() - 499.5) < 5 * 27.4
        assert len(set(np.diff(part))) > 3


def test_the_test_rows_stay_when_the_validation_share_changes():
    assert np.array_equal(split_rows(200, 0.1, 0.2, 5)[2], split_rows(200, 0.3, 0.2, 5)[2])


@pytest.mark.parametrize(("rows", "validation", "test"), [(2, 0.1, 0.1), (1, 0.1, 0), (10, 0.5, 0.5)])
def test_too_few_rows_are_refused_with_the_counts(rows, validation, test):
    with pytest.raises(DataError, match=f"{rows} rows? (is|are) too few"):
        split_rows(rows, validation, test, 0)
