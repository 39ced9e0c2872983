"""Which model files have passed every check on this machine, so that a small job need not check them again.

A file's weights are compared with its config by building its network, which takes torch. That is done once: the file's
SHA-256 is then kept in the user's cache, as the name of an empty file in ``$XDG_CACHE_HOME/flowcli`` (by default
``~/.cache/flowcli``). No torch here.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from flowcli import __version__

# Beyond this the oldest are forgotten, and checked again when they are met.
MOST_REMEMBERED = 10_000


def is_remembered(digest: str) -> bool:
    """Whether a file with this SHA-256, in hexadecimal digits, has passed every check of this version of flowcli."""
    try:
        return (_folder() / digest).is_file()
    except OSError:
        return False


def remember(digest: str) -> None:
    """Have a file pass as checked from now on. Where there is no place for that, it is checked each time."""
    with contextlib.suppress(OSError):
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / digest).touch()
        _forget_the_oldest(folder)


def _forget_the_oldest(folder: Path) -> None:
    with os.scandir(folder) as entries:
        known = [entry.name for entry in entries]
    if len(known) > MOST_REMEMBERED:
        by_age = sorted(known, key=lambda name: (folder / name).stat().st_mtime_ns)
        for name in by_age[: len(by_age) - MOST_REMEMBERED // 2]:
            (folder / name).unlink(missing_ok=True)


def _folder() -> Path:
    """Another version may check more.

    Raises:
        OSError: there is no home.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not Path(cache).is_absolute():
        try:
            cache = str(Path.home() / ".cache")
        except RuntimeError as error:
            raise OSError(str(error)) from None
    return Path(cache) / "flowcli" / f"checked-models-{__version__}"
