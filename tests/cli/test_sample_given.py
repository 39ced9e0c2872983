"""``flowcli sample`` on conditions: columns that are not context, and ``--where``."""

from __future__ import annotations

import io
import os

import pandas as pd
import pytest

from flowcli import conditioning

CONTEXT = ["--given", "sepal_length=5.8", "--given", "sepal_width=3.0"]


def frame(done, **options) -> pd.DataFrame:
    assert done.status == 0, done.err
    return pd.read_csv(io.StringIO(done.out), **options)


@pytest.fixture(scope="module")
def stream(iris_run):
    """What the model draws without a condition, with the seed 1."""
    from flowcli.model import Model

    return Model.load(iris_run).sample(20_000, seed=1)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--given", "species=setosa"], lambda f: f["species"] == "setosa"),
        (["--given", "petal_width=0.20"], lambda f: f["petal_width"] == 0.2),
        (["--where", "sepal_width > 3.4"], lambda f: f["sepal_width"] > 3.4),
        (
            ["--given", "species=virginica", "--where", "petal_length > 5 & petal_width < 2"],
            lambda f: (f["species"] == "virginica") & (f["petal_length"] > 5) & (f["petal_width"] < 2),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_rows_are_those_of_the_plain_stream_that_fit(cli, iris_run, stream, options, kept):
    fitting = stream[kept(stream)].reset_index()
    for n in (150, 7):
        done = cli("sample", "--n", n, "-m", iris_run, "--seed", 1, *options)
        pd.testing.assert_frame_equal(frame(done), fitting.drop(columns="index").head(n), check_dtype=False)
        drawn = fitting["index"][n - 1] + 1
        assert done.err == f"kept {n} of {drawn:,} drawn rows ({100 * n / drawn:.3g}%)\n"


def test_quiet_says_nothing_of_the_rate(cli, iris_run):
    assert cli("sample", "--n", 3, "-m", iris_run, "--given", "species=setosa", "-q").err == ""


def test_no_rows_are_a_header(cli, iris_run):
    plain = cli("sample", "--n", 0, "-m", iris_run)
    assert cli("sample", "--n", 0, "-m", iris_run, "--where", "petal_width > 1").out == plain.out


def test_context_is_set_and_the_rest_is_drawn_until_it_fits(cli, conditional_run):
    options = [*CONTEXT, "--given", "species=setosa", "--where", "petal_width < 1", "--seed", 1]
    plain = frame(cli("sample", "--n", 400, "-m", conditional_run, *options[:-4], "--seed", 1), dtype=str)
    kept = frame(cli("sample", "--n", 20, "-m", conditional_run, *options), dtype=str)
    assert kept["sepal_width"].tolist() == ["3.0"] * 20
    fitting = plain[plain["petal_width"].astype(float) < 1].head(20).reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, fitting)


def test_where_sees_given_columns_too(cli, conditional_run, tmp_path):
    (tmp_path / "g.csv").write_text("species,sepal_length,sepal_width\nsetosa,5,3.40\nvirginica,6.50,3\n")
    where = ["--where", "sepal_width >= 3 and petal_length > 0", "--given-file", "g.csv", "--seed", 1]
    rows = frame(cli("sample", "--n", 5, "-m", conditional_run, *where), dtype=str)
    assert rows["species"].tolist() == ["setosa"] * 5 + ["virginica"] * 5
    assert rows["sepal_width"].tolist() == ["3.40"] * 5 + ["3"] * 5
    longer = frame(cli("sample", "--n", 8, "-m", conditional_run, *where), dtype=str)
    pd.testing.assert_frame_equal(longer.iloc[[0, 1, 2, 3, 4, 8, 9, 10, 11, 12]].reset_index(drop=True), rows)


@pytest.mark.parametrize("output", ["out.csv", "out.parquet"])
def test_a_hopeless_search_leaves_no_file(cli, iris_run, monkeypatch, tmp_path, output):
    monkeypatch.setattr(conditioning, "LEAST_DRAWN", 8000)
    done = cli("sample", "--n", 10_000, "-m", iris_run, "--where", "petal_width > 100", "-o", output)
    assert (done.status, done.out) == (1, "")
    assert "too rare: 0 of 8,192 drawn rows fit, and 10,000 are wanted" in done.err
    assert len(done.err.splitlines()) == 1
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_a_file_gets_what_stdout_gets(cli, iris_run, tmp_path):
    options = ["--n", 50, "-m", iris_run, "--given", "species=virginica", "--seed", 2]
    assert cli("sample", *options, "-o", "out.csv").status == 0
    assert (tmp_path / "out.csv").read_text() == cli("sample", *options).out


@pytest.mark.parametrize(
    ("status", "options", "words"),
    [
        (1, ["--given", "species=setos"], ["--given species=setos", "did you mean 'setosa'"]),
        (1, ["--given", "petal_width=wide"], ["'wide' is not a number"]),
        (1, ["--given", "petal_width="], ["missing"]),
        (2, ["--given", "petal_widht=0.2"], ["did you mean 'petal_width'", "'species'"]),
        (2, ["--given", "species=tulip", "--given", "colour=red"], ["'tulip'", "'colour'"]),
        (2, ["--given", "species", "--given", "=3"], ["got 'species'", "got '=3'"]),
        (2, ["--given", "species=setosa", "--given", "species=virginica"], ["given twice"]),
        (2, ["--where", "petal_widht > 2"], ["--where", "did you mean 'petal_width'"]),
        (2, ["--where", "petal_width > "], ["--where", "write it like"]),
        (2, ["--where", "species > 2"], ["compares species"]),
        (2, ["--where", "petal_width"], ["not a condition"]),
        (2, ["--where", "species.to_csv('out.csv') == 1"], ["cannot stand"]),
        (2, ["--where", "petal_width > @x"], ["'@'"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told_before_anything_is_written(cli, iris_run, tmp_path, status, options, words):
    done = cli("sample", "--n", 5, "-m", iris_run, "-o", "out.csv", *options)
    assert (done.status, done.out) == (status, "")
    assert all(word in done.err for word in words)
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_missing_context_is_told_with_the_other_mistakes(cli, conditional_run):
    done = cli("sample", "--n", 5, "-m", conditional_run, *CONTEXT, "--given", "petal_width=wide", "--given", "a=1")
    assert done.status == 2
    assert all(word in done.err for word in ("add --given species=VALUE", "'wide'", "no column 'a'"))


def test_a_bad_expression_needs_no_model(cli):
    done = cli("sample", "--n", 5, "--where", "a >")
    assert done.status == 2
    assert "--where" in done.err
