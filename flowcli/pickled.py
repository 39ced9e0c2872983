"""Models that are pickled by their files, or as the contents of one, and opened again with every check."""

from __future__ import annotations

import functools
import tempfile
import threading
from pathlib import Path

from flowcli.errors import ModelError
from flowcli.model import Model
from flowcli.model_file import read_model_file

# Of those opened again, how many a process keeps.
MOST_REOPENED = 8


def unpickled(content: bytes, device: str) -> Model:
    """A model from the contents of its file, with every check that a file gets.

    Raises:
        ModelError: they are damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "unpickled"
        file.write_bytes(content)
        try:
            model = Model.load(file, device)
        except ModelError as error:
            raise ModelError(str(error).replace(str(file), "the pickled model")) from None
    model.opened_from = None
    return model


_reopening = threading.Lock()


def reopened(path: str, digest: str, device: str) -> Model:
    """The model of a file with this SHA-256, which a process loads once, however many of its threads ask for it.

    Raises:
        ModelError: the file is missing, or is not the one any more.
    """
    with _reopening:
        return _reopened(path, digest, device)


@functools.lru_cache(maxsize=MOST_REOPENED)
def _reopened(path: str, digest: str, device: str) -> Model:
    if not Path(path).exists():
        raise ModelError(f"{path}: a model was pickled by this file, which is missing here: copy it to each machine")
    file = read_model_file(Path(path))
    if file.digest != digest:
        raise ModelError(f"{path}: not the file any more that a model was pickled by: load it and send it again")
    return Model.load(file, device)
