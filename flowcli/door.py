"""A fit as Python asks for it: any table, any config, and what people should know in the log."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcli.config.load import load_config
from flowcli.config.schema import Config
from flowcli.fitting import FitObserver, fit_table
from flowcli.model import Model
from flowcli.preparing import survey_for
from flowcli.tables.fingerprint import fingerprint
from flowcli.tables.frames import as_table, files_of, library_of
from flowcli.tables.infer import numbers_of_rows
from flowcli.tables.source import InFiles
from flowcli.tables.table import Table
from flowcli.training.progress import Epoch

if TYPE_CHECKING:
    from flowcli.tables.frames import TableLike

logger = logging.getLogger("flowcli")

WARNING = "WARNING: "


class LoggedFit(FitObserver):
    """Warnings are logged as such, what else people are told as information, and epochs for who looks for mistakes."""

    def note(self, text: str) -> None:
        logger.log(logging.WARNING if text.startswith(WARNING) else logging.INFO, text.removeprefix(WARNING))

    def detail(self, text: str) -> None:
        logger.debug(text)

    def epoch(self, epoch: Epoch) -> None:
        logger.debug(
            "epoch %d: log-likelihood %.4f in training, %.4f in validation",
            epoch.number,
            epoch.training_log_likelihood,
            epoch.validation_log_likelihood,
        )


def fit_model(
    table: TableLike,
    config: str | Path | Mapping[str, Any] | None,
    options: Mapping[str, tuple[str, Any]],
    device: str = "auto",
    defaults: Mapping[str, Any] | None = None,
    row_numbers: bool = False,
) -> Model:
    """Fit a model to a table of any library, or to files.

    Args:
        options: see :func:`flowcli.config.load.load_config`, as for ``defaults``.
        row_numbers: columns that look like numbers of the rows are modelled like other numbers; an array's always are.

    Raises:
        ConfigError: the config is wrong.
        DataError: the table cannot be modelled.
    """
    files = files_of(table)
    if files is not None:
        checked = load_config(config, options=options, defaults=defaults)
        with closing(InFiles(files, checked.data.encoding)) as source:
            surveyed = survey_for(source, checked)
            held_out = [file for file in (checked.data.validation, checked.data.test) if isinstance(file, str)]
            data = fingerprint(files, surveyed.rows, surveyed.sample.names, held_out)
            return fit_table(source, checked, surveyed=surveyed, device=device, data=data, observer=LoggedFit()).model
    rows = as_table(table)
    checked = load_config(config, options=options, defaults=defaults)
    if row_numbers or library_of(table) == "numpy":
        checked = _with_row_numbers(checked, rows)
    return fit_table(rows, checked, device=device, observer=LoggedFit()).model


def _with_row_numbers(config: Config, table: Table) -> Config:
    """The config, and by it what would be taken for numbers of the rows is a number like others."""
    kinds = config.model_dump()["data"]["kinds"]
    options = {"data.kinds": ("data.kinds", {**dict.fromkeys(numbers_of_rows(table), "number"), **kinds})}
    return load_config(config.model_dump(), options=options)
