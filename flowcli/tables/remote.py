"""Tables behind URLs, by fsspec: what it can open, and what is installed for it, flowcli reads."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from flowcli.errors import DataError, FlowcliError, UsageError, first_line
from flowcli.tables.formats import table_name


def is_url(name: str) -> bool:
    """Whether it is a URL, not a path."""
    return "://" in name


def tables_at(url: str) -> list[str]:
    """The URLs of the tables in a folder, in the order of their names; anything else is itself.

    Raises:
        UsageError: there is nothing, or what the URL needs is not installed.
        FlowcliError: it cannot be looked at.
    """
    from fsspec.core import url_to_fs

    with _told(url):
        system, path = url_to_fs(url)
        if not system.isdir(path):
            if not system.exists(path):
                raise UsageError(f"{url}: no such file")
            return [url]
        files = [entry["name"].rpartition("/")[2] for entry in system.ls(path, detail=True) if entry["type"] == "file"]
    # In a chain, like zip://folder::https://host/file.zip, the path is that of the first link.
    head, chained, rest = url.partition("::")
    folder = head if head.endswith("/") else f"{head}/"
    return [f"{folder}{name}{chained}{rest}" for name in sorted(files) if name[:1] not in "._" and table_name(name)]


@contextmanager
def opened_url(url: str) -> Iterator[io.RawIOBase]:
    """The bytes behind a URL.

    Raises:
        UsageError: there is nothing, or what the URL needs is not installed.
        DataError: it cannot be opened.
    """
    import fsspec

    with ExitStack() as stack:
        with _told(url):
            file = stack.enter_context(fsspec.open(url, "rb"))
        yield _Remote(file)


@contextmanager
def _told(url: str) -> Iterator[None]:
    try:
        yield
    except FlowcliError:
        raise
    except FileNotFoundError:
        raise UsageError(f"{url}: no such file") from None
    except ImportError as error:
        raise UsageError(f"{url}: {first_line(error)}") from None
    except ValueError as error:
        if "rotocol" in str(error):
            raise UsageError(f"{url}: {first_line(error)}") from None
        raise DataError(f"{url}: cannot be read: {first_line(error)}") from None
    except Exception as error:  # each file system has its own
        raise DataError(f"{url}: cannot be read: {first_line(error)}") from None


class _Remote(io.RawIOBase):
    """A file of fsspec, of which some have but ``read`` and errors of their own."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self.file.seekable())

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self.file.seek(offset, whence))

    def tell(self) -> int:
        return int(self.file.tell())

    def readinto(self, buffer: Any) -> int:
        try:
            content = self.file.read(len(buffer))
        except OSError:
            raise
        except Exception as error:
            raise OSError(first_line(error)) from None
        buffer[: len(content)] = content
        return len(content)
