"""What each command does, end to end."""

import csv
import io
import json
import math
import os
import pickle
import re
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from flowcli.config.distributions import BASES, LABEL_MODELS, ORDINAL_MODELS
from flowcli.config.load import load_config
from flowcli.config.presets import preset_names
from flowcli.transforms.registry import entries

NUMBERS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
COLUMNS = [*NUMBERS, "species"]
GIVEN = ["--given", "sepal_length=5.8", "--given", "sepal_width=3.0", "--given", "species=virginica"]


def frame(text: str, **options) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), **options)


def scores(done) -> np.ndarray:
    assert done.status == 0, done.err
    assert done.lines[0] == "log_prob"
    return np.array([float(line) for line in done.lines[1:]])


@pytest.fixture
def table(tmp_path):
    """Writes a table in the folder that is worked in; gives its name."""

    def write(rows, name="t.csv"):
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        return name

    return write


@pytest.fixture
def irises(iris):
    """The rows of iris as lists of cells, the header first."""
    with iris.open(newline="") as file:
        return list(csv.reader(file))


def normal_rows(n=80, seed=3):
    """A header and rows of two correlated numbers."""
    generator = np.random.default_rng(seed)
    rows = generator.multivariate_normal([10, -3], [[4, 1.5], [1.5, 1]], n)
    return [["x", "y"], *[[repr(float(x)), repr(float(y))] for x, y in rows]]


# fit


def test_fit_writes_a_run_folder(iris_run):
    found = {path.name for path in iris_run.iterdir()}
    assert found >= {"model.safetensors", "config.yaml", "metrics.json", "history.csv", "test_scores.csv"}
    assert found <= {
        "model.safetensors",
        "config.yaml",
        "metrics.json",
        "history.csv",
        "test_scores.csv",
        "checkpoint.safetensors",
    }


def test_metrics_have_the_test_log_likelihood_first(iris_run):
    metrics = json.loads((iris_run / "metrics.json").read_text())
    assert list(metrics)[:2] == ["test_log_likelihood", "validation_log_likelihood"]
    assert metrics.keys() >= {"baselines", "parameters", "epochs", "best_epoch", "seconds", "run"}
    assert metrics["run"] == str(iris_run)
    assert metrics["epochs"] == 3
    summary = metrics["test_log_likelihood"]
    assert list(summary)[:5] == ["mean", "standard_error", "total", "n", "bits_per_dim"]
    # The figures follow from the rows' scores.
    rows = pd.read_csv(iris_run / "test_scores.csv")["log_prob"]
    assert summary["n"] == len(rows) == 15
    assert summary["total"] == pytest.approx(rows.sum())
    assert summary["mean"] == pytest.approx(rows.mean())
    assert summary["standard_error"] == pytest.approx(rows.std(ddof=1) / math.sqrt(15))
    assert summary["bits_per_dim"] == pytest.approx(-rows.mean() / math.log(2) / 5)


def test_history_has_a_row_for_each_epoch(iris_run):
    history = pd.read_csv(iris_run / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3]
    assert np.isfinite(history[["training_log_likelihood", "validation_log_likelihood"]]).all(axis=None)


def test_the_resolved_config_fits_the_same_model(cli, iris, iris_run):
    config = load_config(str(iris_run / "config.yaml"))
    assert config.flow is not None
    assert config.train.epochs == 3
    assert cli("fit", iris, "-c", iris_run / "config.yaml", "-o", "again", "-q").status == 0
    for name in ("config.yaml", "test_scores.csv"):
        assert (iris_run / name).read_text() == Path("again", name).read_text()


def test_test_scores_are_the_scores_of_those_rows(cli, iris, iris_run, irises, table):
    kept = pd.read_csv(iris_run / "test_scores.csv")
    assert kept.columns.tolist() == ["row", "log_prob"]
    assert kept["row"].between(1, 150).all()
    assert kept["row"].is_unique
    # Rows are counted from 1, the header not counted.
    rows = [irises[row] for row in kept["row"]]
    log_prob = scores(cli("score", table([irises[0], *rows]), "-m", iris_run))
    np.testing.assert_allclose(log_prob, kept["log_prob"], rtol=1e-6)
    np.testing.assert_allclose(log_prob, scores(cli("score", iris, "-m", iris_run))[kept["row"] - 1], rtol=1e-9)


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


