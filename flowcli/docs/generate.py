"""``python -m flowcli.docs.generate``: write the generated parts of the pages anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from flowcli.docs.command_pages import commands
from flowcli.docs.config_pages import config
from flowcli.docs.transform_pages import transforms

FOLDER = Path(__file__).resolve().parent
# What stands above it is written by hand.
MARKER = "<!-- From here on this page is written by python -m flowcli.docs.generate -->\n"
GENERATED: Mapping[str, Callable[[], str]] = {"commands.md": commands, "config.md": config, "transforms.md": transforms}


def page(name: str) -> str:
    """A page as it should be: its head as it is, and the rest from the code."""
    head, marker, _ = (FOLDER / name).read_text(encoding="utf-8").partition(MARKER)
    if not marker:
        raise ValueError(f"{name}: the line is missing that says where the generated part begins")
    return f"{head}{MARKER}\n{GENERATED[name]().rstrip()}\n"


if __name__ == "__main__":
    for each in GENERATED:
        (FOLDER / each).write_text(page(each), encoding="utf-8")
