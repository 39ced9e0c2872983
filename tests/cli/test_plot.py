"""``flowcli plot``: files, paths and refusals."""

import sys
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image


@pytest.fixture
def here(cli, tmp_path, gaussian_run):
    """A copy of the run's model in the folder that commands run in."""
    (tmp_path / "m.safetensors").write_bytes((gaussian_run / "model.safetensors").read_bytes())
    return tmp_path


QUICK = ["--n", "200", "--columns", "petal_length,petal_width"]


def test_formats(cli, here):
    for ending in ("png", "svg", "pdf"):
        done = cli("plot", "-m", "m.safetensors", *QUICK, "-o", f"it.{ending}")
        assert (done.status, done.out) == (0, f"it.{ending}\n"), done.err
    with Image.open(here / "it.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert picture.width == 800
    svg = ElementTree.parse(here / "it.svg").getroot()
    assert svg.tag.endswith("svg")
    assert svg.get("width") == "576pt"
    assert "petal_length" in (here / "it.svg").read_text()
    assert (here / "it.pdf").read_bytes().startswith(b"%PDF-")


def test_the_same_again(cli, here):
    for name in ("one.svg", "two.svg"):
        assert cli("plot", "-m", "m.safetensors", *QUICK, "-o", name).status == 0
    assert (here / "one.svg").read_bytes() == (here / "two.svg").read_bytes()


def test_default_names_are_beside_the_model(cli, here, conditional_run):
    assert cli("plot", "density", "-m", "m.safetensors", *QUICK).out == "density.png\n"
    assert cli("plot", "density", "-m", "m.safetensors", *QUICK).out == "density-2.png\n"
    assert cli("plot", "--transform", "affine").out == "affine.png\n"
    done = cli("plot", "training", "-m", conditional_run)
    assert done.out == f"{conditional_run}/training.png\n"
    (conditional_run / "training.png").unlink()


def test_a_file_is_replaced_with_force_only(cli, here):
    (here / "it.png").write_text("mine")
    args = ["plot", "--transform", "affine", "-o", "it.png"]
    assert cli(*args).status == 2
    assert (here / "it.png").read_text() == "mine"
    assert cli(*args, "--force").status == 0
    assert (here / "it.png").read_bytes().startswith(b"\x89PNG")


def test_a_film(cli, here):
    args = ["plot", "steps", "-m", "m.safetensors", "--n", "50"]
    assert cli(*args, "--animate").out == "steps.gif\n"
    with Image.open(here / "steps.gif") as film:
        assert film.n_frames > 20
    assert cli(*args, "-o", "steps.gif").status == 2
    assert cli(*args, "--animate", "-o", "steps.png").status == 2


def test_data_that_is_named(cli, here, iris):
    done = cli("plot", "latents", iris, "-m", "m.safetensors", "-o", "it.svg")
    assert done.status == 0, done.err
    assert "latents of 150 rows" in (here / "it.svg").read_text()
    done = cli("plot", "-", "-m", "m.safetensors", *QUICK, "-o", "stdin.svg", stdin=iris.read_bytes())
    assert done.status == 0, done.err
    assert "150 rows of -" in (here / "stdin.svg").read_text()


def test_given_and_where(cli, here, iris, conditional_run):
    done = cli("plot", "density", iris, "-m", "m.safetensors", *QUICK, "--given", "species=setosa", "-o", "it.svg")
    assert done.status == 0, done.err
    assert "kept 200 of" in done.err
    assert "50 of 150 rows" in (here / "it.svg").read_text()
    done = cli("plot", "density", "-m", conditional_run, "-o", "c.png")
    assert (done.status, done.out) == (2, "")
    assert "--given species=VALUE" in done.err
    assert "--given-file" not in done.err
    given = ["--given", "sepal_length=5.8", "--given", "sepal_width=3.0", "--given", "species=virginica"]
    for kind in ("density", "steps"):
        done = cli("plot", kind, "-m", conditional_run, "--n", "100", *given, "-o", f"{kind}.png")
        assert (done.status, done.out) == (0, f"{kind}.png\n"), done.err
    done = cli("plot", "-m", conditional_run, "--n", "60", "--columns", "petal_length,species", "-o", "p.svg")
    assert done.status == 0, done.err
    assert "given their context" in (here / "p.svg").read_text()
    assert cli("plot", "steps", "-m", "m.safetensors", "--given", "species=setosa", "-o", "s.png").status == 2


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["training", "-m", "m.safetensors"], 2, "run folder"),
        (["-m", "m.safetensors", "--columns", "petal_lenght"], 2, "'petal_length'"),
        (["density", "-m", "m.safetensors", "--where", "petal > 3"], 2, "petal"),
        (["latents", "bad.csv", "-m", "m.safetensors"], 1, "bad.csv"),
        (["--transform", "spline", "-s", "kind=cubic"], 2, "rational_quadratic"),
        (["--transform", "sylvester", "-s", "units=5"], 2, "units"),
    ],
)
def test_refusals(cli, here, args, status, words):
    (here / "bad.csv").write_text("x,y\n1,2\n")
    before = {path.name for path in here.iterdir()}
    done = cli("plot", *args)
    assert (done.status, done.out) == (status, "")
    assert words in done.err
    assert [line for line in done.err.splitlines() if line.startswith("flowcli: ")] == done.err.splitlines()[-1:]
    assert {path.name for path in here.iterdir()} == before


def test_without_matplotlib(cli, here, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = cli("plot", "-m", "m.safetensors")
    assert (done.status, done.out) == (1, "")
    assert done.err == "flowcli: plot needs matplotlib: pip install 'flowcli[plots]'\n"


def test_pyplot_is_left_alone(program, here):
    done = program("plot", "--transform", "affine", cwd=here, python=("-X", "importtime"))
    assert done.status == 0
    assert "matplotlib.figure" in done.err
    assert "matplotlib.pyplot" not in done.err
