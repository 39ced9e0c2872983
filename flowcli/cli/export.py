"""``flowcli export``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from flowcli.cli.output import check_output, messages, write_bytes

if TYPE_CHECKING:
    import typer

    from flowcli.cli.options import Force, ModelPath


class Function(str, Enum):
    """What can be exported."""

    log_prob = "log_prob"
    sample = "sample"


def export(
    model: ModelPath = None,
    function: Annotated[
        Function, typer.Option(help="log_prob scores rows; sample draws them from uniform numbers.")
    ] = Function.log_prob,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to write; by default FUNCTION.pt2 here; '-' is stdout.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Write the model's scoring or sampling as a torch.export program.

    It runs with torch alone, without flowcli, on arrays in the data's own units: torch.export.load(FILE).module().
    What its inputs are, and the codes of labels, is in its extra file flowcli.json.

    Example: flowcli export -m runs/iris -o iris.pt2
    """
    place = output or f"{function.value}.pt2"
    check_output(place, force)
    from flowcli.runs import resolve_model

    path = resolve_model(model)
    from flowcli.cli.loading import load_model
    from flowcli.exporting.program import exported, facts

    loaded = load_model(path, "cpu")
    write_bytes(exported(loaded, function.value), place)
    told = facts(loaded, function.value)
    inputs = [
        f"{name} ({', '.join(column['name'] for column in array['columns'])})" if "columns" in array else name
        for name, array in told["inputs"].items()
    ]
    if place != "-":
        messages.note(f"wrote {Path(place)}: {function.value} of {', '.join(inputs)}")