def test_fit_names_its_folder_by_the_data_and_the_time(cli, iris):
    done = cli("fit", iris, "-s", "train.epochs=0", "-q")
    assert re.fullmatch(r"runs/iris-\d{8}-\d{6}\n", done.out)
    again = cli("fit", iris, "-s", "train.epochs=0", "-q")
    assert again.out != done.out


def test_fit_json_is_the_metrics(cli, iris):
    done = cli("fit", iris, "-s", "train.epochs=0", "-o", "run", "--json", "-q")
    assert json.loads(done.out) == json.loads(Path("run/metrics.json").read_text())


def test_a_seed_fixes_a_fit(cli, iris):
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        assert cli("fit", iris, "-s", "train.epochs=2", "--seed", seed, "-o", name, "-q").status == 0
    one, same, other = (scores(cli("score", iris, "-m", name)) for name in ("one", "same", "other"))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_works_in_every_command(cli, iris, name):
    done = cli("fit", iris, "-c", name, "-s", "train.epochs=1", "-o", "run", "-q")
    assert done.status == 0, done.err
    assert np.isfinite(scores(cli("score", iris, "-m", "run"))).all()
    given = GIVEN if load_config(name).data.context else []
    done = cli("sample", "--n", "3", "-m", "run", *given)
    assert list(frame(done.out).columns) == COLUMNS
    assert len(done.lines) == 4
    latent = cli("encode", iris, "-m", "run")
    assert latent.status == 0, latent.err
    back = frame(cli("decode", "-", "-m", "run", stdin=latent.out).out)
    rows = frame(iris.read_text())
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


def test_a_cycle_of_factors_is_named(cli, iris, tmp_path):
    (tmp_path / "c.yaml").write_text(
        "flow:\n  factors:\n"
        "  - {columns: [sepal_length], given: [petal_length], transforms: [spline]}\n"
        "  - {columns: [petal_length], given: [sepal_length], transforms: [spline]}\n"
    )
    done = cli("config", "check", "c.yaml")
    assert done.status == 2
    assert done.err.startswith("flowcli: c.yaml:1:1: ")
    assert "cycle: sepal_length <- petal_length <- sepal_length" in done.err


def test_a_folder_that_holds_something_is_refused(cli, tmp_path, iris):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    done = cli("fit", iris, "-o", "run")
    assert done.status == 2
    assert "--force" in done.err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_an_empty_folder_is_taken(cli, tmp_path, iris):
    (tmp_path / "run").mkdir()
    assert cli("fit", iris, "-s", "train.epochs=0", "-o", "run", "-q").status == 0


def test_force_replaces_the_run_and_nothing_else(cli, tmp_path, iris):
    assert cli("fit", iris, "-s", "train.epochs=0", "-o", "run", "-q").status == 0
    (tmp_path / "run" / "notes.txt").write_text("mine")
    done = cli("fit", iris, "-c", "gaussian", "-o", "run", "--force", "-q")
    assert done.status == 0, done.err
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    assert [transform.name for transform in load_config("run/config.yaml").flow.transforms] == ["triangular_affine"]


