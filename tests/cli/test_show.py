"""``flowcli show``, and what a model says of its rows."""

import json

import numpy as np
import pandas as pd
import pytest
from commands import COLUMNS


def test_show(cli, iris_run):
    done = cli("show", iris_run)
    assert (done.status, done.err) == (0, "")
    for words in (
        "135 training",
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
            assert column["scale"] == pytest.approx(spread, rel=0.2)
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


def test_units_are_shown(cli, tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{i * i % 37},{i * 7 % 31}\n" for i in range(60)))
    settings = ["-s", "data.kinds={x: {unit: mm}}", "-s", "train.epochs=0", "-c", "gaussian"]
    assert cli("fit", "t.csv", *settings, "-o", "run").status == 0
    assert "integer, in mm" in " ".join(cli("show", "run").out.split("  "))
    assert [column["unit"] for column in json.loads(cli("show", "run", "--json").out)["columns"]] == ["mm", ""]
