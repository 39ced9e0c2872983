"""``flowcli encode``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcli.cli.arguments import sources
from flowcli.cli.engine import Engine, Place
from flowcli.cli.output import write_rows

if TYPE_CHECKING:
    from flowcli.cli.options import Data, Device, Encoding, EngineName, Force, Format, ModelPath, Output, Threads


def encode(
    data: Data = None,
    model: ModelPath = None,
    output: Output = "-",
    force: Force = False,
    form: Format = None,
    encoding: Encoding = None,
    device: Device = "auto",
    threads: Threads = None,
    engine: EngineName = Engine.local,
) -> None:
    """Write each row's latents.

    The columns are z1..zd, then the label, ordinal and context columns as they are.
    If the model is right, the latents are distributed as its base: by default,
    independent standard normals.

    Example: flowcli encode test.csv -m runs/iris -o latents.csv
    """
    files = sources(data, urls=True)
    place = Place.of(engine, device, threads, output, files, force)
    from flowcli.runs import resolve_model

    path = resolve_model(model)
    from flowcli.cli.input import used_names
    from flowcli.engines.work import Encoding as Work

    loaded = place.load(path)
    used = used_names(loaded.header.columns)
    write_rows(place.work_on(files, encoding, used, loaded, path, lambda names: Work()), output, form)