@pytest.mark.parametrize(
    "wrong", [["bad.csv"], ["good.csv", "-c", "nowhere"], ["good.csv", "--drop", "nope"], ["nowhere.csv"]], ids=" ".join
)
def test_a_failed_fit_with_force_keeps_the_run_that_was_there(cli, tmp_path, iris_run, table, wrong):
    shutil.copytree(iris_run, tmp_path / "run")
    table([["a", "b"], ["1", "2"], ["3"]], "bad.csv")
    table(normal_rows(), "good.csv")
    assert cli("fit", *wrong, "-o", "run", "--force").status != 0
    before = {path.name: path.read_bytes() for path in iris_run.iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


@pytest.mark.parametrize("where", [["-o", "new/run"], []], ids=["named", "by default"])
def test_nothing_is_left_behind_when_a_fit_fails(cli, tmp_path, table, where):
    table([["a", "b"], ["1", "2"], ["3"]], "bad.csv")
    assert cli("fit", "bad.csv", *where).status == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


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
        done = cli("fit", "t.csv", "-s", "train.epochs=0", option, quoted, "-o", option.strip("-"), "-q")
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


# score


def test_score_by_the_real_program(program, cli, iris, iris_run):
    done = program("score", iris, "-m", iris_run)
    assert done.status == 0
    assert done.err == ""
    np.testing.assert_array_equal(scores(done), scores(cli("score", iris, "-m", iris_run)))


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
    np.testing.assert_array_equal(read[[0, 1, 3, 4]], expected[[0, 1, 3, 4]])
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
    assert cli("score", table(rows), "-m", iris_run, "-o", "out.csv").status == 1
    assert (tmp_path / "out.csv").read_text() == "before\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "t.csv"]


# sample


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


# Given columns


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


# encode and decode


@pytest.mark.parametrize("run", ["iris_run", "conditional_run"])
def test_decode_undoes_encode(cli, request, iris, run):
    run = request.getfixturevalue(run)
    assert cli("encode", iris, "-m", run, "-o", "z.csv").status == 0
    latent = pd.read_csv("z.csv")
    numbers = [name for name in latent.columns if re.fullmatch(r"z\d+", name)]
    others = [name for name in COLUMNS if name in latent.columns]
    assert latent.columns.tolist() == numbers + others
    assert len(numbers) + len(others) == 5
    back, data = frame(cli("decode", "z.csv", "-m", run).out), pd.read_csv(iris)
    assert back.columns.tolist() == COLUMNS
    assert back["species"].tolist() == data["species"].tolist()
    for name in COLUMNS[:4]:
        assert (back[name] - data[name]).abs().max() < 1e-4 * data[name].std()


def test_latents_are_nearly_standard_normal(cli, iris, iris_run):
    latent = frame(cli("encode", iris, "-m", iris_run).out)[["z1", "z2", "z3", "z4"]]
    assert (latent.mean().abs() < 0.5).all()
    assert latent.std().between(0.6, 1.5).all()


def test_encode_and_decode_by_the_real_program(program, iris, iris_run):
    latent = program("encode", iris, "-m", iris_run)
    assert (latent.status, latent.err) == (0, "")
    back = program("decode", "-", "-m", iris_run, stdin=latent.out)
    assert (back.status, back.err) == (0, "")
    assert len(back.lines) == 151


def test_decode_needs_the_latents(cli, iris, iris_run):
    done = cli("decode", iris, "-m", iris_run)
    assert done.status == 1
    assert "'z1'" in done.err


def test_an_unseen_label_cannot_be_encoded(cli, iris_run, irises, table):
    done = cli("encode", table([*irises[:3], [*irises[3][:4], "tulip"]]), "-m", iris_run)
    assert done.status == 1
    assert "t.csv: row 3, column 'species': 'tulip'" in done.err


def test_encode_of_typed_labels(cli, table):
    # Labels from pandas come in types of their own, here as categories with a comma.
    data = pd.DataFrame({"x": np.arange(80) * 37 % 101, "kind": pd.Categorical(["a,b", "c"] * 40)})
    data.to_parquet("t.parquet")
    assert cli("fit", "t.parquet", "-s", "train.epochs=0", "-o", "run", "-q").status == 0
    done = cli("encode", "t.parquet", "-m", "run")
    assert done.status == 0, done.err
    assert frame(done.out)["kind"].tolist() == ["a,b", "c"] * 40


# Which model


def test_a_model_is_one_file(cli, program, tmp_path, iris, iris_run):
    shutil.copy(iris_run / "model.safetensors", tmp_path / "m.safetensors")
    np.testing.assert_array_equal(
        scores(cli("score", iris, "-m", "m.safetensors")), scores(cli("score", iris, "-m", iris_run))
    )
    done = program("sample", "--n", "3", "-m", "m.safetensors")
    assert (done.status, len(done.lines)) == (0, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_the_model_of_the_environment(cli, monkeypatch, iris_run, conditional_run):
    monkeypatch.setenv("FLOWCLI_MODEL", str(conditional_run))
    assert json.loads(cli("show", "--json").out)["model"] == str(conditional_run / "model.safetensors")
    # A named one comes first.
    assert json.loads(cli("show", iris_run, "--json").out)["model"] == str(iris_run / "model.safetensors")


def test_the_newest_run_is_the_default(cli, tmp_path, iris_run, conditional_run):
    # The names sort the other way round from the times.
    for name, run, age in (("a-new", iris_run, 10), ("z-old", conditional_run, 1000), ("unfinished", iris_run, 0)):
        shutil.copytree(run, tmp_path / "runs" / name)
        time = (tmp_path / "runs" / name / "metrics.json").stat().st_mtime - age
        os.utime(tmp_path / "runs" / name / "metrics.json", (time, time))
    (tmp_path / "runs" / "unfinished" / "metrics.json").unlink()
    (tmp_path / "runs" / "notes.txt").write_text("mine")
    assert json.loads(cli("show", "--json").out)["model"] == str(Path("runs/a-new/model.safetensors"))


def test_without_any_model_it_is_said_what_to_do(cli, iris):
    for args in (["score", iris], ["sample", "--n", "1"], ["show"]):
        done = cli(*args)
        assert done.status == 2
        assert "-m" in done.err


def test_a_model_that_is_not_there_is_a_usage_error(cli, tmp_path, iris):
    (tmp_path / "empty").mkdir()
    for name in ("nowhere", "empty"):
        done = cli("score", iris, "-m", name)
        assert done.status == 2
        assert name in done.err


class Planted:
    """Unpickling this makes a file."""

    def __reduce__(self):
        return (os.mkdir, ("pwned",))


def _zip(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", content)
    return stream.getvalue()


def _safetensors(header: dict, weights: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + weights


def _edited(good: bytes, **metadata) -> bytes:
    """The model with other metadata."""
    end = 8 + struct.unpack("<Q", good[:8])[0]
    header = json.loads(good[8:end])
    header["__metadata__"].update(metadata)
    return _safetensors(header, good[end:])


DAMAGED = {
    "pickle": lambda good: pickle.dumps(Planted()),
    "torch zip": lambda good: _zip(pickle.dumps(Planted())),
    "text": lambda good: b"hello\n",
    "empty": lambda good: b"",
    "seven bytes": lambda good: b"1234567",
    "huge header": lambda good: struct.pack("<Q", 2**62) + b"{}",
    "header alone": lambda good: good[: 8 + struct.unpack("<Q", good[:8])[0]],
    "half": lambda good: good[: len(good) // 2],
    "cut by one": lambda good: good[:-1],
    "one too many": lambda good: good + b"x",
    "no metadata": lambda good: _safetensors({}),
    "another's": lambda good: _safetensors({"__metadata__": {"format": "pt"}}),
    "deep": lambda good: struct.pack("<Q", 200_000) + b"[" * 200_000,
    "another version": lambda good: _edited(good, format_version="99"),
    "no header of ours": lambda good: _edited(good, flowcli="{}"),
    "not JSON": lambda good: _edited(good, flowcli="nonsense"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_or_planted_model_is_refused(cli, tmp_path, iris, iris_run, damage):
    content = DAMAGED[damage]((iris_run / "model.safetensors").read_bytes())
    (tmp_path / "m.safetensors").write_bytes(content)
    for args in (["score", iris, "-m"], ["sample", "--n", "1", "-m"], ["show"]):
        done = cli(*args, "m.safetensors")
        assert done.status == 1, args
        assert done.out == ""
        assert len(done.err.splitlines()) == 1
        assert "m.safetensors: " in done.err
        assert "unexpected" not in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize("position", [0.1, 0.4, 0.7, 0.95])
def test_damaged_weights_never_crash(cli, tmp_path, iris, iris_run, position):
    # Eight bytes of 0xff are NaN as weights, and far outside as positions.
    good = bytearray((iris_run / "model.safetensors").read_bytes())
    start = 8 + struct.unpack("<Q", good[:8])[0]
    at = start + int(position * (len(good) - start)) // 8 * 8
    good[at : at + 8] = b"\xff" * 8
    (tmp_path / "m.safetensors").write_bytes(good)
    done = cli("score", iris, "-m", "m.safetensors")
    assert done.status == 1
    assert "m.safetensors: damaged" in done.err


def test_damaged_orders_are_refused(cli, tmp_path, iris, iris_run):
    # Integers: what is no permutation must not be used as one.
    content = (iris_run / "model.safetensors").read_bytes()
    start = 8 + struct.unpack("<Q", content[:8])[0]
    tensors = {name: t for name, t in json.loads(content[8:start]).items() if name != "__metadata__"}
    orders = [t for t in tensors.values() if t["dtype"] == "I64"]
    assert orders
    for value in (2**40, 0):
        damaged = bytearray(content)
        begin, end = orders[0]["data_offsets"]
        damaged[start + begin : start + end] = struct.pack("<q", value) * ((end - begin) // 8)
        (tmp_path / "m.safetensors").write_bytes(damaged)
        done = cli("score", iris, "-m", "m.safetensors")
        assert done.status == 1
        assert "m.safetensors: damaged" in done.err


def test_other_files_of_the_run_are_no_models(cli, iris, iris_run):
    for name in sorted({path.name for path in iris_run.iterdir()} - {"model.safetensors"}):
        done = cli("score", iris, "-m", iris_run / name)
        assert done.status == 1
        assert len(done.err.splitlines()) == 1
        assert name in done.err
        assert "not a model" in done.err


# show, transforms, config


def test_show(program, iris_run):
    done = program("show", iris_run)
    assert (done.status, done.err) == (0, "")
    for words in (
        "120 training",
        "sepal_length",
        "setosa, versicolor, virginica",
        "spline_autoregressive",
        "iris.csv",
        "torch",
    ):
        assert words in done.out
    mean = json.loads((iris_run / "metrics.json").read_text())["test_log_likelihood"]["mean"]
    assert f"{mean:.3f}" in done.out


def test_show_json_has_what_the_model_says(cli, iris, iris_run):
    shown = json.loads(cli("show", iris_run, "--json").out)
    assert [column["name"] for column in shown["columns"]] == COLUMNS
    assert shown["columns"][4]["categories"] == ["setosa", "versicolor", "virginica"]
    # Means and scales are those of training rows: near those of the table.
    data = pd.read_csv(iris)
    for column in shown["columns"][:4]:
        # Below a bound at zero a column has no mean of its own to be standardised by.
        if column["map"] == "none":
            spread = data[column["name"]].std()
            assert column["mean"] == pytest.approx(data[column["name"]].mean(), abs=0.25 * spread)
        assert column["scale"] == pytest.approx(data[column["name"]].std(), rel=0.2)
    assert (
        shown["metrics"]["test_log_likelihood"]
        == json.loads((iris_run / "metrics.json").read_text())["test_log_likelihood"]
    )


def test_no_training_row_is_in_the_model(iris, iris_run):
    content = (iris_run / "model.safetensors").read_bytes()
    for line in iris.read_text().splitlines()[1:]:
        assert line.encode() not in content
        assert np.array(line.split(",")[:4], dtype=np.float32).tobytes() not in content
        assert np.array(line.split(",")[:4], dtype=np.float64).tobytes() not in content


DISTRIBUTIONS = (*BASES, *LABEL_MODELS, *ORDINAL_MODELS)
DESCRIBED = {**entries(), **{entry.name: entry for entry in DISTRIBUTIONS}}


def test_transforms_lists_all(cli):
    lines = cli("transforms").lines
    for name, entry in DESCRIBED.items():
        (line,) = [line for line in lines if line.split()[0] == name]
        assert entry.summary in line
        assert entry.sampling_cost in line


@pytest.mark.parametrize("name", list(DESCRIBED))
def test_transforms_explains_one(cli, name):
    done = cli("transforms", name)
    assert done.status == 0
    assert DESCRIBED[name].formula in done.out
    assert DESCRIBED[name].reference in done.out
    as_json = json.loads(cli("transforms", name, "--json").out)
    for parameter in DESCRIBED[name].parameters:
        assert parameter.doc in done.out
        assert parameter.name in [described["name"] for described in as_json["parameters"]]


def test_config_list(cli):
    lines = cli("config", "list").lines
    assert [line.split()[0] for line in lines] == preset_names()
    assert all(len(line.split()) > 2 for line in lines)


@pytest.mark.parametrize("name", preset_names())
def test_config_check_of_every_preset(cli, name):
    done = cli("config", "check", name)
    assert (done.status, done.out) == (0, "")


def test_config_check_tells_all_mistakes_at_once(cli, tmp_path):
    (tmp_path / "c.yaml").write_text("seed: x\ntrain:\n  epocs: 3\nflow:\n  transforms:\n  - affin\n")
    done = cli("config", "check", "c.yaml")
    assert (done.status, done.out) == (2, "")
    places = re.findall(r"c\.yaml:(\d+:\d+): ", done.err)
    assert places == ["1:1", "3:3", "6:5"]
    assert len(done.err.splitlines()) == 3


def test_config_show_is_a_fixed_point(cli, tmp_path):
    once = cli("config", "show", "nsf_coupling", "-s", "data.context=[a, 'b c']").out
    (tmp_path / "c.yaml").write_text(once)
    assert cli("config", "show", "c.yaml").out == once


def test_an_error_has_no_traceback_unless_asked_for(program, tmp_path):
    plain = program("score", "nowhere.csv")
    assert "Traceback" not in plain.err
    asked = program("score", "nowhere.csv", "--debug")
    assert "Traceback" in asked.err
    assert "nowhere.csv: no such file" in asked.err
