"""``flowcli evaluate``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from flowcli.cli.arguments import sources
from flowcli.cli.output import messages, write_json, write_text
from flowcli.errors import DataError, GateMissed, UsageError

if TYPE_CHECKING:
    import typer

    from flowcli.cli.options import Device, Encoding, Json, ModelPath, Seed, Threads
    from flowcli.evaluating import Evaluation
    from flowcli.evaluation.check import Verdict
    from flowcli.flows.rows import Rows
    from flowcli.model import Model
    from flowcli.model_file import ModelHeader
    from flowcli.preparing import Prepared
    from flowcli.preprocess.encoder import Encoded

# Of a family of checks, so many lines are shown; --json has all.
MOST_LINES = 6
# Of statistics, as tables have them.
SYMBOLS = {
    "Anderson-Darling": "A^2",
    "Kolmogorov-Smirnov": "D",
    "chi-squared": "X^2",
    "sum of four r^2": "X^2",
    "(n - 1) R^2": "X^2",
    "area under the curve": "AUC",
    "closer than a row": "share",
}
BASELINE_NAMES = {
    "gaussian": "Gaussian",
    "independent_marginals": "independent marginals",
    "gaussian_mixture": "Gaussian mixture",
    "kernel_density": "kernel density",
}


def evaluate(
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DATA]...",
            help="Rows that the model has not seen; by default its own test rows. '-' is stdin.",
            show_default=False,
        ),
    ] = None,
    model: ModelPath = None,
    train: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Training rows, for baselines and the search for copies; by default the model's own, if their files "
            "are there and unchanged.",
            show_default=False,
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n", "-n", min=10, max=10**7, help="How many samples are drawn; by default 10,000.", show_default=False
        ),
    ] = None,
    fail_under: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="Exit with status 3 if the mean log-likelihood is below this.", show_default=False
        ),
    ] = None,
    seed: Seed = None,
    encoding: Encoding = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Say how good a model is on rows that it has not seen.

    Their mean log-likelihood stands beside that of simple densities, fitted to the model's training rows. Checks then
    look for what does not fit: latents that are not independent standard normals, samples that differ from the rows,
    copies of training rows. Each has a p-value, corrected for the number of them (Holm): of a model without fault, one
    in twenty fails any.

    Example: flowcli evaluate test.csv -m runs/iris --fail-under -2.5
    """
    files = sources(data) if data else []
    if train is not None:
        sources([train])
        if train == "-" and "-" in files:
            raise UsageError("'-' (stdin) can be read only once")
    from flowcli.runs import resolve_model

    path = resolve_model(model)
    from flowcli.cli.loading import load_model
    from flowcli.cli.threads import asked_threads

    loaded = load_model(path, device, asked_threads(threads) or 1)
    from flowcli.evaluating import SAMPLES
    from flowcli.evaluating import evaluate as evaluated

    again = _prepared_again(loaded.header, needed=not files, wanted=train is None)
    training = _training(loaded, train, encoding, again)
    for known in trained_on(files, loaded.header):
        messages.note(f"WARNING: {known}")
    told = f"rows of {', '.join(files)}" if files else "test rows of the model's own"
    rows = _rows(loaded, files, encoding) if files else _test_rows(again)
    found = evaluated(loaded, rows, training, n or SAMPLES, seed or 0)
    if as_json:
        write_json({**found.as_json(), "model": str(path), "data": files, "seed": seed or 0})
    else:
        write_text("\n".join(_lines(str(path), told, found)))
    for what in found.left_out:
        messages.note(f"left out: {what}")
    mean = found.likelihood["mean"]
    if fail_under is not None and not (mean is not None and mean >= fail_under):
        shown = "-inf" if mean is None else f"{mean:.6g}"
        raise GateMissed(f"the mean log-likelihood is {shown}, below {fail_under:g}")


def _prepared_again(header: ModelHeader, needed: bool, wanted: bool) -> Prepared | None:
    """The rows that the model was trained and tested on; ``None`` where they can be done without and cannot be had."""
    if not needed and not wanted:
        return None
    from flowcli.trained_on import prepared_again

    try:
        return prepared_again(header)
    except DataError as error:
        if needed:
            raise DataError(f"the model's own test rows are not at hand; name DATA: {error}") from None
        messages.note(f"left out: baselines; the model's training rows are not at hand (--train FILE): {error}")
        return None


