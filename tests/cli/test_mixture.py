"""Mixtures at the shell: what a fit without a config makes, and every command on it."""

import json
import re
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from commands import alike, frame, normal_rows, scores
from hostile import put_together, taken_apart
from running import run_here
from safetensors.torch import load_file

from flowcli.config.load import load_config
from flowcli.model import Model

TABLES = ["numbers", "iris"]
SHORT = ["-q", "-s", "train.epochs=2"]
TWO_KINDS = [
    "-s",
    "flow={mixture: [{copies: 2, epochs: 0, transforms: [], base: {gaussian_mixture: {components: 2}}}, "
    "{copies: 3, transforms: [{affine_coupling: {hidden: [8]}}, permute]}]}",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, iris):
    """A folder with two tables, and a run of each that got no config. Not to be changed."""
    folder = tmp_path_factory.mktemp("mixtures")
    shutil.copy(iris, folder / "iris.csv")
    (folder / "numbers.csv").write_text("".join(",".join(row) + "\n" for row in normal_rows()))
    for name in TABLES:
        ended = run_here("fit", folder / f"{name}.csv", *SHORT, "-o", folder / "runs" / name)
        assert ended.status == 0, ended.err
    return folder


@pytest.fixture(params=TABLES)
def fitted(request, folder):
    """A table, and its run."""
    return folder / f"{request.param}.csv", folder / "runs" / request.param


def test_every_command(cli, fitted):
    table, run = fitted
    data = pd.read_csv(table)
    found = scores(cli("score", table, "-m", run))
    assert len(found) == len(data)
    assert np.isfinite(found).all()
    model = Model.load(run)
    np.testing.assert_allclose(found, model.log_prob(data), rtol=1e-9)
    samples = frame(cli("sample", "-n", "40", "-m", run, "--seed", "3").out)
    assert samples.columns.tolist() == data.columns.tolist()
    assert len(samples) == 40
    assert np.isfinite(model.log_prob(samples)).all()
    encoded = cli("encode", table, "-m", run)
    assert (encoded.status, encoded.err) == (0, "")
    latent = frame(encoded.out)
    numbers = [name for name in data.columns if name != "species"]
    others = [name for name in data.columns if name == "species"]
    assert latent.columns.tolist() == [*(f"z{k}" for k in range(1, len(numbers) + 1)), "component", *others]
    assert latent["component"].dtype.kind == "i"
    assert latent["component"].between(1, model.components).all()
    assert latent["component"].nunique() > 1
    done = cli("decode", "-", "-m", run, stdin=encoded.out)
    assert (done.status, done.err) == (0, "")
    back = frame(done.out)
    assert back.columns.tolist() == data.columns.tolist()
    for name in numbers:
        assert (back[name] - data[name]).abs().max() < 1e-4 * data[name].std()
    for name in others:
        assert back[name].tolist() == data[name].tolist()


def test_the_same_with_torch_and_without(cli, fitted):
    from flowcli.model import program_engine
    from flowcli.model_file import read_model_file

    table, run = fitted
    file = read_model_file(run / "model.safetensors")
    light, heavy = Model.load(file), Model.load(file)
    light._programs = program_engine(file)
    assert light._engine("encode", 150) is not heavy._engine("encode", 150)
    data = pd.read_csv(table, dtype=str)
    np.testing.assert_allclose(light.log_prob(data), heavy.log_prob(data), rtol=1e-9)
    for one, other in (
        (light.encode(data), heavy.encode(data)),
        (light.decode(heavy.encode(data)), heavy.decode(heavy.encode(data))),
    ):
        assert alike(one.to_csv(index=False), other.to_csv(index=False))
    assert alike(*(model.sample(50, seed=2).to_csv(index=False) for model in (light, heavy)))


