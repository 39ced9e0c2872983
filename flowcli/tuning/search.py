"""The search: one trial after the other, until there are enough of them or the time is up."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from flowcli.checked_models import remember
from flowcli.config.load import dump_config
from flowcli.config.schema import Config, FlowConfig, Tried, label
from flowcli.config.space import chosen, with_values
from flowcli.errors import FlowcliError, Interrupted
from flowcli.files import written_whole
from flowcli.fitting import FitObserver, history_csv, model_of, score_test_rows, test_scores_csv, train_prepared
from flowcli.flows.default import default_chain, mixes_all_columns
from flowcli.model import Model
from flowcli.model_file import read_model_file, restated
from flowcli.preparing import Prepared, refuse_holes
from flowcli.runs import CONFIG, HISTORY, METRICS, MODEL, TEST_SCORES, in_turn, write_run
from flowcli.tensor_file import read_tensor_header
from flowcli.training.defaults import EPOCHS, resolve
from flowcli.training.mixture import MixtureTraining
from flowcli.training.progress import Epoch, Progress
from flowcli.training.trainer import Training
from flowcli.tuning import study as studies

# A trial may take this share of the time for all, unless train.max_time says otherwise.
LONGEST_TRIAL = 0.1
# So much of it is kept for what is not foreseen, and so many seconds for what came before the clock was looked at:
# the program's own start.
KEPT_TIME = 0.02
KEPT_SECONDS = 0.25
# The best model so far is saved after a trial, and written again, with its scores, at the end; a model of another
# architecture can take longer to save than all before.
KEPT_SAVINGS = 3
# So many failures and no success, and the rest would fail, too.
MOST_FAILURES = 20
TRIAL_FOLDER = "trial-"
# A search ends with its last trial, whoever has it. Another machine's process may have died with it: it is waited for
# as long as this, in seconds, or so many times as long as any trial took.
LEAST_WAIT, MOST_TRIALS_WAITED, SECONDS_BETWEEN_LOOKS = 60.0, 3, 0.2


@dataclass(frozen=True)
class Plan:
    """What every process of a search knows.

    ``trials``: how many the study is to have in all. ``deadline``: by the system's clock, in seconds, and ``budget``
    how long that was at the start.
    """

    config: Config
    space: Mapping[str, Tried]
    folder: Path
    device: str
    trials: int | None = None
    budget: float | None = None
    deadline: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, for people; ``value`` is its validation log-likelihood, in nats per row."""

    number: int
    state: str
    value: float | None
    epochs: int
    seconds: float
    reason: str
    parameters: Mapping[str, Any]


