"""Shell completion: fast, from the heads of files, and never a word of trouble."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running import environment
from typer.testing import CliRunner

from flowcli.cli.app import app
from flowcli.config.presets import preset_names

PROGRAM = Path(sys.executable).with_name("flowcli")
HEAVY = ("torch", "pandas", "pyro", "scipy", "sklearn", "safetensors")
IRIS = ["sepal_length", "sepal_width", "petal_length", "petal_width", "species"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, iris, gaussian_run, conditional_run):
    """A table in several formats, two finished runs and an unfinished one, a config, and what is no table or model."""
    folder = tmp_path_factory.mktemp("completion")
    shutil.copy(iris, folder / "iris.csv")
    shutil.copy(iris, folder / "is it.csv")
    (folder / "odd.csv").write_text('first name,"a,b",zwölf,plain\n1,2,3,4\n', encoding="latin-1")
    (folder / "rows.jsonl").write_text('{"this": 1, "that": "x"}\n')
    (folder / "damaged.csv.gz").write_bytes(b"\x1f\x8bnothing")
    (folder / "flow.yaml").write_text("seed: 1\n")
    for name, run in (("all", gaussian_run), ("petals", conditional_run)):
        shutil.copytree(run, folder / "runs" / name)
    shutil.copytree(gaussian_run, folder / "runs" / "begun")
    (folder / "runs" / "begun" / "metrics.json").unlink()
    return folder


@pytest.fixture
def completed(folder, monkeypatch):
    """What fish, say, is offered for the last of the words."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["flowcli"])
    monkeypatch.delenv("FLOWCLI_MODEL", raising=False)

    def complete(words):
        done = CliRunner().invoke(app, env=asked(words))
        assert done.stderr == ""
        # Behind a tab stands what it is.
        return [line.partition("\t")[0] for line in done.stdout.splitlines() if line]

    return complete


def asked(words):
    return {
        "_FLOWCLI_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": " ".join(["flowcli", *words]),
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["enc"], ["encode"]),
        (["transforms", "spline_"], ["spline_autoregressive", "spline_coupling"]),
        (["transforms", "integer"], ["integer_flow"]),
        (["fit", "-c", "nsf"], ["nsf_autoregressive", "nsf_coupling"]),
        (["fit", "-c", "f"], ["factorised_iris", "ffjord", "flow.yaml"]),
        (["fit", "-c", "./fl"], ["./flow.yaml"]),
        (["config", "show", "real"], ["realnvp", "realnvp_batchnorm"]),
        (["config", "check", "flow."], ["flow.yaml"]),
        (["fit", "--set", "train.learn"], ["train.learning_rate="]),
        (["fit", "-s", "train.comp"], ["train.compile=auto", "train.compile=always", "train.compile=never"]),
        (["fit", "-s", "flow.labels=m"], ["flow.labels=modular_flow"]),
        (["fit", "-s", "data.plain=t"], ["data.plain=true"]),
        (["fit", "iris.csv", "--drop", "sepal"], ["sepal_length", "sepal_width"]),
        (["fit", "--seed", "3", "iris.csv", "-c", "maf", "--context", ""], IRIS),
        (["fit", "iris.csv", "--drop", "species", "--context", "sepal_length,se"], ["sepal_length,sepal_width"]),
        (["fit", "'is it.csv'", "--drop", "sp"], ["species"]),
        (["fit", "odd.csv", "--encoding", "latin-1", "--drop", "zw"], ["zwölf"]),
        (["fit", "odd.csv", "--encoding", "latin-1", "--drop", "a"], []),
        (["fit", "rows.jsonl", "--kind", "t"], ["this=", "that="]),
        (["fit", "iris.csv", "--kind", "sepal_w"], [f"sepal_width={kind}" for kind in
            ("number", "continuous", "integer", "date", "label", "ordinal")]),
        (["fit", "iris.csv", "--kind", "sepal_width=o"], ["sepal_width=ordinal"]),
        (["fit", "--missing", "i"], ["impute"]),
        (["fit", "--resume", "runs/"], ["runs/begun"]),
        (["score", "iris.csv", "--keep", "p"], ["petal_length", "petal_width"]),
        (["show", "runs/a"], ["runs/all"]),
        (["score", "iris.csv", "-m", "runs/p"], ["runs/petals"]),
        (["sample", "-m", "runs/all", "--given", "petal"], ["petal_length=", "petal_width="]),
        (["sample", "-m", "runs/petals/model.safetensors", "--given", "spec"],
            ["species=setosa", "species=versicolor", "species=virginica"]),
        (["sample", "-n", "3", "-m", "runs/all", "--given", "petal_width=1", "--given", "species=v"],
            ["species=versicolor", "species=virginica"]),
        (["sample", "--device", "c"], ["cpu", "cuda"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_completion(words, expected, completed):
    assert completed(words) == expected


def test_presets_and_runs_without_a_beginning(completed):
    assert completed(["fit", "-c", ""]) == [*preset_names(), "flow.yaml"]
    assert sorted(completed(["show", ""])) == ["runs/all", "runs/petals"]


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "--drop", "x"],
        ["fit", "nowhere.csv", "--drop", "x"],
        ["fit", "runs", "--drop", ""],
        ["fit", "damaged.csv.gz", "--drop", ""],
        ["fit", "odd.csv", "--drop", ""],
        ["fit", "iris.csv", "--encoding", "nope", "--drop", "x"],
        ["fit", "iris.csv", "--kind", "a=b=c"],
        ["fit", "-c", "nowhere/"],
        ["fit", "-s", "train.nothing=x"],
        ["sample", "-m", "nowhere", "--given", ""],
        ["sample", "-m", "iris.csv", "--given", ""],
        ["sample", "-m", "runs/all", "--given", "nothing=x"],
    ],
    ids=" ".join,
)
def test_nothing_is_known(words, completed):
    assert completed(words) == []


