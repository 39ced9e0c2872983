"""``flowcli sample``."""

import csv
import io
import re

import numpy as np
import pandas as pd
import pytest
from commands import COLUMNS, frame, scores


def test_sample_by_the_real_program(program, cli, iris_run):
    done = program("sample", "-n", "5", "-m", iris_run, "--seed", "3")
    assert (done.status, done.err) == (0, "")
    assert done.out == cli("sample", "--n", "5", "-m", iris_run, "--seed", "3").out


def test_samples_look_like_the_data(cli, iris, iris_run):
    done = cli("sample", "--n", "1000", "-m", iris_run, "--seed", "1")
    drawn, data = frame(done.out), pd.read_csv(iris)
    assert drawn.columns.tolist() == COLUMNS
    assert drawn.dtypes.equals(data.dtypes)
    assert set(drawn["species"]) == set(data["species"])
    for name in COLUMNS[:4]:
        # One decimal, as in the data, and near it.
        assert (drawn[name].round(1) == drawn[name]).all()
        assert abs(drawn[name].mean() - data[name].mean()) < data[name].std() / 4
        assert 0.6 < drawn[name].std() / data[name].std() < 1.6


def test_samples_are_likely(cli, tmp_path, iris, iris_run):
    cli("sample", "--n", "500", "-m", iris_run, "--seed", "1", "-o", "drawn.csv")
    drawn = scores(cli("score", "drawn.csv", "-m", iris_run))
    data = scores(cli("score", iris, "-m", iris_run))
    assert abs(np.median(drawn) - np.median(data)) < 1.5


def test_a_seed_fixes_samples(cli, iris_run):
    one, same, other = (cli("sample", "--n", "20", "-m", iris_run, "--seed", seed).out for seed in (1, 1, 2))
    assert one == same != other


def test_without_a_seed_samples_differ(cli, iris_run):
    assert cli("sample", "--n", "20", "-m", iris_run).out != cli("sample", "--n", "20", "-m", iris_run).out


def test_a_shorter_sample_is_the_start_of_a_longer_one(cli, iris_run):
    few, more, many = (cli("sample", "--n", n, "-m", iris_run, "--seed", "7").lines for n in (5, 10, 5000))
    assert (len(few), len(more), len(many)) == (6, 11, 5001)
    assert few == more[:6]
    assert more == many[:11]


def test_no_rows_are_a_header(cli, iris_run):
    assert cli("sample", "--n", "0", "-m", iris_run).out == ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize("seed", ["-1", str(2**64), "99999999999999999999999", "x"])
def test_a_seed_that_is_none_is_a_usage_error(cli, iris_run, seed):
    done = cli("sample", "--n", "1", "-m", iris_run, "--seed", seed)
    assert done.status == 2
    assert "--seed" in done.err


def test_types_and_labels_come_back(cli, table):
    kinds = ["00501", "None", "a,b", 'say "hi"']
    rows = [[i * 37 % 101, f"{i * 7919 % 101 / 10:.2f}", kinds[i % 4], "yes" if i % 3 else "no"] for i in range(120)]
    assert (
        cli("fit", table([["whole", "price", "zip", "flag"], *rows]), "-s", "train.epochs=1", "-o", "run", "-q").status
        == 0
    )
    done = cli("sample", "--n", "200", "-m", "run", "--seed", "2")
    drawn = list(csv.DictReader(io.StringIO(done.out)))
    assert {row["zip"] for row in drawn} == set(kinds)
    assert {row["flag"] for row in drawn} == {"yes", "no"}
    assert all(re.fullmatch(r"-?\d+", row["whole"]) for row in drawn)
    assert all(re.fullmatch(r"-?\d+(\.\d{1,2})?", row["price"]) for row in drawn)
