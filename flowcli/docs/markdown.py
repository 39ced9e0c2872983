"""Pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; bars within its cells are escaped."""
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (header, ["---"] * len(header), *rows)]
    return "\n".join(" ".join(["|", " | ".join(line).strip(), "|"]) for line in lines)


def block(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def code(text: str) -> str:
    """A piece of code within a line."""
    return f"`{text}`"


def inline(value: Any) -> str:
    """A value as YAML has it on one line."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6).splitlines()[0]


def anchor(title: str) -> str:
    """Where GitHub puts a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
