"""What following a page finds, and what it lets pass."""

import pytest

from .following import alike, differing


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("score  -2.31 +- 0.12", "score -13.9 +- 1.25e-3"),
        ("kept 1,000 of 2,733 drawn rows (36.6%)", "kept 5 of 7 drawn rows (71.4%)"),
        ("5.1,3.5,setosa", "6.1,2.9,setosa"),
    ],
)
def test_numbers_may_differ(shown, printed):
    assert alike(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"), [("log_prob", "log_probs"), ("1 row", "1 rows"), ("1,2,3", "1 2"), ("label", "")]
)
def test_words_may_not(shown, printed):
    assert not alike(shown, printed)


@pytest.mark.parametrize(
    ("shown", "same"),
    [
        (("a", "b", "c"), True),
        (("...",), True),
        (("...", "c"), True),
        (("a", "..."), True),
        (("a", "...", "c"), True),
        (("a", "...", "b", "..."), True),
        (("a", "b"), False),
        (("a", "c"), False),
        (("...", "b"), False),
        (("b", "..."), False),
        (("a", "b", "c", "d"), False),
        (("...", "d"), False),
    ],
)
def test_lines_left_out(shown, same):
    assert (differing(shown, ["a", "b", "c"]) == "") == same
