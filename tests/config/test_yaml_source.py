"""YAML text to plain values with places."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcli.config.yaml_source import DEEPEST_NESTING, LARGEST_TEXT, parse_scalar, parse_yaml
from flowcli.errors import ConfigError


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "c.yaml")
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.0e-3", 0.001),
        ("3E4", 30000.0),
        ("-2e+2", -200.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("+7", 7),
        ("-7", -7),
        ("007", 7),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        # YAML 1.1 would make these a boolean, 10 by octal, 16, 1000, a date, 90 by base 60, and a word's sign.
        ("yes", "yes"),
        ("off", "off"),
        ("012", 12),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("2020-01-01", "2020-01-01"),
        ("1:30", "1:30"),
        ("None", "None"),
        ("1e", "1e"),
        ("e3", "e3"),
        ("1٣", "1٣"),
    ],
)
def test_scalars_follow_yaml_1_2(text, value):
    parsed = parse_scalar(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_a_quoted_scalar_is_text():
    assert parse_yaml("a: '1'\nb: \"true\"\nc: |\n  1\n", "c").value == {"a": "1", "b": "true", "c": "1\n"}


def test_an_empty_text_is_an_empty_mapping():
    assert parse_yaml("", "c").value == {}
    assert parse_yaml("# only a comment\n", "c").value == {}


def test_values_and_nesting():
    text = "train: {epochs: 3}\nflow:\n  transforms:\n  - affine\n  - permute: {order: [2, 1]}\n"
    assert parse_yaml(text, "c").value == {
        "train": {"epochs": 3},
        "flow": {"transforms": ["affine", {"permute": {"order": [2, 1]}}]},
    }


def test_places_are_those_of_the_keys_and_items():
    source = parse_yaml("seed: 3\nflow:\n  transforms:\n  - affine\n  - permute: {order: [2, 1]}\n", "c.yaml")
    assert source.where(("seed",)) == "c.yaml:1:1"
    assert source.where(("flow", "transforms")) == "c.yaml:3:3"
    assert source.where(("flow", "transforms", 0)) == "c.yaml:4:5"
    assert source.where(("flow", "transforms", 1, "permute", "order")) == "c.yaml:5:15"
    assert source.where(("flow", "transforms", 1, "permute", "order", 1)) == "c.yaml:5:26"


def test_a_place_that_the_text_has_not_is_that_of_its_parent():
    source = parse_yaml("a: 1\nflow:\n  repeat: 2\n", "c.yaml")
    assert source.where(("flow", "transforms", 3)) == "c.yaml:2:1"


def test_duplicate_keys_are_refused_all_of_them_with_their_places():
    problems = refused("seed: 1\ntrain:\n  epochs: 3\n  epochs: 4\nseed: 2\n")
    assert problems == ["c.yaml:4:3: key 'train.epochs' is there twice", "c.yaml:5:1: key 'seed' is there twice"]


def test_aliases_are_refused():
    assert refused("a: &x [1]\nb: *x\n") == ["c.yaml:2:4: aliases (*) are not read in a config"]


def test_an_alias_bomb_is_refused_at_once():
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    assert "aliases" in refused("\n".join(lines))[0]


@pytest.mark.parametrize(
    "text",
    [
        "x: !!python/object/apply:os.system [touch pwned]",
        "x: !!python/object:os.path {}",
        "x: !!python/name:os.system x",
        "!!python/object/new:os.system [touch pwned]",
        "!!python/name:os.system x: 1",
        "x: !mine 3",
        "x: !<tag:example.org,2000:thing> 3",
    ],
)
def test_tags_are_refused(text):
    problems = refused(text)
    assert problems[0].startswith("c.yaml:1:")
    assert "tag" in problems[0]


@pytest.mark.parametrize("text", ["x: !!str 3", "x: !!binary aGVsbG8=", "x: !!set {a, b}", "x: !!float 3"])
def test_a_standard_tag_is_refused_or_meant(text):
    # Read as if the tag were not there, "!!str 3" would be the number 3.
    assert "tag" in refused(text)[0]


@pytest.mark.parametrize(
    ("text", "place"),
    [("a: [1", "c.yaml:1:"), ("a: 1\n b: 2\n", "c.yaml:2:"), ("a:\n\t- 1\n", "c.yaml:2:1"), ("a: 'x\n", "c.yaml:2:")],
)
def test_what_is_not_yaml_is_refused_with_its_place(text, place):
    (problem,) = refused(text)
    assert problem.startswith(place)
    assert "not YAML" in problem


def test_control_characters_are_refused():
    assert "not YAML" in refused("a: \x00")[0]


def test_a_second_document_is_refused():
    assert "another document" in refused("a: 1\n---\nb: 2\n")[0]


def test_a_key_is_a_word():
    assert refused("? [a, b]\n: 1\n") == ["c.yaml:1:3: a key must be a word"]


def test_a_merge_key_is_a_key_like_any_other():
    assert parse_yaml("<<: {a: 1}\n", "c").value == {"<<": {"a": 1}}


def test_deep_nesting_is_refused():
    assert "nested deeper" in refused("[" * 5000)[0]
    deepest = "[" * DEEPEST_NESTING + "]" * DEEPEST_NESTING
    parse_yaml(deepest, "c")


def test_a_huge_text_is_refused():
    assert "larger" in refused("# " + "x" * LARGEST_TEXT)[0]


@settings(deadline=None, max_examples=200)
@given(st.text() | st.text(alphabet="ab:-[]{}&*!?|>'\"#%@,. \n\t0123"))
def test_any_text_is_read_or_refused(text):
    problems = ["c.yaml"]
    try:
        parse_yaml(text, "c.yaml")
    except ConfigError as error:
        problems = error.problems
    assert problems
    assert all(problem.startswith("c.yaml") for problem in problems)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_float_as_python_writes_it_is_that_number(number):
    assert parse_scalar(repr(number)) == number


@given(st.integers(-(10**18), 10**18))
def test_any_integer_is_that_number(number):
    parsed = parse_scalar(str(number))
    assert type(parsed) is int
    assert parsed == number


def test_infinity_has_no_spelling_in_a_config():
    assert parse_scalar(".inf") == ".inf"
    assert parse_scalar(".nan") == ".nan"
    assert math.isinf(parse_scalar("1e999"))
