"""The processes of a search, and what people are told of it, on stderr."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shlex
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from flowcli.cli.interrupts import on_interrupt
from flowcli.cli.output import messages
from flowcli.cli.threads import asked_threads, never_spin, use_threads
from flowcli.config.schema import Config, Tried, label
from flowcli.errors import FlowcliError, Interrupted, UsageError
from flowcli.printable import printable

if TYPE_CHECKING:
    import optuna

    from flowcli.preparing import Prepared
    from flowcli.tuning.search import Outcome, Plan

LONGEST_REASON = 200


@dataclass(frozen=True)
class Command:
    """What ``flowcli tune`` was asked; ``again`` is the command line without ``-o``."""

    files: list[str]
    config: Config
    space: Mapping[str, Tried]
    device: str
    output: str | None
    storage: str | None
    study: str | None
    trials: int | None
    jobs: int
    budget: float | None
    started: float
    again: tuple[str, ...]


@dataclass(frozen=True)
class _Opened:
    """A study, and the rows and the plan of this process's part in it."""

    plan: Plan
    study: optuna.Study
    place: str
    prepared: Prepared
    data: dict[str, Any]


def run_search(command: Command) -> dict[str, Any]:
    """Search, and write the winner's run; its metrics.

    Raises:
        Interrupted: by a signal; the message says how to go on.
    """
    name = command.study or _name_of(command.files)
    folder = _folder(command, name)
    messages.note(f"reading {', '.join(command.files)}")
    # As a fit with the winner's config does. Several processes share the machine.
    count = 1 if command.jobs > 1 else asked_threads(command.config.train.threads) or 1
    use_threads(count)
    config = command.config.model_copy(
        update={"train": command.config.train.model_copy(update={"threads": count}), "tune": {}}
    )
    # Of several that begin a study in a storage without -o, one says where its run is.
    follows = command.output is None and command.storage is not None
    command = replace(command, config=config, output=str(folder), study=name)
    with _opened(command, messages.note, follows) as opened:
        command = replace(command, output=str(opened.plan.folder))
        _tell_space(opened)
        interrupted = _search_here(opened) if command.jobs == 1 else _search_in_processes(command)
        return _end(opened, interrupted, command)


def _name_of(files: list[str]) -> str:
    return Path(files[0]).name.split(".")[0] or "stdin" if files[0] != "-" else "stdin"


def _folder(command: Command, name: str) -> Path:
    """The folder of the run: the one that is named, that of the study, or a new one.

    Raises:
        UsageError: it holds something else than a search.
    """
    from flowcli.runs import TRIALS, default_run_folder

    known = None
    if command.storage is not None and command.output is None:
        from flowcli.tuning.study import folder_of, storage_at

        known = folder_of(storage_at(command.storage), name)
    folder = Path(command.output or known or default_run_folder(command.files[0]))
    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: is a file; -o names a folder for the run")
        if folder.is_dir() and any(folder.iterdir()) and not (folder / TRIALS).is_file():
            raise UsageError(f"{folder}: holds something else than a search; name another folder")
    except OSError as error:
        raise FlowcliError(f"{folder}: cannot be read: {error.strerror}") from None
    return folder


