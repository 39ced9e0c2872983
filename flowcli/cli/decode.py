"""``flowcli decode``."""

from __future__ import annotations

from flowcli.cli.options import Data, Device, ModelPath, Output, sources
from flowcli.cli.output import write_tables


def decode(data: Data = None, model: ModelPath = None, output: Output = "-", device: Device = "auto") -> None:
    """Write the rows of given latents.

    The input is as encode writes it: z1..zd, then label, ordinal and context columns.

    Example: flowcli decode latents.csv -m runs/iris -o rows.csv
    """
    names = sources(data)
    from flowcli.runs import resolve_model

    path = resolve_model(model)
    from flowcli.cli.threads import use_one_thread
    from flowcli.model import Model
    from flowcli.tables.read import read_chunks

    use_one_thread()
    loaded = Model.load(path, device)
    write_tables((loaded.decode(table) for name in names for table in read_chunks(name)), output)
