"""``flowcli encode``."""

from __future__ import annotations

from flowcli.cli.options import Data, Device, ModelPath, Output, sources
from flowcli.cli.output import write_tables


def encode(data: Data = None, model: ModelPath = None, output: Output = "-", device: Device = "auto") -> None:
    """Write each row's latents.

    The columns are z1..zd, then the label, ordinal and context columns as they are.
    If the model is right, the latents are distributed as its base: by default,
    independent standard normals.

    Example: flowcli encode test.csv -m runs/iris -o latents.csv
    """
    names = sources(data)
    from flowcli.runs import resolve_model

    path = resolve_model(model)
    from flowcli.cli.threads import use_one_thread
    from flowcli.model import Model
    from flowcli.tables.read import read_chunks

    use_one_thread()
    loaded = Model.load(path, device)
    write_tables((loaded.encode(table) for name in names for table in read_chunks(name)), output)
