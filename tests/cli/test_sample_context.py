"""Models of some columns given others: what is given to sample, and what scores depend on."""

import re

import numpy as np
import pytest
from commands import COLUMNS, GIVEN, frame, normal_rows, scores


def test_given_values_come_back_as_given(cli, conditional_run):
    done = cli("sample", "--n", "4", "-m", conditional_run, *GIVEN, "--seed", "1")
    drawn = frame(done.out, dtype=str)
    assert drawn.columns.tolist() == COLUMNS
    assert drawn[["sepal_length", "sepal_width", "species"]].drop_duplicates().to_numpy().tolist() == [
        ["5.8", "3.0", "virginica"]
    ]
    assert drawn["petal_length"].nunique() > 1


def test_what_is_given_matters(cli, iris, conditional_run):
    means = {}
    for species in ("setosa", "virginica"):
        given = [*GIVEN[:4], "--given", f"species={species}"]
        means[species] = frame(cli("sample", "--n", "200", "-m", conditional_run, *given, "--seed", "1").out)[
            "petal_length"
        ].mean()
    # In the data they are 1.5 and 5.6.
    assert means["setosa"] < 3 < 4 < means["virginica"]


def test_given_file_draws_n_for_each_row(cli, conditional_run, table):
    table(
        [
            ["species", "extra", "sepal_width", "sepal_length"],
            ["setosa", "x", "3.40", "5"],
            ["virginica", "y", "3", "6.5"],
        ]
    )
    drawn = frame(
        cli("sample", "--n", "3", "-m", conditional_run, "--given-file", "t.csv", "--seed", "1").out, dtype=str
    )
    assert drawn.columns.tolist() == COLUMNS
    assert drawn["species"].tolist() == ["setosa"] * 3 + ["virginica"] * 3
    assert drawn["sepal_width"].tolist() == ["3.40"] * 3 + ["3"] * 3


def test_given_file_from_stdin(cli, conditional_run):
    text = "species,sepal_length,sepal_width\nsetosa,5,3\n"
    done = cli("sample", "--n", "2", "-m", conditional_run, "--given-file", "-", stdin=text)
    assert len(done.lines) == 3


def test_missing_context_lists_the_options_that_are_needed(cli, conditional_run):
    done = cli("sample", "--n", "2", "-m", conditional_run)
    assert done.status == 2
    for name in ("sepal_length", "sepal_width", "species"):
        assert f"--given {name}=" in done.err
    done = cli("sample", "--n", "2", "-m", conditional_run, *GIVEN[:4])
    assert done.status == 2
    assert "--given species=" in done.err
    assert "sepal_length" not in done.err


@pytest.mark.parametrize(
    ("status", "args", "words"),
    [
        (2, [*GIVEN, "--given", "colour=red"], "'?colour"),
        (2, [*GIVEN, "--given", "species=setosa"], "species"),
        (2, ["--given", "species"], "COLUMN=VALUE"),
        (1, [*GIVEN[:4], "--given", "species=tulip"], "'tulip'"),
        (1, [*GIVEN[2:], "--given", "sepal_length=long"], "'long' is not a number"),
        (1, [*GIVEN[2:], "--given", "sepal_length="], "missing"),
    ],
    ids=["no such column", "twice", "no value", "unseen label", "no number", "empty"],
)
def test_wrong_given_values(cli, conditional_run, status, args, words):
    done = cli("sample", "--n", "2", "-m", conditional_run, *args)
    assert done.status == status
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert re.search(words, done.err)
    assert "--given" in done.err


def test_a_given_file_that_lacks_a_column(cli, conditional_run, table):
    done = cli("sample", "--n", "2", "-m", conditional_run, "--given-file", table([["species"], ["setosa"]]))
    assert done.status == 2
    assert "sepal_length, sepal_width" in done.err


def test_no_file_can_be_given_to_a_model_without_context(cli, iris_run, table):
    done = cli("sample", "--n", "2", "-m", iris_run, "--given-file", table([["species"], ["setosa"]]))
    assert done.status == 2
    assert "--given-file" in done.err


def test_a_constant_column_need_not_be_given(cli, table):
    rows = normal_rows()
    table([[*rows[0], "unit"], *[[*row, "7"] for row in rows[1:]]])
    assert cli("fit", "t.csv", "--context", "unit", "-s", "train.epochs=0", "-o", "run", "-q").status == 0
    done = cli("sample", "--n", "2", "-m", "run")
    assert done.status == 0, done.err
    assert frame(done.out)["unit"].tolist() == [7, 7]


def test_conditional_scores_depend_on_what_is_given(cli, iris, conditional_run, irises, table):
    as_they_are = scores(cli("score", iris, "-m", conditional_run))
    others = [[*row[:4], "setosa" if row[4] == "virginica" else row[4]] for row in irises]
    changed = scores(cli("score", table(others), "-m", conditional_run))
    was_virginica = np.array([row[4] == "virginica" for row in irises[1:]])
    np.testing.assert_array_equal(as_they_are[~was_virginica], changed[~was_virginica])
    assert (as_they_are[was_virginica] > changed[was_virginica]).mean() > 0.9


def test_an_unseen_given_label_cannot_be_scored(cli, conditional_run, irises, table):
    done = cli("score", table([irises[0], [*irises[1][:4], "tulip"]]), "-m", conditional_run)
    assert done.status == 1
    assert "row 1, column 'species': 'tulip'" in done.err
