"""``flowcli encode`` and ``flowcli decode``."""

import re

import numpy as np
import pandas as pd
import pytest
from commands import COLUMNS, frame


@pytest.mark.parametrize("which", ["iris_run", "conditional_run"])
def test_decode_undoes_encode(cli, request, iris, which):
    run = request.getfixturevalue(which)
    assert cli("encode", iris, "-m", run, "-o", "z.csv").status == 0
    latent = pd.read_csv("z.csv")
    numbers = [name for name in latent.columns if re.fullmatch(r"z\d+", name)]
    others = [name for name in COLUMNS if name in latent.columns]
    # The default model is a mixture.
    component = ["component"] if which == "iris_run" else []
    assert latent.columns.tolist() == numbers + component + others
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


def test_encode_and_decode_by_processes_of_their_own(server, tmp_path, iris, iris_run):
    latent = server.run("encode", iris, "-m", iris_run, cwd=tmp_path)
    assert (latent.status, latent.err) == (0, "")
    back = server.run("decode", "-", "-m", iris_run, stdin=latent.out.encode(), cwd=tmp_path)
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