def trained_on(files: list[str], header: ModelHeader) -> list[str]:
    """What is said of those of the files that the model has seen."""
    from pathlib import Path

    from flowcli.tables.fingerprint import sha256_of

    digests = header.data.get("sha256", [])
    known = [file for file in files if Path(file).is_file() and sha256_of(Path(file)) in digests]
    return [f"{file}: the model was trained on most of its rows; without DATA, others are taken" for file in known]


def _training(model: Model, train: str | None, encoding: str | None, again: Prepared | None) -> Rows | None:
    """The rows that baselines are fitted to."""
    if train is None:
        return None if again is None else again.sample
    from contextlib import closing

    from flowcli.evaluating import training_rows
    from flowcli.tables.source import InFiles

    with closing(InFiles([train], encoding or "utf-8")) as source:
        return training_rows(model, source)


def _rows(model: Model, files: list[str], encoding: str | None) -> Iterator[Encoded]:
    """The named rows, as the model sees them."""
    from flowcli.cli.input import chunks, used_names

    for table in chunks(files, encoding, used_names(model.header.columns)):
        yield model.encoded(table)


def _test_rows(again: Prepared | None) -> Iterator[Encoded]:
    """The model's own test rows."""
    from flowcli.evaluating import CHUNK

    assert again is not None  # else there has been an error
    if not len(again.test.numbers):
        raise UsageError("the model was fitted without test rows: name DATA that it has not seen")
    for start in range(0, len(again.test.numbers), CHUNK):
        yield again.test.take(slice(start, start + CHUNK))


def _lines(path: str, told: str, found: Evaluation) -> list[str]:
    from flowcli.cli.describe import aligned, summary_words
    from flowcli.printable import printable

    summary = found.likelihood
    lines = [f"model  {path}", f"data   {summary['n']:,} {told}", "log-likelihood  (nats per row)"]
    table = [("model", summary_words(summary), "")]
    for name, other in found.baselines.items():
        table.append((baseline_name(name, other), summary_words(other), ahead_words(other["difference"])))
    lines += ["  " + line for line in aligned(table)]
    if summary["total"] is not None:
        lines.append(f"  total {summary['total']:.2f}")
    if found.verdicts:
        lines.append(
            f"checks  ({found.rows_checked:,} rows, {found.latent_rows:,} with latents, {found.samples:,} samples; "
            f"{len(found.verdicts):,} p-values, corrected together)"
        )
        lines += ["  " + line for line in aligned(check_lines(found.verdicts))]
        failed = sum(verdict.failed for verdict in found.verdicts)
        lines.append(f"{failed} of {len(found.verdicts):,} checks failed" if failed else "no check failed")
    return [printable(line) for line in lines]


def baseline_name(name: str, summary: dict[str, Any]) -> str:
    """What a baseline is called, with the number of its components where it has some."""
    return BASELINE_NAMES[name] + (f" of {summary['components']}" if "components" in summary else "")


def ahead_words(difference: dict[str, Any]) -> str:
    """How far the model is ahead."""
    if difference["mean"] is None:
        return ""
    error = "" if difference["standard_error"] is None else f" ± {difference['standard_error']:.3f}"
    return f"model ahead by {difference['mean']:.3f}{error}"


def check_lines(verdicts: list[Verdict]) -> list[tuple[str, ...]]:
    """Of each family of checks, those that failed, or the one that came closest to it."""
    lines: list[tuple[str, ...]] = [("check", "of", "where", "statistic", "p", "corrected", "", "")]
    families: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        families.setdefault(verdict.check.kind, []).append(verdict)
    for kind, all_of_it in families.items():
        all_of_it.sort(key=lambda verdict: verdict.check.p)
        failed = [verdict for verdict in all_of_it if verdict.failed]
        shown = failed[:MOST_LINES] or all_of_it[:1]
        for number, verdict in enumerate(shown):
            check = verdict.check
            lines.append(
                (
                    kind if not number else "",
                    f"{len(all_of_it):,}" if not number else "",
                    check.place,
                    f"{SYMBOLS.get(check.statistic, check.statistic)} {check.value:.3g}",
                    _p(check.p),
                    _p(verdict.corrected_p),
                    "FAILED" if verdict.failed else "ok",
                    check.detail,
                )
            )
        if len(failed) > len(shown):
            lines.append(("", "", f"and {len(failed) - len(shown):,} more, see --json", "", "", "", "FAILED", ""))
    return lines


def _p(p: float) -> str:
    return "<1e-12" if p < 1e-12 else f"{p:.2g}"
