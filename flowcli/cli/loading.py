"""The model of a command that computes with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowcli.model import Model
    from flowcli.model_file import ModelFile


def load_model(file: Path | ModelFile, device: str, threads: int = 1) -> Model:
    """Load a model from its file, or from one whose header has been read.

    ``threads``: of each product of matrices; a command that works on several chunks at a time leaves it at one, so that
    no thread waits for another.

    Raises:
        ModelError: the file is damaged or is not a model of flowcli.
    """
    from flowcli.cli.threads import use_threads

    # The libraries read it when they are imported.
    use_threads(threads)
    from flowcli.model import Model

    return Model.load(file, device, light=True)
