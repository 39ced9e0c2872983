"""What is fitted: known densities, every preset, and what a fit is told of columns, rows and time."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest
from commands import COLUMNS, GIVEN, NUMBERS, frame, normal_rows, scores
from scipy import stats

from flowcli.config.load import load_config
from flowcli.config.presets import preset_names


def test_a_gaussian_scores_as_the_normal_density(cli, table):
    # Independent of flowcli: maximum likelihood in closed form, in the data's own units.
    rows = normal_rows()
    data = np.array(rows[1:], dtype=float)
    done = cli("fit", table(rows), "-c", "gaussian", "-s", "data.test=0", "-s", "data.validation=0", "-o", "run", "-q")
    assert done.status == 0, done.err
    expected = stats.multivariate_normal(data.mean(0), np.cov(data.T, bias=True)).logpdf(data)
    np.testing.assert_allclose(scores(cli("score", "t.csv", "-m", "run")), expected, atol=1e-4)
    latent = frame(cli("encode", "t.csv", "-m", "run").out).to_numpy()
    np.testing.assert_allclose(latent.mean(0), [0, 0], atol=1e-4)
    np.testing.assert_allclose(np.cov(latent.T, bias=True), np.eye(2), atol=1e-3)
    drawn = frame(cli("sample", "--n", "20000", "-m", "run", "--seed", "1").out).to_numpy()
    np.testing.assert_allclose(drawn.mean(0), data.mean(0), atol=5 * data.std(0).max() / math.sqrt(20000))
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(data.T, bias=True), rtol=0.1)


def test_labels_alone_score_as_their_frequencies(cli, table):
    rows = [["kind"], *[["a"]] * 30, *[["b"]] * 60, *[["c"]] * 10]
    assert cli("fit", table(rows), "-s", "data.test=0", "-s", "data.validation=0", "-o", "run", "-q").status == 0
    log_prob = scores(cli("score", table([["kind"], ["a"], ["b"], ["c"], ["d"]], "new.csv"), "-m", "run"))
    np.testing.assert_allclose(log_prob, [math.log(0.3), math.log(0.6), math.log(0.1), -math.inf], rtol=1e-5)


def test_a_unit_of_measurement_moves_every_score_by_the_same(cli, table):
    # In units a thousand times smaller, the density of x is a thousandth.
    rows = normal_rows()
    scaled = [rows[0], *[[repr(float(x) * 1000), y] for x, y in rows[1:]]]
    both = []
    for name, content in (("one", rows), ("other", scaled)):
        table(content, f"{name}.csv")
        assert cli("fit", f"{name}.csv", "-s", "train.epochs=2", "-o", name, "-q").status == 0
        both.append(scores(cli("score", f"{name}.csv", "-m", name)))
    np.testing.assert_allclose(both[0] - both[1], math.log(1000), atol=1e-3)


def test_a_seed_fixes_a_fit(cli, iris):
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        assert cli("fit", iris, "-s", "train.epochs=2", "--seed", seed, "-o", name, "-q").status == 0
    one, same, other = (scores(cli("score", iris, "-m", name)) for name in ("one", "same", "other"))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_works_in_every_command(cli, iris, irises, table, name):
    done = cli("fit", iris, "-c", name, "-s", "train.epochs=1", "-o", "run", "-q")
    assert done.status == 0, done.err
    some = table([irises[0], *irises[1::6]], "some.csv")
    assert np.isfinite(scores(cli("score", some, "-m", "run"))).all()
    given = GIVEN if load_config(name).data.context else []
    done = cli("sample", "--n", "3", "-m", "run", *given)
    assert list(frame(done.out).columns) == COLUMNS
    assert len(done.lines) == 4
    latent = cli("encode", some, "-m", "run")
    assert latent.status == 0, latent.err
    back = frame(cli("decode", "-", "-m", "run", stdin=latent.out).out)
    rows = pd.read_csv(some)
    np.testing.assert_allclose(back[NUMBERS], rows[NUMBERS], atol=1e-5)
    assert back["species"].tolist() == rows["species"].tolist()


def mixed_rows(n=1200):
    """A label, a count that depends on it, and a number that depends on both."""
    generator = np.random.default_rng(0)
    kinds = generator.choice(["plain", "fancy"], n)
    visits = generator.poisson(np.where(kinds == "fancy", 7, 2))
    spent = visits * 3 + generator.normal(size=n)
    return [["kind", "visits", "spent"], *([k, v, f"{s:.2f}"] for k, v, s in zip(kinds, visits, spent, strict=True))]


def test_discrete_flows_of_labels_and_whole_numbers(cli, table):
    rows = mixed_rows()
    file = table(rows)
    settings = ["-s", "data.kinds.visits=ordinal", "-s", "train.epochs=30"]
    done = cli("fit", file, "-c", "discrete_flows", *settings, "-o", "run")
    assert done.status == 0, done.err
    assert re.search(r"visits +ordinal +whole numbers around", done.err)
    assert np.isfinite(scores(cli("score", file, "-m", "run"))).all()
    drawn = frame(cli("sample", "--n", "2000", "-m", "run", "--seed", "1").out)
    assert drawn["visits"].dtype.kind == "i"
    means = drawn.groupby("kind")["visits"].mean()
    assert means["fancy"] == pytest.approx(7, abs=0.8)
    assert means["plain"] == pytest.approx(2, abs=0.8)
    latent = cli("encode", file, "-m", "run")
    assert list(frame(latent.out).columns) == ["z1", "kind", "visits"]
    back = frame(cli("decode", "-", "-m", "run", stdin=latent.out).out)
    assert back["visits"].tolist() == [row[1] for row in rows[1:]]
    bad = cli("score", table([["kind", "visits", "spent"], ["plain", "2.5", "1"]], "bad.csv"), "-m", "run")
    assert bad.status == 1
    assert "bad.csv: row 1, column 'visits': '2.5' is not a whole number" in bad.err


def test_drop_leaves_columns_out(cli, iris):
    assert cli("fit", iris, "-s", "train.epochs=0", "--drop", "species,petal_width", "-o", "run", "-q").status == 0
    assert list(frame(cli("sample", "--n", "2", "-m", "run").out).columns) == COLUMNS[:3]
    assert load_config("run/config.yaml").data.drop == ["species", "petal_width"]


@pytest.mark.parametrize("name", ["a,b", "größe", "😀", 'say "x"', "a: b", "1e5", "true", " spaced"])
def test_odd_names_can_be_dropped_and_given(cli, table, name):
    x, y = zip(*normal_rows()[1:], strict=True)
    table([["x", name, "y"], *zip(x, ["u", "v"] * 40, y, strict=True)])
    quoted = '"' + name.replace('"', '""') + '"'
    for option in ("--drop", "--context"):
        done = cli("fit", "t.csv", "-c", "gaussian", option, quoted, "-o", option.strip("-"), "-q")
        assert done.status == 0, done.err
    assert list(frame(cli("sample", "--n", "2", "-m", "drop").out).columns) == ["x", "y"]
    done = cli("sample", "--n", "2", "-m", "context", "--given", f"{name}=u")
    assert frame(done.out)[name].tolist() == ["u", "u"]
    # The run's config means the same names.
    assert load_config("context/config.yaml").data.context == [name]


@pytest.mark.parametrize(("option", "key"), [("--drop", "drop"), ("--context", "context")])
def test_an_unknown_column_is_told_with_the_nearest(cli, iris, option, key):
    done = cli("fit", iris, option, "speces", "-o", "run")
    assert done.status == 2
    assert "'speces' (did you mean 'species'?)" in done.err


def test_test_and_validation_files(cli, table, irises):
    table([irises[0], *irises[1:101]], "train.csv")
    table([irises[0], *irises[1::10]], "test.csv")
    table([irises[0], *irises[2::10]], "validation.csv")
    done = cli(
        *("fit", "train.csv", "--test", "test.csv", "--validation", "validation.csv"),
        *("-s", "train.epochs=1", "-o", "run", "-q", "--json"),
    )
    assert done.status == 0, done.err
    metrics = json.loads(done.out)
    assert metrics["rows"] == {"training": 100, "validation": 15, "test": 15}
    kept = pd.read_csv("run/test_scores.csv")
    assert kept["row"].tolist() == list(range(1, 16))
    np.testing.assert_allclose(kept["log_prob"], scores(cli("score", "test.csv", "-m", "run")), rtol=1e-6)


def test_a_bad_cell_of_a_test_file_is_told_with_its_place(cli, table, irises):
    table(irises, "train.csv")
    table([irises[0], irises[1], ["x", *irises[2][1:]]], "test.csv")
    done = cli("fit", "train.csv", "--test", "test.csv", "-o", "run")
    assert done.status == 1
    assert "test.csv: row 2, column 'sepal_length': 'x' is not a number" in done.err


def test_several_files_are_one_table(cli, table, irises):
    table(irises[:101], "one.csv")
    table([irises[0], *irises[101:]], "two.csv")
    done = cli("fit", "one.csv", "two.csv", "-s", "train.epochs=0", "-o", "run", "--json", "-q")
    assert sum(json.loads(done.out)["rows"].values()) == 150
    assert len(scores(cli("score", "two.csv", "one.csv", "-m", "run"))) == 150


def test_max_time_ends_a_fit(cli, iris):
    done = cli("fit", iris, "-s", "train.epochs=100000", "--max-time", "1s", "-o", "run", "-q", "--json")
    metrics = json.loads(done.out)
    assert metrics["stopped_by"] == "max_time"
    assert metrics["seconds"] < 5


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([["a", "b"]], "no rows"),
        ([["a"], ["1"], ["2"]], "too few"),
        ([["a"], *[["7"]] * 30], "no column is left"),
        ([["note"], *[[f"note {i}"] for i in range(40)]], "no column is left"),
        ([["x", "y"], *[[i * 7 % 31, i if i else "inf"] for i in range(40)]], "'y' (infinite in row 1)"),
        ([["x", "y"], *[[i * 7 % 31, i if i else "-nan"] for i in range(40)]], "'y'"),
        ([["x", "y"], *[[i * 7 % 31, f"{i}e300"] for i in range(40)]], "'y'"),
    ],
    ids=["header alone", "two rows", "constant", "free text alone", "infinite", "-nan", "huge"],
)
def test_a_table_that_cannot_be_modelled_is_refused(cli, table, rows, words):
    done = cli("fit", table(rows), "-o", "run", "-q")
    assert done.status == 1
    assert len(done.err.splitlines()) == 1
    assert "t.csv" in done.err
    assert words in done.err
    assert "unexpected" not in done.err


def test_a_constant_comes_back_and_takes_no_part(cli, table):
    rows = normal_rows()
    with_constant = [[*rows[0], "unit"], *[[*row, "00501"] for row in rows[1:]]]
    table(rows, "plain.csv")
    table(with_constant, "more.csv")
    for name in ("plain", "more"):
        assert cli("fit", f"{name}.csv", "-s", "train.epochs=1", "-o", name, "-q").status == 0
    np.testing.assert_array_equal(
        scores(cli("score", "plain.csv", "-m", "plain")), scores(cli("score", "more.csv", "-m", "more"))
    )
    assert frame(cli("sample", "--n", "3", "-m", "more").out, dtype=str)["unit"].tolist() == ["00501"] * 3


def test_too_few_columns_for_a_transform_are_told_with_what_to_use(cli, table):
    done = cli("fit", table([["x"], *[[row[0]] for row in normal_rows()[1:]]]), "-c", "realnvp", "-o", "run", "-q")
    assert done.status == 2
    assert "affine_coupling" in done.err
    assert "spline" in done.err