def test_a_pipe_is_left_alone(folder, completed):
    # Who opens it would wait for a writer.
    os.mkfifo(folder / "pipe.csv")
    assert completed(["fit", "pipe.csv", "--drop", ""]) == []


@pytest.mark.parametrize(
    "words",
    [["fit", "iris.csv", "--drop", "sp"], ["sample", "-m", "runs/all", "--given", "sp"], ["fit", "-s", "train.c"]],
)
def test_nothing_heavy_is_imported(words, folder):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", PROGRAM],
        cwd=folder,
        env=environment(**asked(words)),
        capture_output=True,
        text=True,
    )
    assert done.stdout
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "flowcli" in imported
    assert imported.isdisjoint(HEAVY)


# What bash does on TAB, with the script that flowcli gives it; each word is one of bash's, in which "=" is a word.
BASH = """
eval "$(flowcli --show-completion bash)"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
${FUNCTION} flowcli
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["flowcli", "transforms", "spline_c"], ["spline_coupling"]),
        (["flowcli", "fit", "iris.csv", "--drop", ""], IRIS),
        (["flowcli", "fit", "is\\ it.csv", "--drop", "sp"], ["species"]),
        (["flowcli", "fit", "odd.csv", "--encoding", "latin-1", "--drop", "fi"], ["first\\ name"]),
        (["flowcli", "sample", "-m", "runs/all", "--given", "species", "="], ["setosa", "versicolor", "virginica"]),
        (["flowcli", "sample", "-m", "runs/all", "--given", "species", "=", "vi"], ["virginica"]),
        (["flowcli", "sample", "--given", "species", "=", "setosa", "--model", "=", "runs/p"], ["runs/petals"]),
        (["flowcli", "fit", "iris.csv", "-s", "seed", "=", "1", "--kind", "species", "=", "la"], ["label"]),
    ],
    ids=lambda value: " ".join(value[1:]),
)
def test_bash(words, expected, folder):
    asked = environment(PATH=f"{PROGRAM.parent}:{Path('/usr/bin')}:/bin")
    script = BASH.replace("${FUNCTION}", "_flowcli_completion")
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", *words], cwd=folder, env=asked, capture_output=True, text=True
    )
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")
