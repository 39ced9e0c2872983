"""The rows that a model was trained on, found again: it keeps none, but knows its files and how it split them."""

from __future__ import annotations

from pathlib import Path

from flowcli.errors import DataError, FlowcliError
from flowcli.model_file import ModelHeader
from flowcli.preparing import Prepared, prepare, survey_for
from flowcli.tables.fingerprint import sha256_of
from flowcli.tables.source import InFiles
from flowcli.tables.streams import STDIN

PARTS = ("training", "validation", "test")


def prepared_again(header: ModelHeader) -> Prepared:
    """The model's columns and rows by part, as its fit had them.

    Raises:
        DataError: they cannot be had, and why.
    """
    files = _unchanged_files(header)
    source = InFiles(files, header.config.data.encoding)
    try:
        prepared = prepare(
            source, survey_for(source, header.config), header.config, lambda text: None, lambda *columns: None
        )
    except FlowcliError as error:
        raise DataError(f"cannot be read again: {error}") from None
    parts = len(prepared.training), len(prepared.validation.numbers), len(prepared.test.numbers)
    known = header.metrics["rows"]
    if list(prepared.encoder.columns) != header.columns or parts != tuple(known[k] for k in PARTS):
        raise DataError(f"{', '.join(files)}: another version of flowcli made other columns or parts of it")
    return prepared


def _unchanged_files(header: ModelHeader) -> list[str]:
    """The model's data files, all of them as they were."""
    files = list(header.data.get("files") or [])
    if not files:
        raise DataError("its table came from Python")
    data = header.config.data
    held_out = [file for file in (data.validation, data.test) if isinstance(file, str)]
    if STDIN in files:
        raise DataError("its table came on standard input")
    digests = [*header.data["sha256"], *header.data["held_out_sha256"]]
    for file, digest in zip([*files, *held_out], digests, strict=False):
        if not Path(file).is_file():
            raise DataError(f"{file}: is not there any more")
        try:
            same = sha256_of(Path(file)) == digest
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from None
        if not same:
            raise DataError(f"{file}: has changed since")
    return files
