"""Following a page: the commands of its console blocks are run, and what they print is compared with what it shows.

A block's lines that begin with ``$`` are commands of bash; those below, up to the next, are what it prints on stdout
and stderr. With nothing below, anything may be printed. ``...`` stands for any lines. Numbers are those of one machine
and one moment: others may stand in their place; words may not. A command ends with status 0, unless the next one is
``echo $?``.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# Between the outputs of commands; no command prints it.
_MARK = "\x1e"
_NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?"


@dataclass(frozen=True)
class Command:
    """A command of a page, its line there, and the lines that are shown below it."""

    line: int
    text: str
    shown: tuple[str, ...]


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """The page's blocks of code in a language, each with the number of its first line."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in found]


def commands(page: Path) -> list[Command]:
    """The commands of the page's console blocks, in order."""
    found: list[Command] = []
    for start, block in blocks(page, "console"):
        for number, line in enumerate(block.splitlines(), start):
            if line.startswith("$ "):
                found.append(Command(number, line[2:], ()))
            else:
                found[-1] = Command(found[-1].line, found[-1].text, (*found[-1].shown, line))
    return found


def follow(page: Path, folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[Command, int, list[str]]]:
    """Run the page's commands in one bash; of each, its exit status, and the lines that it printed."""
    known = commands(page)
    assert known
    script = "".join(f"{command.text}\n{{ s=$?; printf '{_MARK}%s{_MARK}' $s; (exit $s); }}\n" for command in known)
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
        check=False,
    )
    printed = done.stdout.split(_MARK)
    assert len(printed) == 2 * len(known) + 1, done.stdout
    for command, output, status in zip(known, printed[::2], printed[1::2], strict=False):
        yield command, int(status), output.splitlines()


def differing(shown: tuple[str, ...], printed: list[str]) -> str:
    """Where what was printed is not as shown; nothing where it is."""
    lines = [line.strip() for line in printed]
    while shown:
        anywhere = shown[0] == "..."
        expected = [line for line in shown if line != "..."][:1] if anywhere else [shown[0]]
        if not expected:
            return ""
        shown = shown[shown.index(expected[0]) + 1 :]
        while lines and anywhere and not alike(expected[0], lines[0]):
            lines.pop(0)
        if not lines or not alike(expected[0], lines[0]):
            return f"shown: {expected[0]!r}, printed: {lines[0] if lines else 'nothing more'!r}"
        lines.pop(0)
    return f"not shown: {lines[0]!r}" if lines else ""


def alike(shown: str, printed: str) -> bool:
    """Whether a line is the one that is shown, but for its numbers, and the spaces that line them up."""
    texts = [re.split(_NUMBER, re.sub(r"\s+", " ", line.strip())) for line in (shown, printed)]
    return texts[0] == texts[1]
