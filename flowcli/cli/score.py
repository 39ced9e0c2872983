"""``flowcli score``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Annotated

from flowcli.cli.arguments import names, sources
from flowcli.cli.output import check_output, messages, write_tables
from flowcli.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa
    import typer

    from flowcli.cli import completion
    from flowcli.cli.options import Data, Device, Encoding, Force, Format, ModelPath, Output, Threads
    from flowcli.model import Model
    from flowcli.tables.keep import KeptColumns
    from flowcli.tables.pipeline import Pace
    from flowcli.tables.table import Table


class OnBadRow(str, Enum):
    """What becomes of a row that cannot be scored."""

    error = "error"
    empty = "empty"


def score(
    data: Data = None,
    model: ModelPath = None,
    output: Output = "-",
    force: Force = False,
    form: Format = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Input columns to copy in front of the scores.",
            show_default=False,
            autocompletion=completion.columns,
        ),
    ] = None,
    append: Annotated[bool, typer.Option("--append", help="Copy all input columns in front of the scores.")] = False,
    on_bad_row: Annotated[
        OnBadRow, typer.Option(help="A row that cannot be scored: stop with an error, or leave its score empty.")
    ] = OnBadRow.error,
    encoding: Encoding = None,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Write each row's log-likelihood.

    The output has the column log_prob, in nats, one row for each input row, in order.

    Example: flowcli score test.csv -m runs/iris --keep id | tail -n +2 | sort -t , -k 2 -g | head
    """
    copied = names(keep)
    if append and keep is not None:
        raise UsageError("--append copies every column; --keep has none to add")
    if len(set(copied)) < len(copied):
        raise UsageError(f"--keep {keep}: names a column twice")
    files = sources(data)
    check_output(output, force)
    from flowcli.runs import resolve_model

    path = resolve_model(model)
    from flowcli.cli.input import chunks, used_names
    from flowcli.cli.loading import load_model
    from flowcli.cli.threads import asked_threads
    from flowcli.tables.keep import KeptColumns
    from flowcli.tables.pipeline import Pace

    pace = Pace(asked_threads(threads))
    loaded = load_model(path, device)
    used = None if append else used_names(loaded.header.columns) | {*copied}
    kept = KeptColumns(None if append else copied)
    write_tables(_scores(loaded, chunks(files, encoding, used), kept, on_bad_row.value, pace), output, form)


def _scores(
    model: Model, tables: Iterable[Table], kept: KeptColumns, on_bad_row: str, pace: Pace
) -> Iterator[pa.Table]:
    import numpy as np

    from flowcli.tables.arrays import numbers
    from flowcli.tables.pipeline import in_order

    unseen = beyond = empty = 0
    for table, scores in in_order(lambda table: (table, model.score(table, on_bad_row)), tables, pace):
        unseen += int(scores.unseen_label.sum())
        beyond += int((np.isneginf(scores.log_prob) & ~scores.unseen_label).sum())
        empty += int(np.isnan(scores.log_prob).sum())
        yield kept.beside(table, "log_prob", numbers(scores.log_prob, np.isnan(scores.log_prob)))
    if unseen:
        messages.note(f"{_rows(unseen)} of probability zero (-inf): a label that was not in training")
    if beyond:
        messages.note(f"{_rows(beyond)} of density zero (-inf): a number beyond the bounds of its column")
    if empty:
        messages.note(f"{_rows(empty)} could not be scored: left empty")


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
