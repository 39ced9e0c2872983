"""``flowcli sample``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowcli.cli.options import Device, ModelPath, Output, Seed
from flowcli.cli.output import messages, write_tables
from flowcli.errors import UsageError

if TYPE_CHECKING:
    from flowcli.tables.table import Table


def sample(
    n: Annotated[int, typer.Option("--n", "-n", min=0, help="How many rows; for each row of --given-file, if given.")],
    model: ModelPath = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--given",
            metavar="COLUMN=VALUE",
            help="The value of a context column; may be repeated.",
            show_default=False,
        ),
    ] = None,
    given_file: Annotated[
        str | None,
        typer.Option(
            "--given-file", metavar="FILE", help="A table of context columns: N rows for each row.", show_default=False
        ),
    ] = None,
    seed: Seed = None,
    output: Output = "-",
    device: Device = "auto",
) -> None:
    """Draw rows from the model.

    They come in the data's own columns, order, labels and units.

    Example: flowcli sample --n 1000 -m runs/iris > synthetic.csv
    """
    if given and given_file:
        raise UsageError("give context values by --given or by --given-file, not both")
    if given_file is not None and given_file != "-" and not Path(given_file).exists():
        raise UsageError(f"{given_file}: no such file")
    pairs = [text.partition("=") for text in given or []]
    for text, (name, equals, _) in zip(given or [], pairs, strict=True):
        if not equals or not name:
            raise UsageError(f"--given takes COLUMN=VALUE; got '{text}'")

    twice = [name for name, _, _ in pairs if [other for other, _, _ in pairs].count(name) > 1]
    if twice:
        raise UsageError(f"--given {twice[0]}: given twice; for several values use --given-file")

    from flowcli.runs import resolve_model

    path = resolve_model(model)

    from flowcli.model_file import read_header

    columns = read_header(path).columns
    context = [column.name for column in columns if column.context and column.kind != "constant"]
    unknown = [name for name, _, _ in pairs if name not in context]
    if unknown:
        has = f"its context columns are {', '.join(context)}" if context else "the model has none"
        raise UsageError(f"--given {unknown[0]}: not a context column; {has}")
    if given_file is not None and not context:
        raise UsageError("--given-file: the model has no context columns")
    missing = [name for name in context if name not in {name for name, _, _ in pairs}]
    if missing and given_file is None:
        options = " ".join(f"--given {name}=VALUE" for name in missing)
        raise UsageError(f"the model is conditional: add {options}, or --given-file FILE")

    from flowcli.cli.threads import use_one_thread
    from flowcli.model import Model

    use_one_thread()

    if seed is None:
        import secrets

        seed = secrets.randbits(63)
        messages.detail(f"seed {seed}")
    table = _given_table(pairs, given_file)
    write_tables(Model.load(path, device).sample_chunks(n, table, seed), output)


def _given_table(pairs: list[tuple[str, str, str]], file: str | None) -> Table | None:
    import pyarrow as pa

    from flowcli.tables.read import read_table
    from flowcli.tables.table import Origin, Table

    if file is not None:
        return read_table([file])
    if not pairs:
        return None
    return Table(pa.table({name: [value] for name, _, value in pairs}), (Origin("--given", 1, 1),))
