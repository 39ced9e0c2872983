"""``flowcli score``."""

import math

import numpy as np
import pandas as pd
import pytest
from commands import frame, scores


def test_score_by_the_real_program(program, cli, iris, iris_run):
    done = program("score", iris, "-m", iris_run)
    assert done.status == 0
    assert done.err == ""
    # Without torch, and with it.
    np.testing.assert_allclose(scores(done), scores(cli("score", iris, "-m", iris_run)), rtol=1e-9)


def test_score_has_a_row_for_each_row_in_order(cli, iris_run, irises, table):
    forward = scores(cli("score", table(irises), "-m", iris_run))
    backward = scores(cli("score", table([irises[0], *irises[:0:-1]]), "-m", iris_run))
    assert len(forward) == 150
    np.testing.assert_allclose(forward, backward[::-1], rtol=1e-12)


def test_columns_are_found_by_name(cli, iris, iris_run, irises, table):
    order = [4, 2, 0, 3, 1]
    shuffled = [[row[i] for i in order] + ["more"] for row in irises]
    shuffled[0][-1] = "another"
    np.testing.assert_array_equal(
        scores(cli("score", table(shuffled), "-m", iris_run)), scores(cli("score", iris, "-m", iris_run))
    )


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_score_in_every_format(cli, tmp_path, iris, iris_run, ending):
    data, name = pd.read_csv(iris), f"t.{ending}"
    {
        "csv": lambda: data.to_csv(name, index=False),
        "tsv": lambda: data.to_csv(name, index=False, sep="\t"),
        "jsonl": lambda: data.to_json(name, orient="records", lines=True),
        "parquet": lambda: data.to_parquet(name),
    }[ending]()
    expected = scores(cli("score", iris, "-m", iris_run))
    done = cli("score", name, "-m", iris_run, "-o", f"out.{ending}")
    assert (done.status, done.out) == (0, "")
    read = {
        "csv": pd.read_csv,
        "tsv": lambda path: pd.read_csv(path, sep="\t"),
        "jsonl": lambda path: pd.read_json(path, lines=True),
        "parquet": pd.read_parquet,
    }[ending](tmp_path / f"out.{ending}")
    assert read.columns.tolist() == ["log_prob"]
    np.testing.assert_allclose(read["log_prob"], expected, rtol=1e-12)


def test_an_unseen_label_is_impossible_and_counted(cli, iris_run, irises, table):
    rows = [irises[0], irises[1], [*irises[2][:4], "tulip"], [*irises[3][:4], "rose"]]
    done = cli("score", table(rows), "-m", iris_run)
    log_prob = scores(done)
    assert np.isfinite(log_prob[0])
    assert log_prob[1:].tolist() == [-math.inf] * 2
    (told,) = done.err.splitlines()
    assert told.startswith("2 rows")
    assert "label" in told


def test_a_number_too_far_away_is_not_told_as_a_label(cli, iris_run, irises, table):
    done = cli("score", table([irises[0], ["1e300", *irises[1][1:]]]), "-m", iris_run)
    assert scores(done).tolist() == [-math.inf]
    assert "label" not in done.err


@pytest.mark.parametrize(
    ("cell", "words"),
    [("abc", "'abc' is not a number"), ("", "missing"), ("NA", "missing"), ("inf", "infinite"), ("1,5", "'1,5'")],
)
def test_a_cell_that_cannot_be_scored_is_told_with_its_place(cli, iris_run, irises, table, cell, words):
    rows = [list(row) for row in irises[:6]]
    rows[3][1] = cell
    done = cli("score", table(rows), "-m", iris_run)
    assert done.status == 1
    assert len(done.err.splitlines()) == 1
    assert "t.csv: row 3, column 'sepal_width': " in done.err
    assert words in done.err


def test_on_bad_row_empty_leaves_a_gap(cli, iris, iris_run, irises, table):
    rows = [list(row) for row in irises[:6]]
    rows[3][1] = "abc"
    done = cli("score", table(rows), "-m", iris_run, "--on-bad-row", "empty")
    assert done.status == 0
    # As a program reads it: five rows still.
    read = frame(done.out)["log_prob"]
    assert read.isna().tolist() == [False, False, True, False, False]
    expected = scores(cli("score", iris, "-m", iris_run))[:5]
    np.testing.assert_allclose(read[[0, 1, 3, 4]], expected[[0, 1, 3, 4]], atol=1e-12)
    assert "1 row" in done.err


def test_missing_columns_are_told(cli, iris_run, irises, table):
    done = cli(
        "score", table([["Sepal_length", *row[1:]] if row is irises[0] else row for row in irises]), "-m", iris_run
    )
    assert done.status == 1
    assert "t.csv" in done.err
    assert "'sepal_length' (did you mean 'Sepal_length'?)" in done.err


def test_a_table_without_rows_has_no_scores(cli, iris_run, irises, table):
    done = cli("score", table(irises[:1]), "-m", iris_run)
    assert (done.status, done.out) == (0, "log_prob\n")


def test_a_failed_score_leaves_the_output_as_it_was(cli, tmp_path, iris_run, irises, table):
    (tmp_path / "out.csv").write_text("before\n")
    rows = [*irises, ["x", *irises[1][1:]]]
    assert cli("score", table(rows), "-m", iris_run, "-o", "out.csv", "--force").status == 1
    assert (tmp_path / "out.csv").read_text() == "before\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "t.csv"]


def test_an_error_has_no_traceback_unless_asked_for(program, tmp_path):
    plain = program("score", "nowhere.csv")
    assert "Traceback" not in plain.err
    asked = program("score", "nowhere.csv", "--debug")
    assert "Traceback" in asked.err
    assert "nowhere.csv: no such file" in asked.err
