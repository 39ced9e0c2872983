"""Runs side by side on the same rows: their own test rows, or others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from flowcli.errors import FlowcliError, ModelError, UsageError
from flowcli.evaluation.comparison import Paired, difference, differing_keys, modelled
from flowcli.model import Model
from flowcli.model_file import ModelFile, ModelHeader
from flowcli.runs import TEST_SCORES
from flowcli.tables.fingerprint import same_data
from flowcli.tables.table import Table

OTHER_ROWS = "name rows that all of them can score: --data FILE"


@dataclass(frozen=True)
class Run:
    """A run by the name that the user gave it, and what its model file says."""

    name: str
    file: ModelFile

    @property
    def header(self) -> ModelHeader:
        """The model's header."""
        return self.file.header


def refuse_incomparable(runs: Sequence[Run]) -> None:
    """Refuse models whose likelihoods are not of the same columns.

    Raises:
        UsageError: two of them differ, and in which column.
    """
    first, *others = runs
    for run in others:
        why = difference(first.header.columns, run.header.columns)
        if why is not None:
            raise UsageError(f"{first.name} and {run.name} cannot be compared: {why}")


def paired_test_scores(runs: Sequence[Run]) -> Paired:
    """The scores that the runs' fits gave to their test rows.

    Raises:
        UsageError: they are not of the same rows; which runs differ, and what to do.
        FlowcliError: a run's scores cannot be read.
    """
    first, *others = runs
    for run in runs:
        if None in run.header.data.get("sha256", [None]) or not run.header.data.get("files"):
            raise UsageError(f"{run.name}: its data is in no file, so that nothing says whose it is; {OTHER_ROWS}")
    for run in others:
        if not same_data(first.header.data, run.header.data):
            raise UsageError(f"{first.name} and {run.name} are of different data; {OTHER_ROWS}")
    scores = [_test_scores(run) for run in runs]
    for run, (rows, _) in zip(others, scores[1:], strict=True):
        if not np.array_equal(rows, scores[0][0]):
            raise UsageError(f"{first.name} and {run.name} were tested on different rows; {OTHER_ROWS}")
    if not len(scores[0][0]):
        raise UsageError(f"{first.name} was fitted without test rows; {OTHER_ROWS}")
    paired = Paired(len(runs))
    paired.add([log_prob for _, log_prob in scores])
    return paired


def paired_scores(models: Sequence[Model], tables: Iterable[Table]) -> Paired:
    """The scores that models give to the rows of tables.

    Raises:
        DataError: a model cannot score a row; the message names it.
    """
    paired = Paired(len(models))
    for table in tables:
        paired.add([model.log_prob(table) for model in models])
    return paired


def figures(runs: Sequence[Run], paired: Paired) -> list[dict[str, Any]]:
    """Of each run its likelihood, the difference to the best run, and what training took."""
    return [
        {
            "run": run.name,
            "test_log_likelihood": tally.summary(len(modelled(run.header.columns))),
            "difference_to_best": paired.difference(number, paired.best),
            "parameters": run.header.metrics["parameters"],
            "seconds": run.header.metrics.get("seconds"),
        }
        for number, (run, tally) in enumerate(zip(runs, paired.each, strict=True))
    ]


def config_differences(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """The config keys that differ, with the value of each run."""
    return differing_keys([run.header.config.model_dump(mode="json") for run in runs])


def _test_scores(run: Run) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The numbers of a run's test rows, and their log-likelihoods."""
    path = run.file.path.parent / TEST_SCORES
    if Path(run.name).is_file() or not path.is_file():
        raise UsageError(f"{run.name}: there is no {TEST_SCORES}, which a run folder has; {OTHER_ROWS}")
    types = pa.csv.ConvertOptions(column_types={"row": pa.int64(), "log_prob": pa.float64()})
    try:
        table = pa.csv.read_csv(path, convert_options=types)
        found = table.column("row").to_numpy(), table.column("log_prob").to_numpy()
    except (pa.ArrowException, KeyError) as error:
        raise ModelError(f"{path}: damaged: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise FlowcliError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(found[0]) != run.header.metrics["rows"]["test"]:
        raise ModelError(f"{path}: damaged: it has {len(found[0])} rows, the run {run.header.metrics['rows']['test']}")
    return found
