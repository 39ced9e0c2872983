"""The model of a command that computes with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowcli.model import Model
    from flowcli.model_file import ModelFile


def load_model(file: Path | ModelFile, device: str) -> Model:
    """Load a model from its file, or from one whose header has been read; it computes on one thread.

    Raises:
        ModelError: the file is damaged or is not a model of flowcli.
    """
    # NumPy starts its threads when it is imported, and programs are too small for more than one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from flowcli.cli.threads import use_one_thread
    from flowcli.model import Model

    return Model.load(file, device, before_torch=use_one_thread)
