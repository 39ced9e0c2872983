"""``flowcli sample``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from flowcli.cli.output import check_output, messages, write_tables
from flowcli.errors import DataError, FlowcliError, UsageError

if TYPE_CHECKING:
    import typer

    from flowcli.cli import completion
    from flowcli.cli.options import Device, Force, Format, ModelPath, Output, Seed, Threads
    from flowcli.tables.columns import Column
    from flowcli.tables.table import Table


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
) -> None:
    """Draw rows from the model.

    They come in the data's own columns, order, labels and units.

    Example: flowcli sample --n 1000 -m runs/iris > synthetic.csv
    """
    if given and given_file:
        raise UsageError("give values by --given or by --given-file, not both")
    if given_file is not None and given_file != "-" and not Path(given_file).exists():
        raise UsageError(f"{given_file}: no such file")
    check_output(output, force)
    values = _values(given or [])

    from flowcli.runs import resolve_model

    expression = None
    if where is not None:
        from flowcli.expression import Expression

        expression = Expression(where)
    path = resolve_model(model)

    from flowcli.model_file import read_model_file

    file = read_model_file(path)
    columns = file.header.columns
    context = [column.name for column in columns if column.context and column.kind != "constant"]
    if given_file is not None and not context:
        raise UsageError("--given-file: the model has no context columns")
    names: list[str] = []
    if values.keys() - {*context}:
        from flowcli.conditioning import settable

        assert file.header.config.flow is not None  # the header's own check
        names = settable(file.header.config.flow, columns, values)
    _refuse_mistakes(columns, values, [] if given_file is not None else context, names)
    set_to = {name: values[name] for name in names}
    rest = {name: value for name, value in values.items() if name not in context and name not in set_to}
    rejection = None
    if rest or expression is not None:
        from flowcli.conditioning import Condition, Rejection

        condition = Condition(columns, rest, expression)
        rejection = Rejection(condition) if condition else None

    from flowcli.cli.loading import load_model
    from flowcli.cli.threads import asked_threads

    if seed is None:
        import secrets

        seed = secrets.randbits(63)
        messages.detail(f"seed {seed}")
    table = _given_table({name: values[name] for name in values if name in context}, given_file)
    loaded = load_model(file, device, asked_threads(threads) or 1)
    if rejection is None:
        write_tables(loaded.sample_chunks(n, table, seed, set_to), output, form)
        return
    write_tables(rejection.draw(loaded, n, table, seed, set_to), output, form)
    messages.note(rejection.summary())


def _values(given: list[str]) -> dict[str, str]:
    """The values of columns; all mistakes in their form are told at once."""
    pairs = [text.partition("=") for text in given]
    mistakes = [f"--given takes COLUMN=VALUE; got '{''.join(pair)}'" for pair in pairs if not (pair[0] and pair[1])]
    names = [name for name, equals, _ in pairs if name and equals]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    mistakes += [f"--given {name}: given twice; for several values use --where or --given-file" for name in twice]
    if mistakes:
        raise UsageError("\n".join(mistakes))
    return {name: value for name, _, value in pairs}


def _refuse_mistakes(columns: list[Column], values: dict[str, str], needed: list[str], set_to: list[str]) -> None:
    """Refuse, all at once, values that cannot be and context columns that are not given."""
    mistakes: list[FlowcliError] = []
    if values:
        from flowcli.conditioning import given_mistakes

        mistakes = given_mistakes(columns, values, set_to)
    missing = [name for name in needed if name not in values]
    if missing:
        options = " ".join(f"--given {name}=VALUE" for name in missing)
        mistakes.append(UsageError(f"the model is conditional: add {options}, or --given-file FILE"))
    if mistakes:
        usage = any(isinstance(mistake, UsageError) for mistake in mistakes)
        raise (UsageError if usage else DataError)("\n".join(map(str, mistakes)))


def _given_table(values: dict[str, str], file: str | None) -> Table | None:
    import pyarrow as pa

    from flowcli.tables.arrays import texts
    from flowcli.tables.read import read_table
    from flowcli.tables.table import Origin, Table

    if file is not None:
        return read_table([file])
    if not values:
        return None
    cells = pa.table({name: texts([value]) for name, value in values.items()})
    return Table(cells, (Origin("--given", 1, 1),))
