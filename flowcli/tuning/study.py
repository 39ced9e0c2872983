"""The study: every trial of a search, in a file or a database that several processes and machines can share."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from flowcli.config.schema import Config, Tried, label
from flowcli.errors import DataError, FlowcliError, UsageError
from flowcli.files import written_whole
from flowcli.runs import TRIALS
from flowcli.tables.fingerprint import same_data

JOURNAL = "study.journal"
# Attributes of a study and of a trial.
DATA, CONFIG, FOLDER = "data", "config", "folder"
WORKER, REASON, SURPLUS = "worker", "reason", "surplus"

# Pruned: what is worse than the median of the trials before it at the same epoch.
UNPRUNED_TRIALS = 5
# So many epochs of a trial are compared, and in the first few of them none is pruned.
COMPARED_EPOCHS, UNPRUNED_EPOCHS = 100, 5
# Processes that meet at a new database make its tables all at once; those that are late try again. A file of SQLite is
# one process's at a time. And so long the first one of a study may take to say what it is of.
TRIES_TO_OPEN, SECONDS_BETWEEN_TRIES = 4, 0.5
SECONDS_FOR_A_LOCK = SECONDS_FOR_FACTS = 60

optuna.logging.set_verbosity(optuna.logging.ERROR)


@contextlib.contextmanager
def storage_errors(place: str) -> Iterator[None]:
    """What a storage raises, which can be anything, as one line."""
    try:
        yield
    except (FlowcliError, KeyboardInterrupt):
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FlowcliError(f"{place}: no study can be kept there: {reason}") from None


def storage_at(place: str) -> BaseStorage:
    """The storage in a file, or at a database's URL.

    Raises:
        FlowcliError: it cannot be opened.
    """
    from sqlalchemy.exc import DBAPIError

    with storage_errors(place):
        if "://" not in place:
            return JournalStorage(JournalFileBackend(place))
        for _ in range(TRIES_TO_OPEN - 1):
            with contextlib.suppress(DBAPIError):
                return _database(place)
            time.sleep(SECONDS_BETWEEN_TRIES)
        return _database(place)


def _database(url: str) -> BaseStorage:
    if url.startswith("sqlite:"):
        return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": SECONDS_FOR_A_LOCK}})
    return get_storage(url)


def folder_of(storage: BaseStorage, name: str) -> str | None:
    """The folder that a study's runs are in; ``None`` where there is no such study yet."""
    studies = {study.study_name: study for study in optuna.get_all_study_summaries(storage)}
    return studies[name].user_attrs.get(FOLDER) if name in studies else None


def open_study(
    storage: BaseStorage,
    name: str,
    folder: Path,
    config: Config,
    space: Mapping[str, Any],
    data: dict[str, Any],
    epochs_between: int,
    first: Mapping[str, Any],
) -> optuna.Study:
    """Open a study, or begin it: of processes that ask at the same time, one does.

    Args:
        space: the space that was asked for, as JSON.
        epochs_between: what the epochs that trials report are multiples of.
        first: the parameters of the first trial.

    Raises:
        DataError: it is of other rows.
        UsageError: it is of another config.
    """
    pruner = optuna.pruners.MedianPruner(UNPRUNED_TRIALS, UNPRUNED_EPOCHS * epochs_between, epochs_between)
    asked = {**config.model_dump(mode="json"), "tune": dict(space)}
    # Machines differ in their threads, which change but last bits.
    asked["train"] = {key: value for key, value in asked["train"].items() if key != "threads"}
    facts = {DATA: data, CONFIG: asked, FOLDER: str(folder)}
    try:
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize", pruner=pruner)
        known: dict[str, Any] = {}
    except DuplicatedStudyError:
        study = optuna.load_study(study_name=name, storage=storage, pruner=pruner)
        known = _facts_of(study, facts.keys())
    if not known and not study.get_trials(deepcopy=False):
        study.enqueue_trial(dict(first))
    for key, fact in facts.items():
        if key not in known:
            study.set_user_attr(key, fact)
    if DATA in known and not same_data(known[DATA], data):
        raise DataError(f"{', '.join(data['files'])}: not the data of the study {name!r}; --study names another one")
    if CONFIG in known and known[CONFIG] != asked:
        raise UsageError(f"the study {name!r} is of another config; --study names another one")
    return study


