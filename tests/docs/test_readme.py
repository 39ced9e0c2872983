"""The README, and the pages, followed by a newcomer."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from running import environment

from flowcli.config.load import load_config

from .following import blocks, differing, follow

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / ".github" / "CONTRIBUTING.md", *sorted((ROOT / "flowcli" / "docs").glob("*.md"))]


@pytest.mark.long
def test_the_tour(tmp_path):
    shutil.copytree(ROOT / "data", tmp_path / "data")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    failed, last = "", None
    for command, status, printed in follow(ROOT / "README.md", tmp_path, environment(PATH=path)):
        if last is not None and command.text != "echo $?":
            pytest.fail(last)
        last = f"README.md:{command.line}: {command.text}: status {status}\n" + "\n".join(printed) if status else None
        if command.shown and (wrong := differing(command.shown, printed)):
            failed += f"README.md:{command.line}: {command.text}\n  {wrong}\n"
    assert last is None
    assert failed == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_configs_are_good(page, tmp_path):
    for line, text in blocks(page, "yaml"):
        if "leaky" in text:
            continue  # no transform but in its own test
        (tmp_path / "config.yaml").write_text(text)
        try:
            load_config(str(tmp_path / "config.yaml"))
        except Exception as error:
            pytest.fail(f"{page.name}:{line}: {error}")
