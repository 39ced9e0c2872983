"""Running the real program."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ended:
    """How a run of the program ended."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def environment(**more: str) -> dict[str, str]:
    """One thread, no colours, and no model named from outside."""
    kept = {name: value for name, value in os.environ.items() if name not in ("FLOWCLI_MODEL", "FORCE_COLOR")}
    return {**kept, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "100", **more}


def run_program(*args: object, cwd: Path, stdin: str | bytes = b"", python: tuple[str, ...] = (), **env: str) -> Ended:
    """Run the real program as a process of its own."""
    done = subprocess.run(
        [sys.executable, *python, "-m", "flowcli", *map(str, args)],
        cwd=cwd,
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        env=environment(**env),
        timeout=120,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def run_here(*args: object, stdin: str | bytes = b"") -> Ended:
    """Run the program in this process, where heavy imports are done already."""
    from flowcli.cli.app import app

    done = _runner().invoke(app, [str(arg) for arg in args], input=stdin, catch_exceptions=False)
    return Ended(done.exit_code, done.stdout, done.stderr)


@functools.cache
def _runner() -> Any:
    """Typer's runner, which would make all commands and their options anew for each run: a third of a small fit."""
    from typer import testing

    testing._get_command = functools.cache(testing._get_command)
    return testing.CliRunner()
