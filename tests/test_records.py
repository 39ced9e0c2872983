"""Checks of plain values: what they take, and where they say that a mistake is."""

import math

import pytest

from flowcli.records import (
    MisplacedError,
    flag,
    list_of,
    mapping_of,
    name,
    number,
    one_of,
    optional,
    parts,
    positive,
    text,
    tuple_of,
    whole,
)  # fmt: skip

RECORD = parts({"a": number, "b": list_of(whole(0, 9), 3)}, missing={"b": []})


@pytest.mark.parametrize(
    ("check", "value", "taken"),
    [
        (text, "", ""), (name, "x", "x"), (flag, True, True), (number, 3, 3.0), (positive, 0.5, 0.5),
        (whole(0, 3), 3, 3), (one_of("a", "b"), "a", "a"), (optional(text), None, None),
        (tuple_of(text, 2), ["a"], ("a",)),
        (mapping_of(number), {"a": 1}, {"a": 1.0}), (RECORD, {"a": 1}, {"a": 1.0, "b": []}),
    ],
)  # fmt: skip
def test_taken(check, value, taken):
    assert check(value) == taken
    assert type(check(value)) is type(taken)


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (text, 1), (text, None), (name, ""), (flag, 1), (flag, "true"), (number, True), (number, "1"),
        (number, math.nan),
        (number, math.inf), (number, 10**400), (positive, 0), (whole(0, 3), 4), (whole(0, 3), -1), (whole(0, 3), 1.0),
        (whole(0, 3), True), (one_of("a"), "b"), (one_of("a"), ["a"]), (optional(text), 1),
        (list_of(text, 1), ["a", "b"]),
        (list_of(text, 1), "a"), (mapping_of(text), []), (mapping_of(text), {1: "a"}), (RECORD, []), (RECORD, {}),
        (RECORD, {"a": 1, "c": 2}),
    ],
)  # fmt: skip
def test_refused(check, value):
    with pytest.raises(ValueError, match=r"^(is|has) "):
        check(value)


def test_the_place_is_told():
    with pytest.raises(MisplacedError, match="whole number from 0 to 9") as caught:
        list_of(RECORD, 9)([{"a": 1}, {"a": 1, "b": [3, 10]}])
    assert caught.value.place == (1, "b", 1)
