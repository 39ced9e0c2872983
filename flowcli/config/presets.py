"""The presets: commented configs that come with flowcli, named by their file."""

from __future__ import annotations

from pathlib import Path


def presets_folder() -> Path:
    """Where the presets are: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "presets"
    return installed if installed.is_dir() else package.parent / "configs"


def preset_names() -> list[str]:
    """The presets' names, in alphabetical order."""
    return sorted(path.stem for path in presets_folder().glob("*.yaml"))


def preset_path(name: str) -> Path:
    """The file of a preset."""
    return presets_folder() / f"{name}.yaml"
