"""``flowcli decode``."""

from __future__ import annotations

from flowcli.cli.options import Data, Device, Encoding, Force, Format, ModelPath, Output, Threads, sources
from flowcli.cli.output import check_output, write_tables


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

    The input is as encode writes it: z1..zd, then label, ordinal and context columns.

    Example: flowcli decode latents.csv -m runs/iris -o rows.csv
    """
    names = sources(data)
    check_output(output, force)
    from flowcli.runs import resolve_model

    path = resolve_model(model)
    from flowcli.cli.input import chunks, used_names
    from flowcli.cli.memory import keep_freed_memory
    from flowcli.cli.threads import asked_threads, use_threads
    from flowcli.tables.pipeline import Pace, in_order

    asked = asked_threads(threads)
    # Each chunk is one thread's: several are done at a time, and no thread waits for another.
    keep_freed_memory()
    use_threads(1)
    from flowcli.model import Model

    loaded = Model.load(path, device)
    encoder = loaded.encoder
    as_they_are = used_names([*encoder.partial, *encoder.discrete, *encoder.context])
    tables = chunks(names, encoding, as_they_are.union(encoder.latent_names))
    write_tables(in_order(loaded.decode, tables, Pace(asked)), output, form)
