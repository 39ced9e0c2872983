"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from flowcli.errors import FlowcliError

# Open files by name or number, which may well be plain files.
_OPEN_FILES = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A stream that becomes the file when the block ends well, and leaves no trace when it does not.

    The file is on the disk before it has its name, and its name is when the block is left: after a power cut, too,
    there is the old file or the new one.

    Raises:
        FlowcliError: the folder cannot be written to, or the disk is full.
    """
    temporary: Path | None = None
    try:
        target = Path(os.path.realpath(path))  # a link keeps pointing at the file that is replaced
        if target.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        temporary = target.parent / f"{_temporary_prefix(target.name)}{secrets.token_hex(8)}"
        with temporary.open("xb") as stream:
            if target.exists():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        _discard(temporary)
        raise FlowcliError(f"{path}: cannot be written: {error.strerror or error}") from None
    except BaseException:
        _discard(temporary)
        raise


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """A new folder that gets the name when the block ends well, and leaves no trace when it does not.

    What had the name is replaced. The block writes each file in it whole.

    Raises:
        FlowcliError: it cannot be made, or a file in it not written.
    """
    target = Path(os.path.realpath(path))
    temporary, old = (target.parent / f"{_temporary_prefix(target.name)}{secrets.token_hex(8)}" for _ in range(2))
    try:
        temporary.mkdir()
        yield temporary
        if target.exists():
            target.rename(old)
        temporary.rename(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise FlowcliError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for left in (temporary, old):
            shutil.rmtree(left, ignore_errors=True)


def left_behind(folder: Path, name: str) -> Iterator[Path]:
    """What :func:`written_whole` left of a file when it was killed."""
    ours = re.compile(re.escape(_temporary_prefix(name)) + "[0-9a-f]{16}")
    return (place for place in folder.iterdir() if ours.fullmatch(place.name) and place.is_file())


def kind_of(path: Path) -> str | None:
    """``file``, ``folder``, ``stream`` (a pipe, a device: what is written goes on from there), or ``None``: nothing."""
    if str(path).startswith(_OPEN_FILES):
        return "stream"
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "stream"


def _temporary_prefix(name: str) -> str:
    # Short enough for any name with more behind it.
    return f".{name[:40]}."


def _sync_folder(folder: Path) -> None:
    # Not every system and file system can.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _discard(temporary: Path | None) -> None:
    if temporary is not None:
        with contextlib.suppress(OSError):
            temporary.unlink()
