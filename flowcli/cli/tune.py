"""``flowcli tune``."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from flowcli.cli.arguments import config_options, sources
from flowcli.cli.options import (
    ConfigName,
    Context,
    Data,
    Device,
    Drop,
    Encoding,
    Json,
    Kind,
    Missing,
    Seed,
    Settings,
    Test,
    Validation,
)
from flowcli.cli.output import write_json, write_text
from flowcli.errors import FlowcliError, UsageError

DEFAULT_TRIALS = 50
MOST_JOBS = 256


def tune(
    data: Data = None,
    config: ConfigName = None,
    settings: Settings = None,
    max_time: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long this command may take: 90s, 30m, 8h.", show_default=False),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=10**6,
            help=f"How many configs are tried in all; by default {DEFAULT_TRIALS}, with --max-time as many as it has "
            "time for.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(metavar="N", min=1, max=MOST_JOBS, help="How many processes, each with one thread.")
    ] = 1,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL",
            help="Where the trials are kept, also for other machines; by default study.journal in the run folder.",
            show_default=False,
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The search's name in its storage; by default the data's.", show_default=False
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="The winner's run folder; by default runs/NAME-DATE-TIME.",
            show_default=False,
        ),
    ] = None,
    context: Context = None,
    drop: Drop = None,
    kind: Kind = None,
    missing: Missing = None,
    validation: Validation = None,
    test: Test = None,
    encoding: Encoding = None,
    seed: Seed = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Search for the config with the best validation log-likelihood; write its run folder.

    The folder's path is the only line on stdout. The test rows are scored once, by the winner. What -c and -s set is
    not searched, and the config's section tune says what else is tried; needs pip install 'flowcli[tune]'.

    The same command with the same -o, or --storage, goes on with the search, or joins it while it runs, also from other
    machines.

    Example: flowcli tune houses.csv --max-time 30m --jobs 4 -o runs/houses
    """
    started = time.time()
    _need_optuna()
    files = sources(data)
    if "-" in files and jobs > 1:
        raise UsageError("several jobs cannot read stdin: save the table to a file")
    if output == "-":
        raise UsageError("-o names a folder for the run; its path is what goes to stdout")
    given: dict[str, Any] = {
        "--context": context,
        "--drop": drop,
        "--kind": kind,
        "--missing": missing,
        "--validation": validation,
        "--test": test,
        "--encoding": encoding,
        "--seed": seed,
    }
    from flowcli.config.load import load_config
    from flowcli.config.schema import parse_duration
    from flowcli.config.space import search_space

    resolved = load_config(config, settings or [], config_options(given))
    try:
        budget = None if max_time is None else parse_duration(max_time)
    except ValueError as error:
        raise UsageError(f"--max-time: {error}") from None
    if budget == 0:
        raise UsageError("--max-time: no time at all")
    space = search_space(resolved, [setting.partition("=")[0] for setting in settings or []])
    if not space:
        raise UsageError("nothing is left to search: -c and -s set every key; a section tune in the config names some")
    if resolved.data.validation == 0:
        raise UsageError("trials are compared by their validation rows, and data.validation is 0")

    from flowcli.cli.searching import Command, run_search

    again = ["flowcli", "tune", *files]
    asked = {"-c": config, "-s": settings, **given, "--max-time": max_time, "--trials": trials, "--storage": storage}
    asked |= {"--study": study, "--jobs": jobs if jobs > 1 else None, "--device": device if device != "auto" else None}
    for name, value in asked.items():
        for each in value if isinstance(value, list) else [] if value is None else [value]:
            again += [name, str(each)]
    if trials is None and budget is None:
        trials = DEFAULT_TRIALS
    metrics = run_search(
        Command(files, resolved, space, device, output, storage, study, trials, jobs, budget, started, tuple(again))
    )
    if as_json:
        write_json(metrics)
    else:
        write_text(metrics["run"])


def _need_optuna() -> None:
    from importlib.util import find_spec

    if find_spec("optuna") is None:
        raise FlowcliError("tune needs Optuna, which is not installed: pip install 'flowcli[tune]'")
