"""``flowcli score``."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from flowcli.cli.options import Data, Device, ModelPath, Output, sources
from flowcli.cli.output import messages, write_tables

if TYPE_CHECKING:
    import pyarrow as pa

    from flowcli.model import Model


class OnBadRow(str, Enum):
    """What becomes of a row that cannot be scored."""

    error = "error"
    empty = "empty"


def score(
    data: Data = None,
    model: ModelPath = None,
    output: Output = "-",
    on_bad_row: Annotated[
        OnBadRow, typer.Option(help="A row that cannot be scored: stop with an error, or leave its score empty.")
    ] = OnBadRow.error,
    device: Device = "auto",
) -> None:
    """Write each row's log-likelihood.

    The output has the column log_prob, in nats, one row for each input row, in order.

    Example: flowcli score test.csv -m runs/iris | tail -n +2 | sort -g | head
    """
    names = sources(data)
    from flowcli.runs import resolve_model

    path = resolve_model(model)
    from flowcli.cli.threads import use_one_thread
    from flowcli.model import Model

    use_one_thread()
    write_tables(_scores(Model.load(path, device), names, on_bad_row.value), output)


def _scores(model: Model, names: list[str], on_bad_row: str) -> Iterator[pa.Table]:
    import numpy as np
    import pyarrow as pa

    from flowcli.tables.read import read_chunks

    unseen = beyond = empty = 0
    for name in names:
        for table in read_chunks(name):
            scores = model.score(table, on_bad_row)
            unseen += int(scores.unseen_label.sum())
            beyond += int((np.isneginf(scores.log_prob) & ~scores.unseen_label).sum())
            empty += int(np.isnan(scores.log_prob).sum())
            yield pa.table({"log_prob": pa.array(scores.log_prob, from_pandas=True)})
    if unseen:
        messages.note(f"{_rows(unseen)} of probability zero (-inf): a label that was not in training")
    if beyond:
        messages.note(f"{_rows(beyond)} of density zero (-inf): a number beyond all measure")
    if empty:
        messages.note(f"{_rows(empty)} could not be scored: left empty")


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