def _facts_of(study: optuna.Study, keys: Set[str]) -> dict[str, Any]:
    """What the process that began the study says of it; it may be about to, unless it was killed."""
    deadline = time.monotonic() + SECONDS_FOR_FACTS
    while not keys <= (known := study.user_attrs).keys() and time.monotonic() < deadline:
        time.sleep(0.1)
    return dict(known)


def sampler(config: Config, number: int) -> TPESampler:
    """What proposes a trial: by its number and those that are done, whatever process asks."""
    return TPESampler(seed=(config.seed * 1_000_003 + number) % 2**32, multivariate=False)


def suggest(trial: optuna.Trial, key: str, tried: Tried) -> Any:
    """A value for a key."""
    if tried.choices is not None:
        labels = [label(choice) for choice in tried.choices]
        return tried.choices[labels.index(trial.suggest_categorical(key, labels))]
    low, high = tried.low, tried.high
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(key, low, high, log=tried.log)
    return trial.suggest_float(key, float(low or 0), float(high or 0), log=tried.log)


def is_surplus(study: optuna.Study, number: int, most: int) -> bool:
    """Whether there are so many trials before this one: those that begin last are too many, whoever looks."""
    before = (state_of(trial) for trial in trials_of(study) if trial.number < number)
    return sum(state != "interrupted" for state in before) >= most


def give_back(study: optuna.Study, trial: optuna.Trial) -> None:
    """Have a trial that was not begun count as none."""
    trial.set_user_attr(SURPLUS, True)
    study.tell(trial, state=TrialState.FAIL)


def longest(study: optuna.Study) -> float:
    """How long the longest trial took, in seconds."""
    ended = (trial.duration for trial in trials_of(study))
    return max((duration.total_seconds() for duration in ended if duration is not None), default=0.0)


def is_this_worker() -> str:
    """This process, as a trial names it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def give_up_lost_trials(study: optuna.Study) -> None:
    """Trials whose process, of this machine, is no more count as interrupted, and are proposed again."""
    host = socket.gethostname()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        machine, _, process = str(trial.user_attrs.get(WORKER, "")).rpartition(":")
        if machine == host and not _is_alive(int(process)):
            interrupt(study, trial.number, trial)


def interrupt(study: optuna.Study, number: int, trial: optuna.Trial | FrozenTrial) -> None:
    """End a trial that came to nothing through no fault of its own; its parameters are tried again."""
    # Another process may have been faster.
    with contextlib.suppress(ValueError, RuntimeError):
        study.tell(number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs={})


def _is_alive(process: int) -> bool:
    if os.name == "nt":
        return True  # to ask would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def state_of(trial: FrozenTrial) -> str:
    """``complete``, ``pruned``, ``failed``, ``interrupted`` or ``running``."""
    if trial.state == TrialState.FAIL:
        return "failed" if REASON in trial.user_attrs else "interrupted"
    return trial.state.name.lower()


def trials_of(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have begun, by number."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state != TrialState.WAITING and SURPLUS not in trial.user_attrs]


def best_of(study: optuna.Study) -> FrozenTrial | None:
    """The complete trial with the best validation likelihood, the first of equals."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(complete, key=lambda trial: trial.value or 0.0, default=None)


def write_trials(study: optuna.Study, keys: Sequence[str], folder: Path) -> None:
    """Write ``trials.csv``: number, validation likelihood, state and seconds of each trial, and what it tried."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["number", "value", "state", "seconds", *keys])
    for trial in trials_of(study):
        seconds = "" if trial.duration is None else round(trial.duration.total_seconds(), 3)
        value = "" if trial.value is None else trial.value
        writer.writerow([trial.number, value, state_of(trial), seconds, *(trial.params.get(key, "") for key in keys)])
    with written_whole(folder / TRIALS) as stream:
        stream.write(text.getvalue().encode())


def count_states(study: optuna.Study) -> Mapping[str, int]:
    """How many trials there are of each state."""
    states = [state_of(trial) for trial in trials_of(study)]
    return {state: states.count(state) for state in ("complete", "pruned", "failed", "interrupted", "running")}
