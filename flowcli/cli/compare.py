"""``flowcli compare``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from flowcli.cli.arguments import sources
from flowcli.cli.output import write_json, write_text
from flowcli.errors import UsageError

if TYPE_CHECKING:
    import typer

    from flowcli.cli.options import Device, Encoding, Json, Threads
    from flowcli.comparing import Run
    from flowcli.evaluation.comparison import Paired

LONGEST_VALUE = 60


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN...", help="Run folders; with --data also model files.", show_default=False),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Rows to compare on, rather than the runs' own test rows; may be repeated.",
            show_default=False,
        ),
    ] = None,
    encoding: Encoding = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Put runs side by side on the same rows.

    The difference of each to the best one is taken row by row, which makes its standard error far smaller than that of
    either mean. Without --data, the rows are the test rows, which must be the same in all runs.

    Example: flowcli compare runs/maf runs/spline --data test.csv
    """
    names = runs or []
    if len(names) < 2:
        raise UsageError("name two runs or more")
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise UsageError(f"{twice[0]}: is named twice")
    files = sources(data) if data else []
    from flowcli.runs import resolve_model

    paths = [resolve_model(name) for name in names]
    from flowcli.model_file import read_model_file

    model_files = [read_model_file(path) for path in paths]
    from flowcli.comparing import Run, paired_test_scores, refuse_incomparable

    compared = [Run(name, file) for name, file in zip(names, model_files, strict=True)]
    refuse_incomparable(compared)
    paired = _scored(compared, files, encoding, device, threads) if files else paired_test_scores(compared)
    if not paired.each[0].n:
        raise UsageError(f"{', '.join(files)}: there are no rows to compare on")
    _write(compared, paired, as_json, f"rows of {', '.join(files)}" if files else "test rows")


def _scored(runs: list[Run], files: list[str], encoding: str | None, device: str, threads: int | None) -> Paired:
    from flowcli.cli.input import chunks, used_names
    from flowcli.cli.loading import load_model
    from flowcli.cli.threads import asked_threads
    from flowcli.comparing import paired_scores

    models = [load_model(run.file, device, asked_threads(threads) or 1) for run in runs]
    used = set().union(*(used_names(run.header.columns) for run in runs))
    return paired_scores(models, chunks(files, encoding, used))


def _write(runs: list[Run], paired: Paired, as_json: bool, rows: str) -> None:
    from flowcli.comparing import config_differences, figures

    found, differences = figures(runs, paired), config_differences(runs)
    if as_json:
        by_run = [{run.name: value for run, value in zip(runs, values, strict=True)} for values in differences.values()]
        write_json(
            {"best": found[paired.best]["run"], "runs": found, "config": dict(zip(differences, by_run, strict=True))}
        )
        return
    from flowcli.cli.describe import aligned
    from flowcli.printable import printable

    n = paired.each[0].n
    lines = [f"log-likelihood  ({n:,} {rows}; nats per row)"]
    table = [("run", "mean", "difference to best", "parameters", "training")]
    table += [
        (
            each["run"],
            _mean(each["test_log_likelihood"]),
            "best" if number == paired.best else _plus_minus(each["difference_to_best"]),
            f"{each['parameters']:,}",
            "" if each["seconds"] is None else f"{each['seconds']:.1f} s",
        )
        for number, each in enumerate(found)
    ]
    lines += ["  " + line for line in aligned(table)]
    lines.append("config keys that differ" if differences else "no config key differs")
    names = [("", *(run.name for run in runs))] if differences else []
    rows_of_keys = [(key, *map(_shown, values)) for key, values in differences.items()]
    lines += ["  " + line for line in aligned([*names, *rows_of_keys])] if differences else []
    write_text("\n".join(map(printable, lines)))


def _mean(summary: dict[str, Any]) -> str:
    if summary["impossible_rows"]:
        return f"-inf ({summary['impossible_rows']:,} rows)"
    return _plus_minus(summary)


def _plus_minus(figure: dict[str, Any]) -> str:
    if figure["mean"] is None:
        return "none: a row is impossible"
    error = "" if figure["standard_error"] is None else f" ± {figure['standard_error']:.3f}"
    return f"{figure['mean']:.3f}{error}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