def test_what_is_told(cli, fitted):
    _, run = fitted
    metrics = json.loads((run / "metrics.json").read_text())
    told = metrics["mixture"]
    assert sum(entry["weight"] for entry in told) == pytest.approx(1, abs=1e-5)
    flow = load_config(str(run / "config.yaml")).flow
    assert [entry["copies"] for entry in told] == [member.copies for member in flow.mixture]
    assert all(np.isfinite(entry["held_out_log_likelihood"]) for entry in told)
    assert metrics["rows"]["validation"] == 0
    # The rows that members left out take the place of validation rows.
    assert metrics["validation_log_likelihood"]["n"] == metrics["rows"]["training"]
    lines = cli("show", run).lines
    at = next(place for place, line in enumerate(lines) if line.startswith("mixture"))
    for entry, line in zip(told, lines[at + 1 :], strict=False):
        assert f"weight {entry['weight']:.3f}" in line
        assert entry["member"] in line
    assert "small inputs  score, sample, encode, decode without torch" in lines
    assert json.loads(cli("show", run, "--json").out)["metrics"]["mixture"] == told


def test_a_component_that_there_is_not(cli, fitted, tmp_path):
    table, run = fitted
    lines = cli("encode", table, "-m", run).lines[:5]
    place = lines[0].split(",").index("component")
    row = lines[3].split(",")
    for cell in ("0", "999", "1.5", "x", "", "-1", "nan", "1e300"):
        lines[3] = ",".join([*row[:place], cell, *row[place + 1 :]])
        (tmp_path / "z.csv").write_text("\n".join(lines) + "\n")
        done = cli("decode", "z.csv", "-m", run)
        assert done.status == 1, cell
        assert len(done.err.splitlines()) == 1
        assert re.search(r"z\.csv: row 3, column 'component': ", done.err)


def test_latents_without_a_component(cli, fitted, tmp_path):
    table, run = fitted
    latent = frame(cli("encode", table, "-m", run).out)
    latent.drop(columns="component").to_csv(tmp_path / "z.csv", index=False)
    done = cli("decode", "z.csv", "-m", run)
    assert done.status == 1
    assert "'component'" in done.err


def test_any_component_decodes(cli, fitted, tmp_path):
    table, run = fitted
    latent = frame(cli("encode", table, "-m", run).out).head(3)
    latent["component"] = "2.0"  # as another program may write it
    latent.to_csv(tmp_path / "z.csv", index=False)
    done = cli("decode", "z.csv", "-m", run)
    assert done.status == 0, done.err
    assert len(done.lines) == 4


