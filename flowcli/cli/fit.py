"""``flowcli fit``."""

from __future__ import annotations

import re
import shlex
from contextlib import ExitStack, contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowcli.cli import completion
from flowcli.cli.arguments import config_options, sources
from flowcli.cli.input import MOST_NAMES
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
    Threads,
    Validation,
)
from flowcli.cli.output import messages, write_json, write_text
from flowcli.errors import DataError, Interrupted, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowcli.config.schema import Config
    from flowcli.fitting import Fitted
    from flowcli.preparing import Surveyed
    from flowcli.tables.source import InFiles
    from flowcli.tracking import Tracking
    from flowcli.training.processes import Processes


class Tracker(str, Enum):
    """What a fit's figures can be logged to; each is the name of a package and of an extra."""

    tensorboard = "tensorboard"
    mlflow = "mlflow"


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
    context: Context = None,
    drop: Drop = None,
    kind: Kind = None,
    missing: Missing = None,
    validation: Validation = None,
    test: Test = None,
    max_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it may take: 90s, 10m, 1.5h.", show_default=False)
    ] = None,
    encoding: Encoding = None,
    seed: Seed = None,
    device: Device = "auto",
    threads: Threads = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the run in the folder.")] = False,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with an interrupted run: its config, and its data files unless DATA names them anew.",
            show_default=False,
            autocompletion=completion.unfinished_runs,
        ),
    ] = None,
    track: Annotated[
        Tracker | None,
        typer.Option(
            help="Log likelihoods and learning rate to TensorBoard (in the run folder) or MLflow (in mlruns/, or where "
            "$MLFLOW_TRACKING_URI says).",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a density on a table; write a run folder.

    The folder's path is the only line on stdout.

    Without a config the flow is chosen for the table: a mixture of autoregressive spline flows and of mixtures of
    normals, weighted by how likely they find rows that they have not learned from.

    Example: flowcli fit houses.csv -c maf --context rooms,region -o runs/houses
    """
    from flowcli.training.processes import Processes, place_of_process, together

    processes = Processes(place_of_process())
    if not processes.first:
        messages.level = -1
    with processes.telling_once(), together(processes, device) as own_device:
        with processes.failing_together():
            options = config_options(
                {
                    "--seed": seed,
                    "--max-time": max_time,
                    "--context": context,
                    "--drop": drop,
                    "--kind": kind,
                    "--missing": missing,
                    "--validation": validation,
                    "--test": test,
                    "--encoding": encoding,
                    "--threads": threads,
                }
            )
            tracker = _installed(track)
            if resume is not None and (config or settings or output or force or options):
                raise UsageError(
                    "--resume goes on with the run's own config and folder; "
                    "give only DATA, --device and --track with it"
                )
        if resume is not None:
            fitted, folder = _resume(Path(resume), data, own_device, tracker, processes)
        else:
            fitted, folder = _start(
                data, config, settings or [], options, own_device, output, force, tracker, processes
            )
    if not processes.first:
        return
    _tell(fitted, folder)
    if as_json:
        write_json(fitted.metrics)
    else:
        write_text(str(folder))


def _installed(track: Tracker | None) -> str | None:
    """The tracker's name, once its package is known to be there."""
    from importlib.util import find_spec

    if track is not None and find_spec(track.value) is None:
        raise UsageError(f"--track {track.value} needs a package: pip install 'flowcli[{track.value}]'")
    return None if track is None else track.value


def _start(
    data: list[str] | None,
    config: str | None,
    settings: list[str],
    options: dict[str, tuple[str, Any]],
    device: str,
    output: str | None,
    force: bool,
    tracker: str | None,
    processes: Processes,
) -> tuple[Fitted, Path]:
    """Fit into a new run folder, which is removed again when nothing came of it."""
    with ExitStack() as stack:
        expected = None
        with processes.failing_together():
            files = sources(data)
            from flowcli.config.load import load_config

            resolved = load_config(config, settings, options)

            from flowcli import runs

            if output == "-":
                raise UsageError("-o names a folder for the run; its path is what goes to stdout")
            if output is None and processes.place is not None:
                raise UsageError("under torchrun -o must name the run's folder, which a restart goes on with")
            _refuse_stdin(files, processes)
            folder = Path(output) if output else runs.default_run_folder(files[0])
            if processes.first:
                going_on = processes.place is not None and runs.goes_on(folder, force, processes.restarted)
                made = runs.claim_run_folder(folder, force or going_on)
                stack.callback(runs.release_run_folder, made)
                stack.enter_context(runs.occupied(folder))
                if going_on:
                    from flowcli.training.checkpoint import read_checkpoint_header

                    expected = read_checkpoint_header(folder / runs.CHECKPOINT).data
                elif processes.place is not None:
                    # A restart goes on with what is there.
                    (folder / runs.CHECKPOINT).unlink(missing_ok=True)
        return _fit(files, resolved, device, folder, tracker, processes, expected), folder


def _refuse_stdin(files: list[str], processes: Processes) -> None:
    if "-" in files and processes.world > 1:
        raise UsageError("several processes cannot share standard input: save the table to a file and name it")


def _resume(
    folder: Path, data: list[str] | None, device: str, tracker: str | None, processes: Processes
) -> tuple[Fitted, Path]:
    """Go on from a run's checkpoint."""
    with ExitStack() as stack:
        with processes.failing_together():
            files, config, known = processes.of_first(lambda: _to_resume(folder, data, processes.restarted))
            files = sources(files)
            _refuse_stdin(files, processes)
            if processes.first:
                from flowcli.runs import occupied

                stack.enter_context(occupied(folder))
        return _fit(files, config, device, folder, tracker, processes, known), folder


def _to_resume(folder: Path, data: list[str] | None, restarted: bool) -> tuple[list[str], Config, dict[str, Any]]:
    """The files and the config of a run that has a checkpoint, and what is known of its data."""
    from flowcli.config.load import is_plain_file
    from flowcli.runs import CHECKPOINT, is_complete

    checkpoint = folder / CHECKPOINT
    if is_complete(folder) and not restarted:
        raise UsageError(f"{folder}: is finished; there is nothing to resume")
    if not checkpoint.is_file():
        raise UsageError(f"{folder}: holds no checkpoint to resume from")
    from flowcli.training.checkpoint import read_checkpoint_header

    header = read_checkpoint_header(checkpoint)
    files = data or header.data["files"]
    if data is None:
        for file in files:
            if file == "-" or not is_plain_file(file):
                came = "stdin" if file == "-" else f"{file}, which is no plain file"
                raise UsageError(f"{folder}: its data came from {came}; save the same table to a file and name it")
    return files, header.config, header.data


def _fit(
    files: list[str],
    config: Config,
    device: str,
    folder: Path,
    tracker: str | None,
    processes: Processes,
    expected: dict[str, Any] | None = None,
) -> Fitted:
    """Fit, and write the run; with the ``expected`` fingerprint, go on from the folder's checkpoint.

    Of several processes the first one writes, and alone has what is expected.
    """
    messages.note(f"reading {', '.join(files)}")
    from contextlib import closing

    from flowcli.checked_models import remember
    from flowcli.cli.card import card
    from flowcli.cli.threads import asked_threads, use_threads
    from flowcli.runs import CARD, MODEL, write_run
    from flowcli.tables.source import InFiles
    from flowcli.tensor_file import read_tensor_header

    # No more than one unless asked for: with more, a product can differ in its last bits, and then all weights do. How
    # many there were is kept with the config, so that a resume, or another fit with it, gives the same weights.
    count = asked_threads(config.train.threads) or 1
    use_threads(count)
    config = config.model_copy(update={"train": config.train.model_copy(update={"threads": count})})
    with _tracked(tracker if processes.first else None, folder) as tracking:
        with closing(InFiles(files, config.data.encoding)) as source:
            fitted = _fit_source(source, config, device, folder, expected, tracking, processes)
        fitted.metrics["run"] = str(folder)
        with processes.failing_together():
            if processes.first:
                write_run(folder, {**fitted.files(), CARD: card(fitted.model.header).encode()}, fitted.metrics)
            # Until all is written no process ends well.
            processes.every(None)
        if tracking is not None:
            tracking.finished(fitted.metrics)
    if processes.first:
        # Its config and weights are those of one network.
        remember(read_tensor_header(folder / MODEL).digest)
    return fitted


@contextmanager
def _tracked(tracker: str | None, folder: Path) -> Iterator[Tracking | None]:
    """What tells a tracker of the fit within, its failure too."""
    if tracker is None:
        yield None
        return
    from flowcli.tracking import Tracking

    tracking = Tracking(tracker, folder, messages.note)
    try:
        yield tracking
    except BaseException as error:
        tracking.failed(interrupted=isinstance(error, (Interrupted, KeyboardInterrupt)))
        raise


def tell_source(source: InFiles, surveyed: Surveyed, config: Config) -> dict[str, Any]:
    """Say what is odd about the files; what is known of them, to be kept with the model."""
    from flowcli.tables.fingerprint import fingerprint

    names = surveyed.sample.names
    # Years are names, too.
    numbers = [name for name in names if re.fullmatch(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?", name)]
    if len(numbers) == len(names) or any("." in name for name in numbers):
        some = ", ".join(map(repr, numbers[:MOST_NAMES]))
        messages.note(
            f"names of columns are numbers ({some}): is the header line missing? The first line is taken for it"
        )
    if not surveyed.whole:
        messages.note(f"{surveyed.rows:,} rows: the columns are measured on a sample of {len(surveyed.index):,}")
    held_out = [file for file in (config.data.validation, config.data.test) if isinstance(file, str)]
    return fingerprint(source.files, surveyed.rows, names, held_out, _digests(source.files))


def _digests(files: Sequence[str]) -> list[str | None] | None:
    """The SHA-256 of each file, of which each of several processes takes some."""
    from flowcli.tables.fingerprint import sha256_of
    from flowcli.training.processes import current

    processes = current()
    if processes.world == 1:
        return None
    own = range(processes.rank, len(files), processes.world)
    found = processes.every({number: sha256_of(Path(files[number])) for number in own})
    return [found[number % processes.world][number] for number in range(len(files))]


def _fit_source(
    source: InFiles,
    config: Config,
    device: str,
    folder: Path,
    expected: dict[str, Any] | None,
    tracking: Tracking | None,
    processes: Processes,
) -> Fitted:
    """Survey the files, and train on them."""
    from flowcli.cli.progress import FitProgress
    from flowcli.fitting import FitObservers, fit_table
    from flowcli.preparing import share_of, survey_for
    from flowcli.runs import CHECKPOINT
    from flowcli.tables.fingerprint import same_data

    with processes.failing_together():
        share = share_of(source, processes)
        surveyed = survey_for(share, config)
        data = tell_source(source, surveyed, config)
        if expected is not None and not same_data(expected, data):
            raise DataError(f"{', '.join(source.files)}: not the data that {folder} was started with")
    checkpoint = folder / CHECKPOINT
    try:
        with FitProgress(config.train, checkpoint if processes.first else None, data) as progress:
            return fit_table(
                share,
                config,
                surveyed=surveyed,
                device=device,
                data=data,
                checkpoint=None if expected is None else checkpoint,
                observer=progress if tracking is None else FitObservers(progress, tracking),
            )
    except Interrupted as error:
        raise Interrupted(f"{error}; go on with: flowcli fit --resume {shlex.quote(str(folder))}") from None


def _tell(fitted: Fitted, folder: Path) -> None:
    """The figures, a warning where they are bad, and what to do next."""
    from flowcli.cli.describe import given_options, likelihood_lines, mixture_lines

    members = mixture_lines(fitted.metrics)
    if members:
        messages.note("mixture  (nats per row that was left out, and the weight of each kind)")
        for line in members:
            messages.note(f"  {line}")
    messages.note("log-likelihood  (nats per row)")
    for line in likelihood_lines(fitted.metrics):
        messages.note(f"  {line}")
    warn_of_figures(fitted.metrics)
    files = fitted.model.header.data["files"]
    given = given_options(fitted.model.header.columns)
    place = shlex.quote(str(folder))
    # What came on stdin is gone.
    data = "DATA" if "-" in files else " ".join(shlex.quote(file) for file in files)
    messages.note(f"saved {folder}. Next:")
    encoding = fitted.model.header.config.data.encoding
    more = "" if encoding == "utf-8" else f" --encoding {shlex.quote(encoding)}"
    messages.note(f"  flowcli score {data} -m {place}{more}")
    messages.note(f"  flowcli sample --n 1000 -m {place}{given}")


def warn_of_figures(metrics: dict[str, Any]) -> None:
    """Warn of a model that is not to be trusted."""
    if _worse_than_baseline(metrics):
        messages.note("WARNING: worse than the Gaussian on the test rows; do not trust this model")
    from flowcli.evaluation.inverse import LARGEST_INVERSE_ERROR

    for name, error in metrics["inverse_error"].items():
        if error is None or error > LARGEST_INVERSE_ERROR:
            how = "does not come back" if error is None else f"comes back with errors of {error:.2g} of its scale"
            messages.note(f"WARNING: {name!r} {how} from its latents: samples and decoded rows are not exact")


def _worse_than_baseline(metrics: dict[str, Any]) -> bool:
    """Whether the model is behind the Gaussian by more than two standard errors of its own."""
    test, baselines = metrics["test_log_likelihood"], metrics["baselines"]
    if not test or test["mean"] is None or baselines["gaussian"]["mean"] is None:
        return False
    return bool(test["mean"] + 2 * (test["standard_error"] or 0.0) < baselines["gaussian"]["mean"])
