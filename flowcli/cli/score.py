"""``flowcli score``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Annotated

from flowcli.cli.arguments import names, sources
from flowcli.cli.engine import Engine, Place
from flowcli.cli.output import messages, write_rows
from flowcli.errors import UsageError

if TYPE_CHECKING:
    import typer

    from flowcli.cli import completion
    from flowcli.cli.options import Data, Device, Encoding, EngineName, Force, Format, ModelPath, Output, Threads
    from flowcli.engines.work import Done


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
    engine: EngineName = Engine.local,
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
    files = sources(data, urls=True)
    place = Place.of(engine, device, threads, output, files, force)
    from flowcli.runs import resolve_model

    path = resolve_model(model)
    from flowcli.cli.input import used_names
    from flowcli.engines.work import Scoring
    from flowcli.tables.keep import KeptColumns

    loaded = place.load(path)
    used = None if append else used_names(loaded.header.columns) | {*copied}

    def work(names: list[str]) -> Scoring:
        return Scoring(KeptColumns(names if append else copied, whole=append), on_bad_row.value)

    write_rows(_told(place.work_on(files, encoding, used, loaded, path, work)), output, form)


def _told(results: Iterable[Done]) -> Iterator[Done]:
    """The results; then it is told of rows without a score."""
    unseen = beyond = empty = 0
    for done in results:
        unseen += done.unseen
        beyond += done.beyond
        empty += done.empty
        yield done
    if unseen:
        messages.note(f"{_rows(unseen)} of probability zero (-inf): a label that was not in training")
    if beyond:
        messages.note(f"{_rows(beyond)} of density zero (-inf): a number beyond the bounds of its column")
    if empty:
        messages.note(f"{_rows(empty)} could not be scored: left empty")


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