def weights(run):
    return load_file(run / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(bool((one[name] == other[name]).all()) for name in one)


def test_its_config_fits_to_the_same_model_again(cli, fitted, tmp_path):
    table, run = fitted
    done = cli("fit", table, "-q", "-c", run / "config.yaml", "-o", "again")
    assert done.status == 0, done.err
    assert same(weights(tmp_path / "again"), weights(run))
    assert load_config("again/config.yaml") == load_config(str(run / "config.yaml"))
    one, other = (json.loads((each / "metrics.json").read_text()) for each in (run, tmp_path / "again"))
    for key in ("test_log_likelihood", "validation_log_likelihood", "mixture", "parameters"):
        assert one[key] == other[key]


def test_the_config_of_init_fits_to_the_same_flow(cli, fitted, tmp_path):
    table, run = fitted
    (tmp_path / "flow.yaml").write_text(cli("init", table).out)
    done = cli("fit", table, "-c", "flow.yaml", "-q", "-s", "train.epochs=0", "-o", "again")
    assert done.status == 0, done.err
    assert load_config("again/config.yaml").flow == load_config(str(run / "config.yaml")).flow
    assert load_config("again/config.yaml").data == load_config(str(run / "config.yaml")).data


def test_fewer_copies_than_parts(cli, folder):
    # Each kind leaves out some of the five parts only.
    mixture = "flow={mixture: [{transforms: [triangular_affine]}, {copies: 2, transforms: [affine_coupling]}]}"
    done = cli("fit", folder / "numbers.csv", "--json", *SHORT, "-s", mixture, "-o", "run")
    assert done.status == 0, done.err
    metrics = json.loads(done.out)
    assert sum(entry["weight"] for entry in metrics["mixture"]) == pytest.approx(1, abs=1e-5)
    assert 0 < metrics["validation_log_likelihood"]["n"] < metrics["rows"]["training"]
    assert np.isfinite(scores(cli("score", folder / "numbers.csv", "-m", "run"))).all()


def test_holes_and_a_context(cli, tmp_path):
    rows = normal_rows(60)
    for place in range(1, 60, 7):
        rows[place][1] = ""
    rows = [
        [*row, *(["c", "l"] if not place else [str(place % 5), "uvw"[place % 3]])] for place, row in enumerate(rows)
    ]
    (tmp_path / "t.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    assert cli("fit", "t.csv", *SHORT, "--context", "c", "-o", "run").status == 0
    assert np.isfinite(scores(cli("score", "t.csv", "-m", "run"))).all()
    encoded = cli("encode", "t.csv", "-m", "run")
    assert encoded.lines[0] == "z1,z2,component,y,c,l"
    back = frame(cli("decode", "-", "-m", "run", stdin=encoded.out).out)
    data = pd.read_csv(tmp_path / "t.csv")
    assert back["y"].isna().tolist() == data["y"].isna().tolist()
    np.testing.assert_allclose(back[["x", "y"]], data[["x", "y"]], rtol=1e-6)
    assert back["l"].tolist() == data["l"].tolist()
    assert cli("sample", "-n", "3", "-m", "run", "--given", "c=2").status == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["train.folds=3", "flow.transforms=[affine]"], "train.folds: only a mixture"),
        (["train.folds=3", "data.validation=0.2"], "take the place of data.validation"),
        (["flow={mixture: [], repeat: 2}"], "mixture"),
        (["flow={mixture: [{copies: 3}]}"], "needs transforms"),
        (["flow={mixture: [{copies: 200, transforms: [affine]}]}"], "copies"),
        (["flow={mixture: [{transforms: [affine]}], repeat: 2}"], "next to mixture there is no repeat"),
        (["flow={mixture: [{copies: 60, transforms: []}, {copies: 60, transforms: []}]}"], "more than 100 members"),
        (["flow={mixture: [{transforms: []}], factors: [{columns: [x]}]}"], "exclude each other"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_configs_that_are_refused(cli, folder, settings, words):
    done = cli("fit", folder / "numbers.csv", "-q", "-o", "run", *(word for each in settings for word in ("-s", each)))
    assert done.status == 2
    assert words in done.err


@pytest.mark.parametrize("weight", [-0.5, 7.0])
def test_weights_that_are_none(cli, folder, tmp_path, weight):
    """In a file with the right checksum, which a stranger can compute."""
    content = bytearray((folder / "runs" / "numbers" / "model.safetensors").read_bytes())
    header, data = taken_apart(bytes(content))
    begin = header["weights"]["data_offsets"][0]
    data = data[:begin] + np.float32(weight).tobytes() + data[begin + 4 :]
    (tmp_path / "m.safetensors").write_bytes(put_together(header, data))
    for args in (["score", folder / "numbers.csv"], ["sample", "-n", "1"]):
        done = cli(*args, "-m", "m.safetensors")
        assert (done.status, done.out) == (1, "")
        assert "m.safetensors: damaged: the weights of the mixture are none" in done.err


# --- killed

OFTEN = """
import flowcli.training.trainer as trainer
trainer.SECONDS_BETWEEN_CHECKPOINTS = trainer.SECONDS_BEFORE_A_BEST_ONE = 0.02
trainer.MOST_TIME_FOR_CHECKPOINTS = 1.0
"""
FIT = ["fit", "numbers.csv", "-q", "-s", "train.epochs=25", *TWO_KINDS]


def test_a_killed_fit_goes_on_to_the_same_model(server, folder, tmp_path):
    shutil.copy(folder / "numbers.csv", tmp_path)
    started = time.monotonic()
    assert server.run(*FIT, "-o", "whole", cwd=tmp_path, before=OFTEN).status == 0
    seconds = time.monotonic() - started
    for number, part in enumerate((0.5, 0.75)):
        run = f"run{number}"
        first = server.start(*FIT, "-o", run, cwd=tmp_path, before=OFTEN)
        checkpoint = tmp_path / run / "checkpoint.safetensors"
        limit = time.monotonic() + 0.9 * part * seconds
        first.kill_when(lambda: checkpoint.exists() and time.monotonic() > limit)  # noqa: B023
        if first.wait().status != 0:
            done = server.run("fit", "--resume", run, "-q", cwd=tmp_path, before=OFTEN)
            assert (done.status, done.out, done.err) == (0, f"{run}\n", "")
        assert same(weights(tmp_path / run), weights(tmp_path / "whole"))
        one, other = (json.loads((tmp_path / each / "metrics.json").read_text()) for each in (run, "whole"))
        assert one["mixture"] == other["mixture"]
