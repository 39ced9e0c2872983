"""``flowcli encode``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcli.cli.arguments import sources
from flowcli.cli.output import check_output, write_tables

if TYPE_CHECKING:
    from flowcli.cli.options import Data, Device, Encoding, Force, Format, ModelPath, Output, Threads


def encode(
    data: Data = None,
    model: ModelPath = None,
    output: Output = "-",
    force: Force = False,
    form: Format = None,
    encoding: Encoding = None,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Write each row's latents.

    The columns are z1..zd, then the label, ordinal and context columns as they are.
    If the model is right, the latents are distributed as its base: by default,
    independent standard normals.

    Example: flowcli encode test.csv -m runs/iris -o latents.csv
    """
    names = sources(data)
    check_output(output, force)
    from flowcli.runs import resolve_model

    path = resolve_model(model)
    from flowcli.cli.input import chunks, used_names
    from flowcli.cli.loading import load_model
    from flowcli.cli.threads import asked_threads
    from flowcli.tables.pipeline import Pace, in_order

    pace = Pace(asked_threads(threads))
    loaded = load_model(path, device)
    tables = chunks(names, encoding, used_names(loaded.header.columns))
    write_tables(in_order(loaded.encode, tables, pace), output, form)
