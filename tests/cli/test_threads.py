"""How many threads the commands use: --threads, OMP_NUM_THREADS, or their own choice."""

import sys

import pytest
import torch
import yaml

from flowcli.cli import threads
from flowcli.config.limits import MOST_THREADS
from flowcli.tables import pipeline
from flowcli.training.checkpoint import read_checkpoint_header


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    yield
    torch.set_num_threads(1)


@pytest.fixture
def used(monkeypatch):
    """What the commands ask for: threads within a chunk, and then how many chunks at a time."""
    asked = []

    def use(count, use_threads=threads.use_threads):
        asked.append(count)
        use_threads(count)

    class Asked(pipeline.Pace):
        def __init__(self, count):
            asked.append(count)
            super().__init__(count)

    monkeypatch.setattr(threads, "use_threads", use)
    monkeypatch.setattr(pipeline, "Pace", Asked)
    return asked


ASKED = [
    ([], None, None),
    (["--threads", "3"], None, 3),
    ([], "2", 2),
    ([], "4,2", 4),
    ([], "many", None),
    (["--threads", "3"], "2", 3),
    ([], "100000", MOST_THREADS),
]


@pytest.mark.parametrize(("option", "variable", "count"), ASKED)
@pytest.mark.parametrize("command", ["score", "encode", "decode"])
def test_whole_chunks_are_done_by_threads(cli, used, monkeypatch, iris, gaussian_run, command, option, variable, count):
    if command == "decode":
        assert cli("encode", iris, "-m", gaussian_run, "-o", "latents.csv").status == 0
        used.clear()
        iris = "latents.csv"
        monkeypatch.delenv("OMP_NUM_THREADS")
    if variable:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert cli(command, iris, "-m", gaussian_run, *option).status == 0
    assert used == [1, count]
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(("option", "variable", "count"), ASKED)
@pytest.mark.parametrize("command", ["sample", "fit"])
def test_products_are_computed_by_one_thread_unless_more_are_asked_for(
    cli, used, monkeypatch, iris, gaussian_run, command, option, variable, count
):
    if variable:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    line = ["sample", "-n", 3, "-m", gaussian_run] if command == "sample" else ["fit", iris, "-c", "gaussian", "-q"]
    assert cli(*line, *option).status == 0
    assert used == [count or 1]
    assert torch.get_num_threads() == (count or 1)


@pytest.mark.parametrize("threads", [0, MOST_THREADS + 1, "x"])
def test_no_such_number_of_threads(cli, iris, gaussian_run, threads):
    done = cli("score", iris, "-m", gaussian_run, "--threads", threads)
    assert done.status == 2
    assert "--threads" in done.err


def test_scores_do_not_depend_on_the_threads(cli, tmp_path, iris, gaussian_run):
    header, *rows = iris.read_text().splitlines(keepends=True)
    (tmp_path / "t.csv").write_text(header + "".join(rows * 1000))
    one, many, chosen = (
        cli("score", "t.csv", "-m", gaussian_run, *option) for option in (["--threads", 1], ["--threads", 4], [])
    )
    assert len(one.lines) == 150_001
    assert one == many == chosen
    assert one.status == 0


def test_a_fit_is_gone_on_with_by_as_many_threads(cli, used, monkeypatch, tmp_path, iris):
    """Products by more threads can differ in their last bits."""
    assert cli("fit", iris, "-c", "gaussian", "-q", "-o", "run", "--threads", 2).status == 0
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["train"]["threads"] == 2
    assert read_checkpoint_header(tmp_path / "run" / "checkpoint.safetensors").config.train.threads == 2
    (tmp_path / "run" / "metrics.json").unlink()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert cli("fit", "--resume", "run", "--threads", 1).status == 2
    assert cli("fit", "--resume", "run", "-q").status == 0
    assert cli("fit", iris, "-c", "run/config.yaml", "-q", "-o", "again").status == 0
    assert used == [2, 2, 2]


def test_the_python_door_trains_with_the_configs_threads(iris, monkeypatch):
    import pandas as pd

    import flowcli
    from flowcli.training.trainer import Training

    seen = []

    def run(self, *observers, run=Training.run):
        seen.append(torch.get_num_threads())
        return run(self, *observers)

    monkeypatch.setattr(Training, "run", run)
    data = pd.read_csv(iris)
    for more in ({}, {"train__threads": 2}):
        flowcli.fit(data, "gaussian", **more)
    assert seen == [1, 2]
    assert torch.get_num_threads() == 1


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP tells its settings")
@pytest.mark.parametrize("more", [{"OMP_NUM_THREADS": "2"}, {"OMP_WAIT_POLICY": "ACTIVE"}])
def test_threads_that_wait_sleep(program, iris, gaussian_run, more):
    done = program("score", iris, "-m", gaussian_run, "--threads", 2, OMP_DISPLAY_ENV="true", **more)
    assert done.status == 0
    if "OMP_WAIT_POLICY" not in done.err:
        pytest.skip("another OpenMP")
    assert f"OMP_WAIT_POLICY = '{more.get('OMP_WAIT_POLICY', 'PASSIVE')}'" in done.err
    # Known before anything heavy is loaded, so that every thread of the program computes by itself.
    assert "OMP_NUM_THREADS = '1'" in done.err
