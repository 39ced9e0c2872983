"""``flowcli sample``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from flowcli.cli.engine import Engine, Place
from flowcli.cli.given import given_values, wanted_rows
from flowcli.cli.output import messages, write_rows
from flowcli.errors import UsageError

if TYPE_CHECKING:
    import typer

    from flowcli.cli import completion
    from flowcli.cli.options import Device, EngineName, Force, Format, ModelPath, Output, Seed, Threads


def sample(
    n: Annotated[int, typer.Option("--n", "-n", min=0, help="How many rows; for each row of --given-file, if given.")],
    model: ModelPath = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--given",
            metavar="COLUMN=VALUE",
            help="The value of a column; may be repeated. A context column is set to it, and so are whole factors; of "
            "the others, rows are drawn until enough have it.",
            show_default=False,
            autocompletion=completion.given,
        ),
    ] = None,
    given_file: Annotated[
        str | None,
        typer.Option(
            "--given-file", metavar="FILE", help="A table of context columns: N rows for each row.", show_default=False
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="EXPRESSION",
            help="Rows are drawn until enough fulfil this, like 'age > 30 and species == \"Adelie\"'; `awkward names` "
            "stand in backticks.",
            show_default=False,
        ),
    ] = None,
    seed: Seed = None,
    output: Output = "-",
    force: Force = False,
    form: Format = None,
    device: Device = "auto",
    threads: Threads = None,
    engine: EngineName = Engine.local,
) -> None:
    """Draw rows from the model.

    They come in the data's own columns, order, labels and units.

    Example: flowcli sample --n 1000 -m runs/iris > synthetic.csv
    """
    if given and given_file:
        raise UsageError("give values by --given or by --given-file, not both")
    if given_file is not None and given_file != "-" and not Path(given_file).exists():
        raise UsageError(f"{given_file}: no such file")
    place = Place.of(engine, device, threads, output, force=force)
    values = given_values(given or [])

    from flowcli.runs import resolve_model

    expression = None
    if where is not None:
        from flowcli.expression import Expression

        expression = Expression(where)
    path = resolve_model(model)

    from flowcli.model_file import read_model_file

    file = read_model_file(path)
    if given_file is not None and not any(c.context and c.kind != "constant" for c in file.header.columns):
        raise UsageError("--given-file: the model has no context columns")
    wanted = wanted_rows(file, values, expression, context_is_given=given_file is not None)

    if place.on_ray and wanted.rejection is not None:
        raise UsageError(
            "--engine ray does not draw rows until enough fit: --where, and --given for a column that is neither "
            "context nor a whole factor, are for --engine local"
        )
    if seed is None:
        import secrets

        seed = secrets.randbits(63)
        messages.detail(f"seed {seed}")
    table = wanted.table()
    if given_file is not None:
        from flowcli.tables.read import read_table

        table = read_table([given_file])
    from flowcli.engines.work import Sampling, in_parts

    if place.on_ray:
        place.load(path)  # checks it
        write_rows(place.sample(Sampling(n, table, seed, wanted.set_to), path), output, form)
        return
    from flowcli.cli.loading import load_model

    loaded = load_model(file, device, place.threads or 1)
    write_rows(in_parts(wanted.draw(loaded, n, table, seed)), output, form)
    if wanted.rejection is not None:
        messages.note(wanted.rejection.summary())
