"""The plainest command lines do without Typer, and mean what they mean to it."""

import pytest

from flowcli.cli.plain import read


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("score", ("score", {"data": None}, False)),
        ("score - -m runs/a", ("score", {"data": ["-"], "model": "runs/a"}, False)),
        ("encode a.csv --model m b.csv -q", ("encode", {"data": ["a.csv", "b.csv"], "model": "m"}, True)),
        ("decode z.csv", ("decode", {"data": ["z.csv"]}, False)),
        ("sample --n 3", ("sample", {"n": 3}, False)),
        ("sample -n 3 --seed 7 -m m --quiet", ("sample", {"n": 3, "seed": 7, "model": "m"}, True)),
    ],
)
def test_what_is_plain(words, meant):
    assert read(words.split()) == meant


@pytest.mark.parametrize(
    "words",
    [
        "", "fit a.csv", "nope", "--help", "score --help", "score -h", "score a.csv -m", "score a.csv -m --quiet",
        "score a.csv -m a -m b", "score a.csv --model=m", "score a.csv -mm", "score -- a.csv", "score a.csv -o out.csv",
        "score --seed 3", "sample", "sample --n", "sample --n -1", "sample --n x", "sample --n 1 more",
        "sample --n 1_0",
        "sample --n ３", "sample -n3", "sample --n 99999999999999999999", "sample --n 1 --given a=1", "score a.csv -qv",
    ],
)  # fmt: skip
def test_what_is_left_to_typer(words):
    assert read(words.split()) is None


def test_completion_is_left_to_typer(monkeypatch):
    monkeypatch.setenv("_FLOWCLI_COMPLETE", "complete_bash")
    assert read(["score", "a.csv"]) is None


def test_both_ways_are_alike(program, tmp_path, iris, iris_run):
    for plain in (
        ["score", iris, "-m", iris_run],
        ["sample", "--n", "5", "--seed", "3", "-m", iris_run, "-q"],
        ["score", "nowhere.csv", "-m", iris_run],
        ["encode", iris, "-m", "nowhere"],
        ["decode", iris, "-m", iris_run],
    ):
        one, other = program(*plain), program(*plain, "--device", "auto")
        assert one == other
        assert one.err.count("\n") <= 2