class Search:
    """One process's part of a search."""

    def __init__(
        self,
        plan: Plan,
        study: optuna.Study,
        prepared: Prepared,
        data: dict[str, Any],
        on_trial: Callable[[Outcome], None],
        on_wait: Callable[[int], None],
    ) -> None:
        """``on_wait`` is told of how many trials of other processes are waited for."""
        self.plan, self.study, self.prepared, self.data = plan, study, prepared, data
        self.on_trial, self.on_wait = on_trial, on_wait
        self.stopped = False
        self._watch: _Watch | None = None
        # Of the slowest trial, without saving; and of the slowest saving.
        self._seconds_outside_training = 0.0
        self._seconds_to_save = 0.0

    def run(self) -> None:
        """Try one config after the other."""
        while not self.stopped and self._goes_on():
            self._try_one()

    def stop(self) -> None:
        """Ask for an end after the step under way; the trial under way is interrupted."""
        self.stopped = True
        if self._watch is not None:
            self._watch.stop()

    def _goes_on(self) -> bool:
        if self.plan.trials is not None and not self._are_left(self.plan.trials):
            return False
        counts = studies.count_states(self.study)
        if counts["failed"] >= MOST_FAILURES and not counts["complete"]:
            return False
        return self.plan.budget is None or self._seconds_left() > KEPT_TIME * self.plan.budget

    def _are_left(self, trials: int) -> bool:
        """Whether trials are left of so many; while others have the last ones they may be, and all end together."""
        started = told = time.monotonic()
        while True:
            studies.give_up_lost_trials(self.study)
            counts = studies.count_states(self.study)
            if sum(count for state, count in counts.items() if state != "interrupted") < trials:
                return True
            waited = time.monotonic() - started
            longest = max(LEAST_WAIT, MOST_TRIALS_WAITED * studies.longest(self.study))
            if not counts["running"] or self.stopped or waited > longest or self._seconds_left() <= 0:
                return False
            if told == started:
                told = time.monotonic()
                self.on_wait(counts["running"])
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _seconds_left(self) -> float:
        """For training, if all is to be done in time."""
        if self.plan.deadline is None or self.plan.budget is None:
            return math.inf
        kept = KEPT_SECONDS + KEPT_TIME * self.plan.budget
        kept += self._seconds_outside_training + KEPT_SAVINGS * self._seconds_to_save
        return self.plan.deadline - time.time() - kept

    def _try_one(self) -> None:
        started = time.monotonic()
        trial = self.study.ask()
        trial.set_user_attr(studies.WORKER, studies.is_this_worker())
        if self.plan.trials is not None and studies.is_surplus(self.study, trial.number, self.plan.trials):
            studies.give_back(self.study, trial)
            return
        # Now that its number is known.
        self.study.sampler = studies.sampler(self.plan.config, trial.number)
        parameters = chosen(self.plan.space, lambda key, tried: studies.suggest(trial, key, tried))
        watch = self._watch = _Watch(trial)
        if self.stopped:
            watch.stop()
        value: float | None = None
        reason = ""
        try:
            value = self._train(trial.number, parameters, watch)
            state = TrialState.COMPLETE
        except Interrupted:
            state = TrialState.PRUNED if watch.pruned else TrialState.FAIL
        except KeyboardInterrupt:
            studies.interrupt(self.study, trial.number, trial)
            raise
        except Exception as error:
            # Whatever it is, another config may do: out of memory has many names.
            state, reason = TrialState.FAIL, (str(error).strip().splitlines() or [type(error).__name__])[0]
        self._watch = None
        if state == TrialState.FAIL and not reason:
            studies.interrupt(self.study, trial.number, trial)
            self._forget_all_but_the_best()
            return
        if reason:
            trial.set_user_attr(studies.REASON, reason)
        self.study.tell(trial, value, state)
        self._forget_all_but_the_best()
        studies.write_trials(self.study, list(self.plan.space), self.plan.folder)
        seconds = time.monotonic() - started
        outside = seconds - watch.seconds - watch.seconds_to_save
        self._seconds_outside_training = max(self._seconds_outside_training, outside)
        told = studies.state_of(self.study.get_trials(deepcopy=False)[trial.number])
        if state == TrialState.PRUNED:
            value = watch.best
        self.on_trial(Outcome(trial.number, told, value, watch.epochs, seconds, reason, trial.params))

    def _train(self, number: int, parameters: Mapping[str, Any], watch: _Watch) -> float:
        """Train one config, and keep the model if it is the best so far; its validation likelihood.

        Raises:
            Interrupted: it was pruned, or the search was stopped.
            FlowcliError: it failed.
        """
        config = self._config(parameters)
        refuse_holes(self.prepared.encoder.columns, mixes_all_columns(config.flow))
        trained = train_prepared(self.prepared, config, device=self.plan.device, observer=watch)
        value = trained.progress.best_validation_log_likelihood
        if not math.isfinite(value):
            raise FlowcliError("no validation likelihood is a finite number")
        best = studies.best_of(self.study)
        if best is None or best.value is None or value >= best.value:
            started = time.monotonic()
            model = model_of(trained, self.prepared, self.data)
            folder = self.plan.folder / f"{TRIAL_FOLDER}{number}"
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in ((HISTORY, history_csv(trained.progress)), (MODEL, model.to_bytes())):
                with written_whole(folder / name) as stream:
                    stream.write(content)
            watch.seconds_to_save = time.monotonic() - started
            self._seconds_to_save = max(self._seconds_to_save, watch.seconds_to_save)
        return value

    def _config(self, parameters: Mapping[str, Any]) -> Config:
        config = Config.model_validate(with_values(self.plan.config, parameters, len(self.prepared.encoder.numbers)))
        if self.plan.budget is None:
            return config
        longest = config.train.max_time or LONGEST_TRIAL * self.plan.budget
        limit = max(1e-3, round(min(longest, self._seconds_left()), 3))
        return config.model_copy(update={"train": config.train.model_copy(update={"max_time": limit})})

    def _forget_all_but_the_best(self) -> None:
        """Remove the models of finished trials that are not the best any more; several processes may do so."""
        best = studies.best_of(self.study)
        states = {trial.number: trial.state for trial in studies.trials_of(self.study)}
        for folder in self.plan.folder.glob(f"{TRIAL_FOLDER}*"):
            number = folder.name.removeprefix(TRIAL_FOLDER)
            finished = number.isdecimal() and states.get(int(number), TrialState.RUNNING).is_finished()
            if finished and (best is None or int(number) != best.number):
                shutil.rmtree(folder, ignore_errors=True)


