"""The map of the house: what it names is there, what is there is named, and imports run down it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MAP = ROOT / ".github" / "CONTRIBUTING.md"
PACKAGE = ROOT / "flowcli"
LAYERS = {
    Path(place).stem: int(layer)
    for layer, place in re.findall(r"^\| (\d) \| `flowcli/([^`]+)` \|", MAP.read_text(encoding="utf-8"), re.MULTILINE)
}
# What stands in the package's own file and is nothing but a text.
LAYERS["__version__"] = 0


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def part(path: Path) -> str:
    """The part of the package that a file belongs to."""
    return Path(path.relative_to(PACKAGE).parts[0]).stem


def imported(source: str) -> list[str]:
    """The parts that a source imports, wherever and for whatever it does."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports have full names"
            top, *rest = (node.module or "").split(".")
            if top == "flowcli":
                found += rest[:1] or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found += [name[1] if len(name) > 1 else "__init__" for name in names if name[0] == "flowcli"]
    return found


def test_what_is_there_is_on_the_map():
    missing = {part(path) for path in modules()} - set(LAYERS)
    assert not missing, f"say in {MAP.relative_to(ROOT)} what {', '.join(sorted(missing))} is, and in which layer"


def test_what_is_on_the_map_is_there():
    named = re.findall(
        r"`((?:\.ci|flowcli|tests|configs|data)/[\w./]*|\w+\.(?:md|toml))`", MAP.read_text(encoding="utf-8")
    )
    assert len(named) > len(LAYERS)
    for place in named:
        assert (ROOT / place).is_dir() if place.endswith("/") else (ROOT / place).is_file(), place


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path):
    own = LAYERS[part(path)]
    for other in imported(path.read_text(encoding="utf-8")):
        assert LAYERS[other] <= own, f"{part(path)} (layer {own}) imports {other} (layer {LAYERS[other]})"


def test_imports_are_seen():
    source = """
import flowcli
import flowcli.cli.app
from flowcli import errors
def late():
    from flowcli.tables.read import read_table
"""
    assert imported(source) == ["__init__", "cli", "errors", "tables"]
