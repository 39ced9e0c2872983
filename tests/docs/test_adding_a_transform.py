"""The page on adding a transform, followed: what it shows is a package, which is installed, used and tested."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running import environment

from flowcli.docs.generate import FOLDER

from .following import blocks, differing, follow

ROOT = FOLDER.parent.parent
PAGE = FOLDER / "adding_a_transform.md"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The package as an installer leaves it, and the config."""
    site = tmp_path_factory.mktemp("site")
    (_, toml), *_ = blocks(PAGE, "toml")
    (_, config), *_ = blocks(PAGE, "yaml")
    files = re.findall(r"`(\w+\.py)`", PAGE.read_text(encoding="utf-8"))
    sources = blocks(PAGE, "python")
    for name, (_, source) in zip(files, sources, strict=False):
        (site / name).write_text(source)
    assert 15 <= len(sources[0][1].splitlines()) <= 20
    (group,) = re.findall(r'entry-points\."([\w.]+)"\]', toml)
    points = toml.partition("]\n")[2].replace('"', "")
    information = site / "leaky-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: leaky\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{group}]\n{points}")
    (site / "leaky.yaml").write_text(config)
    return site


def surroundings(site: Path) -> dict[str, str]:
    return environment(PYTHONPATH=str(site), PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def test_it_is_fitted_and_sampled(site, tmp_path):
    shutil.copytree(ROOT / "data", tmp_path / "data")
    shutil.copy(site / "leaky.yaml", tmp_path)
    for command, status, printed in follow(PAGE, tmp_path, surroundings(site)):
        if "pytest" in command.text:
            continue  # below
        assert status == 0, printed
        assert not command.shown or differing(command.shown, printed) == ""


def test_it_passes_what_every_transform_passes(site):
    table = "tests/transforms/test_table.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", table, "-k", "leaky"],
        cwd=ROOT,
        env=surroundings(site),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    # One column and more, round trips in each state, the log-determinant against autograd, and the others.
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 30
