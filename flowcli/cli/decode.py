"""``flowcli decode``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcli.cli.arguments import sources
from flowcli.cli.output import check_output, write_tables

if TYPE_CHECKING:
    from flowcli.cli.options import Data, Device, Encoding, Force, Format, ModelPath, Output, Threads


def decode(
    data: Data = None,
    model: ModelPath = None,
    output: Output = "-",
    force: Force = False,
    form: Format = None,
    encoding: Encoding = None,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Write the rows of given latents.

    The input is as encode writes it: z1..zd, of a mixture component, then label, ordinal and context columns.

    Example: flowcli decode latents.csv -m runs/iris -o rows.csv
    """
    names = sources(data)
    check_output(output, force)
    from flowcli.runs import resolve_model

    path = resolve_model(model)
    from flowcli.cli.input import chunks, used_names
    from flowcli.cli.loading import load_model
    from flowcli.cli.threads import asked_threads
    from flowcli.preprocess.encoder import COMPONENT
    from flowcli.tables.pipeline import Pace, in_order

    pace = Pace(asked_threads(threads))
    loaded = load_model(path, device)
    encoder = loaded.encoder
    as_they_are = used_names([*encoder.partial, *encoder.discrete, *encoder.context])
    as_they_are |= {COMPONENT} if loaded.components else set()
    tables = chunks(names, encoding, as_they_are.union(encoder.latent_names))
    write_tables(in_order(loaded.decode, tables, pace), output, form)
