"""Run folders: where they are, what is in them, and which is the newest. No torch here."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowcli.errors import FlowcliError, UsageError
from flowcli.files import left_behind, written_whole

RUNS = Path("runs")
MODEL = "model.safetensors"
CONFIG = "config.yaml"
CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.json"
HISTORY = "history.csv"
TEST_SCORES = "test_scores.csv"
# Of a search; see flowcli.tuning.
TRIALS = "trials.csv"
CARD = "README.md"
FILES = (MODEL, CONFIG, CHECKPOINT, METRICS, HISTORY, TEST_SCORES, CARD)


def default_run_folder(first_source: str) -> Path:
    """``runs/NAME-DATE-TIME``, with a number behind it when that is taken."""
    stem = re.sub(r"[^\w.-]+", "_", Path(first_source).name.split(".")[0])[:50] or "stdin"
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
    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: is a file; -o names a folder for the run")
        if folder.is_dir():
            # A folder in use is told as such, rather than as one that holds something.
            with occupied(folder):
                if any(folder.iterdir()) and not force:
                    raise UsageError(f"{folder}: holds something already; --force replaces the run in it")
        made = [place for place in (folder, *folder.parents) if not place.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FlowcliError(f"{folder}: cannot be made: {error.strerror}") from None
    return made


def goes_on(folder: Path, force: bool, restarted: bool) -> bool:
    """Whether a fit that torchrun starts goes on with the run in the folder, rather than begin one there.

    What torchrun has started anew goes on, even when all was written: not all of its processes ended well. What it
    starts for the first time goes on with an unfinished run, as of a job that was ended and is run again.
    """
    return (folder / CHECKPOINT).is_file() and (restarted or not (force or is_complete(folder)))


@contextlib.contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Have the folder alone, to write to; the system lets go of it, too, when the process dies.

    Raises:
        FlowcliError: another fit is in it, or it cannot be written to, which a fit should not find out at its end.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(in_turn(folder, waits=False))
        except BlockingIOError:
            raise FlowcliError(f"{folder}: another fit is writing to it") from None
        try:
            tempfile.TemporaryFile(dir=folder).close()
            for place in _left_by_killed_fits(folder):
                place.unlink()
        except OSError as error:
            raise FlowcliError(f"{folder}: cannot be written to: {error.strerror or error}") from None
        yield


@contextlib.contextmanager
def in_turn(folder: Path, waits: bool = True) -> Iterator[None]:
    """Have the folder alone, after the processes of flowcli that have it; the system lets go of it when one dies.

    Raises:
        BlockingIOError: another process has it, and this one does not wait.
    """
    with contextlib.ExitStack() as stack:
        try:
            import fcntl

            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except (ImportError, OSError):
            pass  # Windows and some file systems have no such locks
        yield


def _left_by_killed_fits(folder: Path) -> list[Path]:
    return [place for name in FILES for place in left_behind(folder, name)]


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
    last = (json.dumps(metrics, indent=2, ensure_ascii=False) + "\n").encode()
    try:
        (folder / METRICS).unlink(missing_ok=True)
        for name, content in {**files, METRICS: last}.items():
            with written_whole(folder / name) as stream:
                stream.write(content)
    except OSError as error:
        raise FlowcliError(f"{folder}: cannot be written to: {error.strerror or error}") from None
    except FlowcliError as error:
        raise FlowcliError(f"{error}; what was trained is kept: {how_to_resume(folder)}") from None


def is_complete(folder: Path) -> bool:
    """Whether a folder holds a finished run."""
    return (folder / METRICS).is_file() and (folder / MODEL).is_file()


def how_to_resume(folder: Path) -> str:
    """What to type to go on with an unfinished run."""
    return f"flowcli fit --resume {shlex.quote(str(folder))} goes on"


def newest_run() -> Path | None:
    """The finished run under ``runs/`` that was written last."""
    finished: dict[Path, int] = {}
    with contextlib.suppress(OSError):
        for folder in RUNS.iterdir():
            # A folder of somebody else's, or one that a fit takes anew at this moment.
            with contextlib.suppress(OSError):
                if is_complete(folder):
                    finished[folder] = (folder / METRICS).stat().st_mtime_ns
    return max(finished, key=finished.__getitem__, default=None)


def resolve_model(path: str | Path | None) -> Path:
    """The model file of a run folder or a file; by default of ``$FLOWCLI_MODEL``, else of the newest run.

    Raises:
        UsageError: there is none.
        FlowcliError: it cannot be looked at.
    """
    named = path or os.environ.get("FLOWCLI_MODEL")
    if not named:
        newest = newest_run()
        if newest is None:
            raise UsageError("no model: there is no finished run under runs/; fit one, or name one with -m")
        return newest / MODEL
    place = Path(named)
    try:
        if place.is_dir():
            _refuse_unfinished(place)
            return place / MODEL
        if not place.exists():
            raise UsageError(f"{place}: no such run folder or model file")
    except OSError as error:
        raise FlowcliError(f"{place}: cannot be read: {error.strerror}") from None
    return place


def _refuse_unfinished(folder: Path) -> None:
    """Refuse a folder without a finished run; a model file that was copied into a folder is as good as a run.

    A checkpoint without figures is that of an unfinished run, and a model beside it may be an earlier one's.
    """
    if not (folder / METRICS).is_file() and (folder / CHECKPOINT).is_file():
        raise UsageError(f"{folder}: its fit did not finish; {how_to_resume(folder)}")
    if not (folder / MODEL).is_file():
        raise UsageError(f"{folder}: holds no {MODEL}: no run, or one that was killed before it saved anything")
