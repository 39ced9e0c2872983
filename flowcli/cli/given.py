"""What --given and --where ask of the rows that a model draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowcli.errors import DataError, FlowcliError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from flowcli.conditioning import Rejection
    from flowcli.expression import Expression
    from flowcli.model import Model
    from flowcli.model_file import ModelFile
    from flowcli.tables.columns import Column
    from flowcli.tables.table import Table


@dataclass(frozen=True)
class Wanted:
    """Values of context columns, of columns that a model's factors can be set to, and what is left to rejection."""

    context: dict[str, str]
    set_to: dict[str, str]
    rejection: Rejection | None

    def table(self) -> Table | None:
        """The context columns as one row; ``None`` if there are none."""
        import pyarrow as pa

        from flowcli.tables.arrays import texts
        from flowcli.tables.table import Origin, Table

        if not self.context:
            return None
        cells = pa.table({name: texts([value]) for name, value in self.context.items()})
        return Table(cells, (Origin("--given", 1, 1),))

    def draw(self, model: Model, n: int, given: Table | None, seed: int) -> Iterator[pa.Table]:
        """``n`` rows of the model that are as wanted, or ``n`` for each row of ``given``."""
        if self.rejection is None:
            return model.sample_chunks(n, given, seed, self.set_to)
        return self.rejection.draw(model, n, given, seed, self.set_to)


def given_values(given: Sequence[str]) -> dict[str, str]:
    """The values of columns; all mistakes in their form are told at once."""
    pairs = [text.partition("=") for text in given]
    mistakes = [f"--given takes COLUMN=VALUE; got '{''.join(pair)}'" for pair in pairs if not (pair[0] and pair[1])]
    names = [name for name, equals, _ in pairs if name and equals]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    mistakes += [f"--given {name}: given twice; for several values use --where or --given-file" for name in twice]
    if mistakes:
        raise UsageError("\n".join(mistakes))
    return {name: value for name, _, value in pairs}


def wanted_rows(
    file: ModelFile,
    values: dict[str, str],
    expression: Expression | None,
    context_is_given: bool = False,
    takes_file: bool = True,
) -> Wanted:
    """What is asked for, checked as far as that goes before anything is drawn.

    Args:
        context_is_given: the context columns come from elsewhere.
        takes_file: the command has an option --given-file.
    """
    columns = file.header.columns
    context = [column.name for column in columns if column.context and column.kind != "constant"]
    names: list[str] = []
    if values.keys() - {*context}:
        from flowcli.conditioning import settable

        assert file.header.config.flow is not None  # the header's own check
        names = settable(file.header.config.flow, columns, values)
    _refuse_mistakes(columns, values, [] if context_is_given else context, names, takes_file)
    set_to = {name: values[name] for name in names}
    rest = {name: value for name, value in values.items() if name not in context and name not in set_to}
    rejection = None
    if rest or expression is not None:
        from flowcli.conditioning import Condition, Rejection

        condition = Condition(columns, rest, expression)
        rejection = Rejection(condition) if condition else None
    return Wanted({name: values[name] for name in values if name in context}, set_to, rejection)


def _refuse_mistakes(
    columns: list[Column], values: dict[str, str], needed: list[str], set_to: list[str], takes_file: bool
) -> None:
    """Refuse, all at once, values that cannot be and context columns that are not given."""
    mistakes: list[FlowcliError] = []
    if values:
        from flowcli.conditioning import given_mistakes

        mistakes = given_mistakes(columns, values, set_to)
    missing = [name for name in needed if name not in values]
    if missing:
        options = " ".join(f"--given {name}=VALUE" for name in missing)
        file = ", or --given-file FILE" if takes_file else ""
        mistakes.append(UsageError(f"the model is conditional: add {options}{file}"))
    if mistakes:
        usage = any(isinstance(mistake, UsageError) for mistake in mistakes)
        raise (UsageError if usage else DataError)("\n".join(map(str, mistakes)))
