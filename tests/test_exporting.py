"""Exported programs: the model's own numbers, by torch alone."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from running import environment, run_here

import flowcli

# Scores or draws with the files that it is given; flowcli cannot be imported.
ALONE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("flowcli", "pyro"):
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
import numpy as np
import torch
for name in sys.argv[1:]:
    program = torch.export.load(name + ".pt2").module()
    arrays = np.load(name + ".npz")
    results = program(*(torch.from_numpy(arrays[key]) for key in arrays.files))
    results = results if isinstance(results, tuple) else (results,)
    np.savez(name + ".out.npz", *(result.numpy() for result in results))
assert not {"flowcli", "pyro", "pandas"} & {*sys.modules}
"""

MIXED = "x,y,k,l,d,c,w\n" + "".join(
    f"{i * 7 % 31 / 10},{i * i % 37 / 8 if i % 5 else ''},{i % 4},{'uvw'[i * i % 3] if i % 7 else ''},"
    f"2020-01-{1 + i % 28:02},{'pq'[i % 2]},{max(0, i * 13 % 29 - 12) / 4}\n"
    for i in range(80)
)
# Small networks: what takes time is to follow their operations.
AUTOREGRESSIVE = "{affine_autoregressive: {hidden: [8]}}"
SPLINES = "{spline_coupling: {hidden: [8], bins: 4}}"
COPIES = (
    f"flow={{mixture: [{{copies: 2, transforms: [{AUTOREGRESSIVE}, permute]}}, "
    "{copies: 2, epochs: 0, transforms: [], base: {gaussian_mixture: {components: 3}}}]}"
)
# Name: the options of a fit of MIXED (splines: of iris). Few, as to export one takes long: a mixture has its members'.
MODELS = {
    "spline coupling": ["-s", f"flow.transforms=[{SPLINES}, permute]", "--drop", "species,sepal_width"],
    "holes, spikes, ordinals, dates": [
        "-s",
        "flow.transforms=[triangular_affine]",
        "-s",
        "data.kinds={k: ordinal, x: {lower: 0}}",
    ],
    "conditional mixture": [
        "-s",
        COPIES,
        "-s",
        "train.folds=2",
        "--drop",
        "d",
        "--context",
        "k,c,y",
        "--kind",
        "k=ordinal",
        "--missing",
        "impute",
    ],
}


@dataclass
class Exported:
    """A model, its table, its exported functions, and what they made of the inputs."""

    run: Path
    table: Path
    files: dict[str, Path]
    inputs: dict[str, dict[str, np.ndarray]]
    outputs: dict[str, list[np.ndarray]]
    facts: dict[str, dict]


def facts_in(file: Path) -> dict:
    with zipfile.ZipFile(file) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("flowcli.json"))
        return json.loads(archive.read(name))