@contextmanager
def _opened(command: Command, note: Callable[[str], None], follows: bool) -> Iterator[_Opened]:
    """Read and encode the rows, and open the study; ``follows``: the run's folder is the one that the study names."""
    from flowcli.cli.fit import tell_source
    from flowcli.config.space import narrowed
    from flowcli.flows.default import mixes_all_columns, with_split
    from flowcli.preparing import prepare, survey_for
    from flowcli.tables.columns import Column
    from flowcli.tables.source import InFiles
    from flowcli.tuning.search import Plan, epochs_between, first_trial
    from flowcli.tuning.study import (
        FOLDER,
        JOURNAL,
        give_up_lost_trials,
        open_study,
        storage_at,
        storage_errors,
        write_trials,
    )

    def on_columns(columns: list[Column], training: int, validation: int, test: int) -> None:
        if not validation:
            raise UsageError("trials are compared by their validation rows, and there are none")
        note(f"columns  ({training:,} training, {validation:,} validation, {test:,} test rows)")
        from flowcli.cli.describe import column_lines

        for line in column_lines(columns):
            note(f"  {line}")

    config = command.config
    with closing(InFiles(command.files, config.data.encoding)) as source:
        surveyed = survey_for(source, config)
        # Trials are single densities, compared by the same rows.
        config = config.model_copy(update={"train": config.train.model_copy(update={"folds": 1})})
        config = with_split(config, surveyed.rows)
        data = tell_source(source, surveyed, config)
        prepared = prepare(source, surveyed, config, note, on_columns)
        partial = any(column.partial and not column.context for column in prepared.encoder.columns)
        skipping = partial and not mixes_all_columns(config.flow)
        space = narrowed(command.space, config, len(prepared.encoder.numbers), skipping)
        assert command.output is not None
        assert command.study is not None
        folder = Path(command.output)
        deadline = None if command.budget is None else command.started + command.budget
        plan = Plan(config, space, folder, command.device, command.trials, command.budget, deadline)
        if not follows:
            _make(folder)
        place = command.storage or str(folder / JOURNAL)
        with storage_errors(place):
            searched = {key: tried.model_dump() for key, tried in command.space.items()}
            first = first_trial(plan, prepared)
            study = open_study(
                storage_at(place), command.study, folder, config, searched, data, epochs_between(config), first
            )
            if follows:
                folder = Path(study.user_attrs[FOLDER])
                _make(folder)
                plan = replace(plan, folder=folder)
            give_up_lost_trials(study)
            write_trials(study, list(space), folder)
        yield _Opened(plan, study, place, prepared, data)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FlowcliError(f"{folder}: cannot be made: {error.strerror}") from None


def _tell_space(opened: _Opened) -> None:
    from flowcli.cli.describe import aligned
    from flowcli.tuning.study import trials_of

    messages.note("searching")
    for line in aligned([(key, _range(tried)) for key, tried in opened.plan.space.items()]):
        messages.note(f"  {line}")
    done = len(trials_of(opened.study))
    if done:
        messages.note(f"going on after {done:,} trials")


def _range(tried: Tried) -> str:
    if tried.choices is not None:
        return ", ".join(map(label, tried.choices))
    return f"{tried.low:g} to {tried.high:g}{', on a logarithmic scale' if tried.log else ''}"


def _search(opened: _Opened, on_search: Callable[[Callable[[], None]], None], on_wait: Callable[[int], None]) -> None:
    """This process's part; ``on_search`` is given what stops it."""
    from flowcli.tuning.search import Search
    from flowcli.tuning.study import storage_errors

    plan, study = opened.plan, opened.study
    search = Search(plan, study, opened.prepared, opened.data, lambda trial: _tell(trial, study), on_wait)
    on_search(search.stop)
    with storage_errors(opened.place):
        search.run()


def _search_here(opened: _Opened) -> bool:
    """Search in this process; whether a signal ended that."""
    interrupted = False
    undo: Callable[[], None] = lambda: None  # noqa: E731

    def on_search(stop: Callable[[], None]) -> None:
        nonlocal undo

        def handle(number: int, frame: FrameType | None) -> None:
            nonlocal interrupted
            interrupted = True
            undo()
            messages.note_from_signal("stopping after this step; again to quit at once")
            stop()

        undo = on_interrupt(handle)

    def on_wait(trials: int) -> None:
        messages.note(f"waiting for {trials:,} trial{'s' if trials > 1 else ''} of other processes")

    try:
        _search(opened, on_search, on_wait)
    finally:
        undo()
    return interrupted