class _Watch(FitObserver):
    """Reports a trial's epochs, and ends it where it is to be pruned or the search stops."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial
        self.pruned = self.stopped = False
        self.best: float | None = None
        self.epochs = 0
        self.seconds = self.seconds_to_save = 0.0
        self._training: Training | MixtureTraining | None = None
        self._between = 1
        self._started = 0.0

    def starts(self, training: Training | MixtureTraining, config: Config, device: str) -> None:
        self._training = training
        self._between = epochs_between(config)
        self._started = time.monotonic()
        if self.stopped:
            training.stop()

    def stop(self) -> None:
        """End the trial after the step under way."""
        self.stopped = True
        if self._training is not None:
            self._training.stop()

    def trained(self, progress: Progress) -> None:
        self.seconds = progress.seconds

    def epoch(self, epoch: Epoch) -> None:
        self.epochs = epoch.number
        self.seconds = time.monotonic() - self._started
        value = epoch.validation_log_likelihood
        if math.isfinite(value):
            self.best = value if self.best is None else max(self.best, value)
        if self.best is None or epoch.number % self._between or self.stopped:
            return
        self.trial.report(self.best, epoch.number)
        if self.trial.should_prune() and self._training is not None:
            self.pruned = True
            self._training.stop()


def epochs_between(config: Config) -> int:
    """A trial reports the epochs that are multiples of this."""
    return max(1, (EPOCHS if config.train.epochs is None else config.train.epochs) // studies.COMPARED_EPOCHS)


def first_trial(plan: Plan, prepared: Prepared) -> dict[str, Any]:
    """The parameters of the fit that there is without a search, as far as they are in the space."""
    rows, features = len(prepared.training), len(prepared.encoder.numbers)
    train = resolve(plan.config.train, rows)
    usual: dict[str, Any] = {f"train.{key}": value for key, value in train.model_dump().items()}
    flow = FlowConfig.model_validate(default_chain(rows, features))
    # A default of another form is not in the space.
    if features and flow.transforms and len(flow.transforms) > 1:
        layer, linear, *_ = flow.transforms
        parameters = layer.parameters.model_dump()
        usual |= {"transform": layer.name, "linear": linear.name, "flow.repeat": flow.repeat}
        hidden = parameters.get("hidden", [])
        usual |= {"flow.base": flow.base.name, "width": max(hidden, default=None), "depth": len(hidden)}
        usual |= {"bins": parameters.get("bins")}
    found: dict[str, Any] = {}
    for key, tried in plan.space.items():
        value = usual.get(key)
        if tried.choices is not None:
            if value is not None and value in tried.choices:
                found[key] = label(value)
        elif isinstance(value, (int, float)) and tried.low is not None and tried.high is not None:
            found[key] = min(max(value, tried.low), tried.high)
    return found


def record_winner(plan: Plan, study: optuna.Study, prepared: Prepared) -> dict[str, Any]:
    """Make the best trial's model the folder's run, unless it is; its metrics.

    Raises:
        FlowcliError: the model is not here, but with another process of the search.
    """
    best = studies.best_of(study)
    assert best is not None
    # Of the processes that end together, the first one writes it.
    with in_turn(plan.folder):
        try:
            metrics: dict[str, Any] = json.loads((plan.folder / METRICS).read_bytes())
            if metrics["tune"]["trial"] == best.number:
                return metrics
        except (OSError, ValueError, LookupError, TypeError):
            pass
        return _write_winner(plan, study, prepared)


def _write_winner(plan: Plan, study: optuna.Study, prepared: Prepared) -> dict[str, Any]:
    """Make the best trial's model the folder's run, with the scores of the test rows; its metrics.

    Raises:
        FlowcliError: the model is not here, but with another process of the search.
    """
    best = studies.best_of(study)
    assert best is not None
    folder = plan.folder / f"{TRIAL_FOLDER}{best.number}"
    if not (folder / MODEL).is_file():
        where = study.user_attrs.get(studies.FOLDER)
        worker = str(best.user_attrs.get(studies.WORKER, "")).partition(":")[0]
        raise FlowcliError(f"trial {best.number}, the best, is not in {plan.folder}: {worker} has it, in its {where}")
    file = read_model_file(folder / MODEL)
    model = Model.load(file, plan.device)
    test_log_prob = score_test_rows(model, prepared)
    metrics = model.header.metrics
    metrics["run"] = str(plan.folder)
    metrics["tune"] = {
        "study": study.study_name,
        "trial": best.number,
        "validation_log_likelihood": best.value,
        "trials": dict(studies.count_states(study)),
        "parameters": dict(best.params),
    }
    files = {
        CONFIG: dump_config(model.header.config).encode(),
        HISTORY: (folder / HISTORY).read_bytes(),
        TEST_SCORES: test_scores_csv(prepared.test_rows, test_log_prob),
        MODEL: restated(file, model.header),
    }
    write_run(plan.folder, files, metrics)
    remember(read_tensor_header(plan.folder / MODEL).digest)
    shutil.rmtree(folder, ignore_errors=True)
    return metrics