def arrays(columns_of: dict, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """The inputs that a file asks for, of a table of text."""
    made = {}
    for name, array in columns_of.items():
        if name == "uniforms":
            made[name] = np.random.default_rng(7).random((len(frame), array["width"]))
        else:
            made[name] = np.stack([cells(column, frame[column["name"]]) for column in array["columns"]], axis=1)
    return made


def cells(column: dict, text: pd.Series) -> np.ndarray:
    if column["kind"] == "label":
        codes = {label: code for code, label in enumerate(column["categories"])}
        codes[""] = column.get("missing_code", -1)
        return np.array([codes.get(cell, -1) for cell in text], dtype=np.int64)
    if column["kind"] == "date":
        assert column["unit"] == "days since 1970-01-01"
        return ((pd.to_datetime(text) - pd.Timestamp("1970-01-01")) / pd.Timedelta("1D")).to_numpy()
    return pd.to_numeric(text).to_numpy(dtype=float)


def reweighted(run: Path) -> Path:
    """The mixture with weights that count; one is zero."""
    import torch

    model = flowcli.load(run)
    model.density.weights.copy_(torch.tensor([0.4, 0.25, 0.0, 0.35]))
    model.save(run / "reweighted.safetensors")
    return run / "reweighted.safetensors"


@pytest.fixture(scope="module")
def exported(tmp_path_factory, iris) -> Callable[[str], Exported]:
    """A model, exported by the program and run by a process that has no flowcli."""

    @cache
    def one(name: str) -> Exported:
        where = tmp_path_factory.mktemp("exported")
        table, run = iris, where / "run"
        if name != "spline coupling":
            table = where / "mixed.csv"
            table.write_text(MIXED)
        done = run_here("fit", table, *MODELS[name], "-s", "train.epochs=1", "-o", run, "-q")
        assert done.status == 0, done.err
        if name.endswith("mixture"):
            run = reweighted(run)
        made = Exported(run, table, {}, {}, {}, {})
        frame = pd.read_csv(table, dtype=str, keep_default_na=False)
        for function in ("log_prob", "sample"):
            made.files[function] = file = where / f"{function}.pt2"
            done = run_here("export", "-m", run, "--function", function, "-o", file)
            assert done.status == 0, done.err
            made.facts[function] = facts = facts_in(file)
            made.inputs[function] = inputs = arrays(facts["inputs"], frame)
            np.savez(where / f"{function}.npz", **inputs)
        stems = [str(file.with_suffix("")) for file in made.files.values()]
        done = subprocess.run([sys.executable, "-c", ALONE, *stems], capture_output=True, text=True, env=environment())
        assert done.returncode == 0, done.stderr
        for function in made.files:
            out = np.load(where / f"{function}.out.npz")
            made.outputs[function] = [out[key] for key in out.files]
        return made

    return one


# One test of a model, not two: to export it takes long, and two processes would do so twice.
@pytest.mark.parametrize("name", MODELS)
def test_it_gives_the_model_s_own_scores_and_samples(exported, name):
    one = exported(name)
    scores_are_those_of_flowcli_score(one)
    samples_are_those_of_the_model_from_the_same_uniform_numbers(one)


def scores_are_those_of_flowcli_score(one):
    (log_prob,) = one.outputs["log_prob"]
    done = run_here("score", one.table, "-m", one.run)
    assert done.status == 0, done.err
    expected = np.array([float(line) for line in done.lines[1:]])
    assert np.isfinite(expected).sum() > len(expected) / 2
    np.testing.assert_allclose(log_prob, expected, rtol=1e-9, atol=1e-9)


def samples_are_those_of_the_model_from_the_same_uniform_numbers(one):
    model = flowcli.load(one.run)
    frame = pd.read_csv(one.table, dtype=str, keep_default_na=False)
    given = [column.name for column in model.encoder.context]
    context, cells_given = model._given(frame[given].replace("", None)) if given else (np.empty((len(frame), 0)), None)
    drawn = model._torch_engine().sample(one.inputs["sample"]["uniforms"], context)
    rows = model.encoder.decode(drawn.numbers, drawn.labels, drawn.ordinals, cells_given, rounded=True).to_pandas()
    made = dict(zip(("numbers", "labels"), one.outputs["sample"], strict=True))
    assert [*one.facts["sample"]["outputs"]] == [key for key in made if made[key].shape[1]]
    for kind, array in one.facts["sample"]["outputs"].items():
        for place, column in enumerate(array["columns"]):
            text = rows[column["name"]].map(lambda cell: "" if pd.isna(cell) else str(cell))
            np.testing.assert_allclose(made[kind][:, place], cells(column, text.astype(object)), rtol=1e-9, atol=1e-9)


def load(content: bytes):
    import torch

    return torch.export.load(io.BytesIO(content)).module()


def test_what_cannot_be_scored_is_nan_and_what_is_impossible_minus_infinity(exported):
    import torch

    one = exported("holes, spikes, ordinals, dates")
    program = load(one.files["log_prob"].read_bytes())
    names = {key: [c["name"] for c in array["columns"]] for key, array in one.facts["log_prob"]["inputs"].items()}
    numbers, labels = (torch.from_numpy(one.inputs["log_prob"][key][:1]) for key in ("numbers", "labels"))

    def scored(**change: float) -> float:
        one_row, codes = numbers.clone(), labels.clone()
        for name, value in change.items():
            if name in names["numbers"]:
                one_row[0, names["numbers"].index(name)] = value
            else:
                codes[0, names["labels"].index(name)] = int(value)
        return float(program(one_row, codes)[0])

    assert np.isfinite(scored())
    assert np.isfinite(scored(y=np.nan))
    assert np.isnan(scored(x=np.nan))
    assert np.isnan(scored(x=np.inf))
    assert np.isnan(scored(k=1.5))
    assert scored(l=-1) == scored(l=99) == -np.inf
    assert scored(x=-3.0) == -np.inf


def test_what_needs_a_search_is_refused_in_one_line(cli, tmp_path):
    (tmp_path / "t.csv").write_text(MIXED)
    settings = ["-s", "flow={repeat: 6, transforms: [{planar: {}}]}", "--drop", "y,k,l,d,c,w", "-s", "data.plain=true"]
    assert cli("fit", "t.csv", *settings, "-s", "train.epochs=1", "-o", "run", "-q").status == 0
    done = cli("export", "-m", "run", "--function", "sample")
    assert (done.status, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert "cannot be exported" in done.err
    assert not (tmp_path / "sample.pt2").exists()
    assert cli("export", "-m", "run").status == 0


def test_a_file_is_replaced_with_force_only(cli, tmp_path, gaussian_run):
    (tmp_path / "log_prob.pt2").write_text("mine")
    done = cli("export", "-m", gaussian_run)
    assert done.status == 2
    assert "--force" in done.err
    assert (tmp_path / "log_prob.pt2").read_text() == "mine"
    done = cli("export", "-m", gaussian_run, "--force")
    assert (done.status, done.out) == (0, "")
    assert "sepal_length" in done.err
    assert facts_in(tmp_path / "log_prob.pt2")["function"] == "log_prob"


def test_no_row_is_in_the_file(cli, gaussian_run, tmp_path):
    assert cli("export", "-m", gaussian_run).status == 0
    with zipfile.ZipFile(tmp_path / "log_prob.pt2") as archive:
        assert not [name for name in archive.namelist() if "sample_inputs" in name and archive.read(name)]
        # Nor where flowcli lies on the machine that wrote it.
        assert not [
            name for name in archive.namelist() if str(Path(flowcli.__file__).parent).encode() in archive.read(name)
        ]
