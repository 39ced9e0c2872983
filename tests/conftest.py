"""What the tests share: the program run for real, the program run in this process, and two small trained runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from forking import ForkServer
from running import Ended, run_here, run_program

DATA = Path(__file__).resolve().parent.parent / "data"


Program = Callable[..., Ended]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Runs ``flowcli ARGS`` as a process, in an empty folder."""

    def run(*args: object, cwd: Path = tmp_path, **options: Any) -> Ended:
        return run_program(*args, cwd=cwd, **options)

    return run


@pytest.fixture(scope="session")
def server() -> Iterator[ForkServer]:
    """Runs ``flowcli ARGS`` as a process for little: see forking.py."""
    with ForkServer() as running:
        yield running


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Runs ``flowcli ARGS`` in this process, in an empty folder: heavy imports are paid once."""
    monkeypatch.chdir(tmp_path)
    for name in ("FLOWCLI_MODEL", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return run_here


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # The models here are small: more threads only wait for each other.
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def iris() -> Path:
    """150 rows: four measurements with one decimal, and the species."""
    return DATA / "iris.csv"


@dataclass(frozen=True)
class Run:
    """A run folder, and how the fit that wrote it ended."""

    folder: Path
    ended: Ended


@pytest.fixture(scope="session")
def iris_fit(tmp_path_factory: pytest.TempPathFactory, iris: Path) -> Run:
    """A short fit of iris by the real program."""
    where = tmp_path_factory.mktemp("iris")
    folder = where / "runs" / "iris"
    ended = run_program("fit", iris, "-s", "train.epochs=3", "-o", folder, cwd=where)
    assert ended.status == 0, ended.err
    return Run(folder, ended)


@pytest.fixture(scope="session")
def iris_run(iris_fit: Run) -> Path:
    """The run folder of a short fit of iris. Not to be changed."""
    return iris_fit.folder


@pytest.fixture(scope="session")
def conditional_run(tmp_path_factory: pytest.TempPathFactory, iris: Path) -> Path:
    """The run folder of p(petals | sepals, species). Not to be changed."""
    return _fitted_here(tmp_path_factory.mktemp("conditional"), iris, "-c", "conditional", "-s", "train.epochs=3")


@pytest.fixture(scope="session")
def gaussian_run(tmp_path_factory: pytest.TempPathFactory, iris: Path) -> Path:
    """The run folder of a model that scores fast. Not to be changed."""
    return _fitted_here(tmp_path_factory.mktemp("gaussian"), iris, "-c", "gaussian", "-s", "train.epochs=0")


def _fitted_here(where: Path, iris: Path, *args: str) -> Path:
    folder = where / "runs" / "iris"
    ended = run_here("fit", iris, "-o", folder, *args)
    assert ended.status == 0, ended.err
    return folder
