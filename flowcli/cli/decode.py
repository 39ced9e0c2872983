"""``flowcli decode``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcli.cli.arguments import sources
from flowcli.cli.engine import Engine, Place
from flowcli.cli.output import write_rows

if TYPE_CHECKING:
    from flowcli.cli.options import Data, Device, Encoding, EngineName, Force, Format, ModelPath, Output, Threads


def decode(
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
    """Write the rows of given latents.

    The input is as encode writes it: z1..zd, of a mixture component, then label, ordinal and context columns.

    Example: flowcli decode latents.csv -m runs/iris -o rows.csv
    """
    files = sources(data, urls=True)
    place = Place.of(engine, device, threads, output, files, force)
    from flowcli.runs import resolve_model

    path = resolve_model(model)
    from flowcli.cli.input import used_names
    from flowcli.engines.work import Decoding as Work
    from flowcli.preprocess.encoder import COMPONENT

    loaded = place.load(path)
    encoder = loaded.encoder
    as_they_are = used_names([*encoder.partial, *encoder.discrete, *encoder.context])
    as_they_are |= {COMPONENT} if loaded.components else set()
    used = as_they_are.union(encoder.latent_names)
    write_rows(place.work_on(files, encoding, used, loaded, path, lambda names: Work()), output, form)
