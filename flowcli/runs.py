"""Run folders: where they are, what is in them, and which is the newest. No torch here."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowcli.errors import FlowcliError, UsageError
from flowcli.files import written_whole

RUNS = Path("runs")
MODEL = "model.safetensors"
CONFIG = "config.yaml"
CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.json"
HISTORY = "history.csv"
TEST_SCORES = "test_scores.csv"


def default_run_folder(first_source: str) -> Path:
    """``runs/NAME-DATE-TIME``, with a number behind it when that is taken."""
    stem = re.sub(r"[^\w.-]+", "_", Path(first_source).name.split(".")[0]) or "stdin"
    name = f"{'stdin' if first_source == '-' else stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder, number = RUNS / name, 1
    while folder.exists():
        number += 1
        folder = RUNS / f"{name}-{number}"
    return folder


def claim_run_folder(folder: Path, force: bool) -> list[Path]:
    """Make the folder; return the folders that were made for it, for :func:`release_run_folder`.

    With ``force`` an earlier run may be in it: its files stay until the new ones are there.

    Raises:
        UsageError: the folder holds something.
        FlowcliError: it cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; -o names a folder for the run")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise UsageError(f"{folder}: holds something already; --force replaces the run in it")
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FlowcliError(f"{folder}: cannot be made: {error.strerror}") from None
    return made


@contextlib.contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Keep other fits out of the folder; the system lets go of it, too, when the process dies.

    Raises:
        FlowcliError: another fit is in it.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FlowcliError(f"{folder}: another fit is writing to it") from None
        yield
    finally:
        os.close(descriptor)


def release_run_folder(made: list[Path]) -> None:
    """Remove the folders that were made for a run, where nothing was written to them."""
    for place in made:
        with contextlib.suppress(OSError):
            place.rmdir()


def write_run(folder: Path, files: dict[str, bytes], metrics: dict[str, Any]) -> None:
    """Write a run's files, each whole; ``metrics.json`` comes last and marks the run complete.

    Raises:
        FlowcliError: a file cannot be written.
    """
    (folder / METRICS).unlink(missing_ok=True)
    last = (json.dumps(metrics, indent=2, ensure_ascii=False) + "\n").encode()
    for name, content in {**files, METRICS: last}.items():
        with written_whole(folder / name) as stream:
            stream.write(content)


def is_complete(folder: Path) -> bool:
    """Whether a folder holds a finished run."""
    return (folder / METRICS).is_file() and (folder / MODEL).is_file()


def newest_run() -> Path | None:
    """The finished run under ``runs/`` that was written last."""
    finished = [folder for folder in RUNS.iterdir() if is_complete(folder)] if RUNS.is_dir() else []
    return max(finished, key=lambda folder: (folder / METRICS).stat().st_mtime_ns, default=None)


def resolve_model(path: str | Path | None) -> Path:
    """The model file of a run folder or a file; by default of ``$FLOWCLI_MODEL``, else of the newest run.

    Raises:
        UsageError: there is none.
    """
    named = path or os.environ.get("FLOWCLI_MODEL")
    if not named:
        newest = newest_run()
        if newest is None:
            raise UsageError("no model: there is no finished run under runs/; fit one, or name one with -m")
        return newest / MODEL
    place = Path(named)
    if place.is_dir():
        if not (place / MODEL).is_file():
            raise UsageError(f"{place}: holds no {MODEL}; is the run finished?")
        return place / MODEL
    if not place.exists():
        raise UsageError(f"{place}: no such run folder or model file")
    return place
