"""``flowcli fit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowcli.cli.options import ConfigName, Data, Device, Json, Seed, Settings, names, sources
from flowcli.cli.output import messages, write_json, write_text
from flowcli.errors import UsageError

if TYPE_CHECKING:
    from flowcli.config.schema import Config
    from flowcli.fitting import Fitted


def fit(
    data: Data = None,
    config: ConfigName = None,
    settings: Settings = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="The run folder; by default runs/NAME-DATE-TIME.",
            show_default=False,
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Columns that are given, not modelled: p(others | A, B).", show_default=False),
    ] = None,
    drop: Annotated[str | None, typer.Option(metavar="A,B", help="Columns to leave out.", show_default=False)] = None,
    validation: Annotated[
        str | None, typer.Option(metavar="FILE", help="Rows that decide when to stop.", show_default=False)
    ] = None,
    test: Annotated[
        str | None, typer.Option(metavar="FILE", help="Rows for the final score.", show_default=False)
    ] = None,
    max_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop training after this: 90s, 10m, 1.5h.", show_default=False)
    ] = None,
    seed: Seed = None,
    device: Device = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace the run in the folder.")] = False,
    as_json: Json = False,
) -> None:
    """Train a density on a table; write a run folder.

    The folder's path is the only line on stdout.

    Without a config the flow is chosen for the table: a maximum-likelihood linear map, then an
    autoregressive spline flow sized by the number of rows.

    Example: flowcli fit houses.csv -c maf --context rooms,region -o runs/houses
    """
    files = sources(data)
    for name in (validation, test):
        if name is not None and not Path(name).exists():
            raise UsageError(f"{name}: no such file")
    from flowcli.config.load import load_config

    asked: dict[str, Any] = {"seed": seed, "train.max_time": max_time}
    asked |= {"data.context": names(context) or None, "data.drop": names(drop) or None}
    asked |= {"data.validation": validation, "data.test": test}
    import json

    overrides = [f"{key}={json.dumps(value)}" for key, value in asked.items() if value is not None]
    resolved = load_config(config, [*(settings or []), *overrides])

    from flowcli.runs import claim_run_folder, default_run_folder, release_run_folder

    folder = Path(output) if output else default_run_folder(files[0])
    claim_run_folder(folder, force)
    try:
        fitted = _fit(files, resolved, device, folder)
    except BaseException:
        release_run_folder(folder)
        raise
    _tell(fitted, folder)
    if as_json:
        write_json(fitted.metrics)
    else:
        write_text(str(folder))


def _fit(files: list[str], config: Config, device: str, folder: Path) -> Fitted:
    messages.note(f"reading {', '.join(files)}")
    from flowcli.cli.progress import FitProgress
    from flowcli.fitting import fit_table
    from flowcli.runs import write_run
    from flowcli.tables.fingerprint import fingerprint
    from flowcli.tables.read import read_table

    table = read_table(files)
    described = fingerprint(files, table)
    with FitProgress(config.train) as progress:
        fitted = fit_table(table, config, device=device, data=described, observer=progress)
    fitted.metrics["run"] = str(folder)
    write_run(folder, fitted.files(), fitted.metrics)
    return fitted


def _tell(fitted: Fitted, folder: Path) -> None:
    from flowcli.cli.describe import likelihood_lines

    messages.note("log-likelihood  (nats per row)")
    for line in likelihood_lines(fitted.metrics):
        messages.note(f"  {line}")
    context = [column.name for column in fitted.model.header.columns if column.context]
    given = "".join(f" --given {name}=VALUE" for name in context)
    messages.note(f"saved {folder}. Next:")
    messages.note(f"  flowcli score DATA -m {folder}")
    messages.note(f"  flowcli sample --n 1000 -m {folder}{given}")