def _search_in_processes(command: Command) -> bool:
    """Search in processes of their own, each started afresh; whether a signal ended that."""
    spawn = multiprocessing.get_context("spawn")
    processes = []
    pipes: list[Connection] = []
    interrupted = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        undo()
        messages.note_from_signal("stopping after this step; again to quit at once")
        for pipe in pipes:
            pipe.close()

    undo = on_interrupt(handle)
    try:
        for _ in range(command.jobs):
            here, there = spawn.Pipe()
            process = spawn.Process(target=_work, args=(command, there, messages.level), daemon=True)
            process.start()
            there.close()
            pipes.append(here)
            processes.append(process)
            if interrupted:
                here.close()
        # Each look reaps those that have ended, so that others do not wait for their trials.
        while alive := [process for process in processes if process.is_alive()]:
            alive[0].join(1)
    finally:
        undo()
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.kill()
    if not interrupted and all(process.exitcode for process in processes):
        raise FlowcliError("every process of the search died, of memory perhaps; fewer --jobs need less")
    return interrupted


def _work(command: Command, parent: Connection, level: int) -> None:
    """One of several processes. When the other end of its pipe is closed, or its process gone, it stops."""
    # These are for the parent, which passes them on in its way.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    never_spin()
    use_threads(1)
    messages.level = level

    def on_search(stop: Callable[[], None]) -> None:
        def wait() -> None:
            with contextlib.suppress(EOFError, OSError):
                parent.recv()
            # Compiling is ended in its own thread alone.
            with contextlib.suppress(BaseException):
                stop()

        threading.Thread(target=wait, daemon=True).start()

    try:
        with _opened(command, lambda text: None, follows=False) as opened:
            _search(opened, on_search, lambda trials: None)
        status = 0
    except FlowcliError as error:
        messages.error(str(error))
        status = error.exit_code
    # As the program itself ends: see __main__.py.
    os._exit(status)


def _tell(trial: Outcome, study: optuna.Study) -> None:
    """One line for a trial that is over."""
    from flowcli.tuning.study import best_of

    best = best_of(study)
    record = "" if best is None else f"; best {best.value:.3f} (trial {best.number})"
    taken = f"{trial.epochs} epochs in {trial.seconds:.1f} s"
    if trial.state == "failed":
        how = f"failed: {printable(trial.reason, LONGEST_REASON)}"
    elif trial.value is None:
        how = f"{trial.state}, {taken}"
    else:
        how = f"{trial.value:.3f}{' and pruned' if trial.state == 'pruned' else ''}, {taken}"
    messages.note(f"trial {trial.number}: {how}{record}")
    messages.detail(f"  {', '.join(f'{key} {_short(value)}' for key, value in trial.parameters.items())}")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _end(opened: _Opened, interrupted: bool, command: Command) -> dict[str, Any]:
    """Write the trials and the winner, and say how it is."""
    from flowcli.cli.describe import aligned, likelihood_lines
    from flowcli.cli.fit import warn_of_figures
    from flowcli.tuning.search import record_winner
    from flowcli.tuning.study import REASON, best_of, count_states, give_up_lost_trials, trials_of, write_trials

    plan, study = opened.plan, opened.study
    again = shlex.join([*command.again, "-o", str(plan.folder)])
    give_up_lost_trials(study)
    write_trials(study, list(plan.space), plan.folder)
    if interrupted:
        raise Interrupted(f"interrupted; go on with: {again}")
    counts = count_states(study)
    best = best_of(study)
    if best is None:
        reasons = [trial.user_attrs[REASON] for trial in trials_of(study) if REASON in trial.user_attrs]
        if not reasons:
            raise FlowcliError("no trial was finished in this time; give more --max-time")
        raise FlowcliError(f"every trial failed; the last: {printable(str(reasons[-1]), LONGEST_REASON)}")
    told = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
    messages.note(f"trials   {told}; trial {best.number} is the best")
    for line in aligned([(key, _short(value)) for key, value in best.params.items()]):
        messages.note(f"  {line}")
    metrics = record_winner(plan, study, opened.prepared)
    messages.note("log-likelihood  (nats per row)")
    for line in likelihood_lines(metrics):
        messages.note(f"  {line}")
    warn_of_figures(metrics)
    place = shlex.quote(str(plan.folder))
    messages.note(f"saved {plan.folder}. Next:")
    messages.note(f"  flowcli score DATA -m {place}")
    messages.note(f"  {again}  # goes on with more --trials, or time")
    return metrics
