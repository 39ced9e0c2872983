"""Training a mixture: its members, one group after the other, and then their weights."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from flowcli.chunks import CHUNK
from flowcli.config.schema import Member, TrainConfig
from flowcli.errors import ConfigError, ModelError
from flowcli.flows.density import TableDensity
from flowcli.flows.mixture import MixtureDensity
from flowcli.flows.rows import Rows
from flowcli.training.defaults import resolve
from flowcli.training.ensemble import Ensemble, can_be_together
from flowcli.training.folds import Folds
from flowcli.training.processes import current
from flowcli.training.progress import Epoch, Progress
from flowcli.training.shared_rows import SharedRows, some_of
from flowcli.training.stacking import stacked_weights
from flowcli.training.trainer import Training, with_noise

# So many rows tell whether densities can be trained side by side, and set what a member starts from.
TRIED_ROWS = 4
MOST_STARTING_ROWS = 200_000
# In seconds, of what is trained when the time is up.
SHORTEST_TIME = 1e-3
# Shares of max_time: for starts from the rows that a member may learn from, and again from all rows.
MOST_TIME_FOR_STARTS = 0.2
MOST_TIME_FOR_STARTING_AGAIN = 0.1


@dataclass(frozen=True)
class Group:
    """Members of one kind, which are trained side by side: their numbers, the config's entry, and the epochs."""

    numbers: tuple[int, ...]
    entry: int
    epochs: int


class MixtureTraining:
    """Maximum likelihood of each member, and stacking of all; interrupted and resumed as a :class:`Training` is.

    With folds each member leaves out a part of the training rows; how likely the others find these sets the weights of
    the config's entries. Without, the validation rows do so for each member.
    """

    def __init__(
        self,
        density: MixtureDensity,
        mixture: list[Member],
        training: Rows | SharedRows,
        validation: Rows,
        config: TrainConfig,
        seed: int,
    ) -> None:
        """``density`` is on the device of the validation rows; its members need not be initialised.

        Raises:
            ConfigError: there are folds of rows of which each process holds a part.
        """
        self.density = density
        self.training = training
        self.validation = validation
        self.device = validation.numbers.device
        self.config = resolve(config, len(training))
        self.seed = seed
        self.parts = min(self.config.folds or 1, max(1, len(training) // 2))
        self.processes = current()
        if self.parts > 1 and isinstance(training, SharedRows):
            raise ConfigError(
                ["train.folds: several processes share the rows of a table of this size; data.validation"]
            )
        self.mixture = mixture
        # Of each member its number among the copies of its entry, from 0: it says which part it leaves out.
        self._copy_numbers = [copy for member in mixture for copy in range(member.copies)]
        self.groups = self._groups()
        # The group under way, and its training where it has any.
        self.at = 0
        self._current: Training | None = None
        self._finished: list[Progress] = []
        self._stop_asked = False
        # Of each row that is held out, in nats; and the mean of each entry alone.
        self.held_out_log_prob = torch.empty(0)
        self.entry_log_likelihoods: list[float] = []

    def _groups(self) -> list[Group]:
        groups, first = [], 0
        tried = some_of(self.training, TRIED_ROWS).to(self.device)
        for entry, member in enumerate(self.mixture):
            numbers = tuple(range(first, first + member.copies))
            first += member.copies
            epochs = (self.config.epochs or 0) if member.epochs is None else member.epochs
            together = epochs and len(numbers) > 1 and can_be_together(self._members(numbers), tried)
            groups += [Group(each, entry, epochs) for each in ([numbers] if together else [(n,) for n in numbers])]
        return groups

    def _members(self, numbers: Sequence[int]) -> list[TableDensity]:
        return [cast(TableDensity, self.density.members[number]) for number in numbers]

    def _folds(self, numbers: Sequence[int]) -> Folds | None:
        """What these members leave out."""
        if self.parts == 1:
            return None
        copies = [self._copy_numbers[number] for number in numbers]
        return Folds.of(len(self.training), self.parts, copies, self.seed, self.device)

    @property
    def progress(self) -> Progress:
        """All groups together, their epochs numbered on."""
        parts = [*self._finished, *([self._current.progress] if self._current is not None else [])]
        whole = replace(parts[-1]) if parts else Progress()
        whole.epochs, whole.best_epochs, whole.best_validation_log_likelihoods = [], [], []
        for part in parts:
            before = len(whole.epochs)
            whole.epochs += [replace(epoch, number=before + epoch.number) for epoch in part.epochs]
            # Epoch 0, the start, is each group's own.
            whole.best_epochs += [best and before + best for best in part.best_epochs]
            whole.best_validation_log_likelihoods += part.best_validation_log_likelihoods
        whole.epoch = len(whole.epochs)
        whole.seconds = sum(part.seconds for part in parts)
        whole.skipped_steps = sum(part.skipped_steps for part in parts)
        return whole

    @property
    def epochs(self) -> int:
        """How many there can be in all."""
        return sum(group.epochs for group in self.groups)

    def stop(self) -> None:
        """As :meth:`Training.stop`."""
        self._stop_asked = True
        if self._current is not None:
            self._current.stop()

    def run(
        self,
        on_epoch: Callable[[Epoch], None] = lambda epoch: None,
        on_checkpoint: Callable[[MixtureTraining], None] = lambda training: None,
        on_detail: Callable[[str], None] = lambda text: None,
    ) -> Progress:
        """Train from where it stands to the end, and set the weights; as :meth:`Training.run`."""
        while self.at < len(self.groups):
            group = self.groups[self.at]
            if self._current is None and self.processes.any(self._stop_asked):
                on_checkpoint(self)
                return replace(self.progress, stopped_by="interrupt")
            started = time.monotonic()
            if self._current is None and (group.epochs or not self._late()):
                self._initialize(group, group.numbers, self._learned_by)
            if group.epochs:
                self._current = self._current or self._training_of(group)
                if self._stop_asked:  # while it was set up
                    self._current.stop()
                self._current.progress.seconds += time.monotonic() - started
                done = len(self.progress.epochs) - len(self._current.progress.epochs)
                self._current.run(partial(_numbered_on, on_epoch, done), lambda _: on_checkpoint(self), on_detail)
                if self._current.progress.stopped_by == "interrupt":
                    return self.progress
                self._keep(group, self._current.density)
                self._finished.append(self._current.progress)
                self._current = None
            else:
                self._finished.append(Progress(seconds=time.monotonic() - started, stopped_by="epochs"))
            self.at += 1
        self._weigh()
        self._start_from_all_rows()
        return self.progress

    def _start_from_all_rows(self) -> None:
        """What only takes a start from the rows takes it from those held out, too, when these have set the weights."""
        if not self._starts_again():
            return
        assert isinstance(self.training, Rows)
        whole = Rows.concatenated([self.training, self.validation.to(self.training.numbers.device)])
        counted = {number for number, _ in self.density.weighted()}
        for group in self.groups:
            if not group.epochs:
                self._initialize(group, [n for n in group.numbers if n in counted], lambda number: whole)

    def _starts_again(self) -> bool:
        """Whether there are rows, and there is time, for :meth:`_start_from_all_rows`."""
        if isinstance(self.training, SharedRows) or not (self.parts > 1 or len(self.validation)):
            return False
        most = MOST_TIME_FOR_STARTING_AGAIN
        return self.config.max_time is None or self._started_in() <= most * self.config.max_time

    def _started_in(self) -> float:
        """The seconds that the finished groups without training took, of several processes by the first one's clock."""
        parts = zip(self.groups, self._finished, strict=False)
        return self.processes.of_first(lambda: sum(part.seconds for group, part in parts if not group.epochs))

    def _spent(self) -> float:
        """The seconds that the finished groups took, of several processes by the first one's clock."""
        return self.processes.of_first(lambda: sum(part.seconds for part in self._finished))

    def _late(self) -> bool:
        """Whether what needs no training has had its part of the time; the weights leave out what is left as it is."""
        spent = self._spent()
        return self.config.max_time is not None and spent > MOST_TIME_FOR_STARTS * self.config.max_time

    def _initialize(self, group: Group, numbers: Sequence[int], rows_for: Callable[[int], Rows | SharedRows]) -> None:
        """Let each of these members of a group take its start from the rows for its number.

        Noise is for networks: a mixture of normals has a prior of its own, and may be narrower.
        """
        config = self.config if group.epochs else self.config.model_copy(update={"noise": 0.0})
        for number, member in zip(numbers, self._members(numbers), strict=True):
            rows = some_of(rows_for(number), MOST_STARTING_ROWS).to(self.device)
            member.initialize(with_noise(member, rows, config, self.seed, number)[0])

    def _learned_by(self, number: int) -> Rows | SharedRows:
        folds = self._folds([number])
        if folds is None or isinstance(self.training, SharedRows):
            return self.training
        return self.training.take(folds.learned_by(int(folds.numbers[0])).cpu())

    def _training_of(self, group: Group) -> Training:
        members = self._members(group.numbers)
        config = self.config.model_copy(update={"epochs": group.epochs, "max_time": self._time_for(group)})
        folds = self._folds(group.numbers)
        if len(members) > 1:
            return Training(Ensemble(members), self.training, self.validation, config, self.seed, folds)
        alone = copy.deepcopy(members[0])
        if folds is None or isinstance(self.training, SharedRows):
            return Training(alone, self.training, self.validation, config, self.seed + group.numbers[0])
        places = folds.left_out_by(int(folds.numbers[0])).cpu()
        left_out = self.training.take(places[self.processes.part_of(len(places))]).to(self.device)
        rows = self._learned_by(group.numbers[0])
        return Training(alone, rows, left_out, config, self.seed + group.numbers[0])

    def _time_for(self, group: Group) -> float | None:
        """The group's share of the time that is left, in seconds: by how much there is to train in each."""
        if self.config.max_time is None:
            return None
        again = self._started_in() if self._starts_again() else 0.0
        left = max(self.config.max_time - self._spent() - again, SHORTEST_TIME)
        return left * self._trained(group) / max(1, sum(map(self._trained, self.groups[self.at :])))

    def _trained(self, group: Group) -> int:
        """How many numbers of the group are trained."""
        return group.epochs and sum(p.numel() for member in self._members(group.numbers) for p in member.parameters())

    def _keep(self, group: Group, trained: TableDensity | Ensemble) -> None:
        """Take over the weights that were trained."""
        for place, member in enumerate(self._members(group.numbers)):
            member.load_state_dict(trained.state_of(place) if isinstance(trained, Ensemble) else trained.state_dict())

    @torch.no_grad()
    def _weigh(self) -> None:
        """Set the weights by how likely the members find rows that they have not learned from."""
        entry_of = torch.tensor([group.entry for group in self.groups for _ in group.numbers])
        members = self._members(tuple(range(len(entry_of))))
        folds = self._folds(range(len(members)))
        rows, every = self.validation, None
        if folds is not None and isinstance(self.training, Rows):
            every = torch.arange(len(self.training))
            rows = self.training.take(every[self.processes.part_of(len(every))]).to(self.device)
        own = torch.stack([_log_prob(member, rows) for member in members], dim=-1).cpu()
        each = torch.cat(self.processes.every(own))
        if not len(each):
            return
        counted = torch.ones_like(each, dtype=torch.bool)
        if folds is not None and every is not None:
            counted = ~folds.learns(every.to(self.device)).T.cpu()
            # An entry of few copies leaves out some of the rows only.
            by_each = [counted[:, entry_of == entry].any(-1) for entry in range(len(self.mixture))]
            compared = torch.stack(by_each).all(0)
            each, counted = each[compared], counted[compared]
        by_entry = torch.stack(
            [_mean_density(each, counted & (entry_of == entry)) for entry in range(len(self.mixture))], dim=-1
        )
        of_entries = stacked_weights(by_entry)
        self.held_out_log_prob = torch.logsumexp(by_entry + torch.log(of_entries), dim=-1)
        weights = (of_entries / torch.bincount(entry_of, minlength=len(self.mixture)))[entry_of]
        if folds is None:
            weights = stacked_weights(each, weights)
            self.held_out_log_prob = torch.logsumexp(each + torch.log(weights), dim=-1)
        self.density.weights.copy_(weights)
        self.entry_log_likelihoods = by_entry.mean(0).tolist()

    def entries_told(self) -> list[dict[str, Any]]:
        """What each kind of member is, how likely it alone finds held-out rows (mean, nats), and what it counts."""
        told, first = [], 0
        for place, member in enumerate(self.mixture):
            weight = float(self.density.weights[first : first + member.copies].sum())
            alone = self.entry_log_likelihoods[place] if self.entry_log_likelihoods else math.nan
            told.append(
                {
                    "member": member.summary,
                    "copies": member.copies,
                    "weight": weight,
                    "held_out_log_likelihood": alone if math.isfinite(alone) else None,
                }
            )
            first += member.copies
        return told

    def move_to(self, facts: dict[str, Any]) -> None:
        """Get ready for :meth:`restore` of a state with these facts.

        Raises:
            ValueError: they are none.
        """
        at, finished = facts.get("at"), facts.get("finished")
        if type(at) is not int or not 0 <= at < len(self.groups) or type(finished) is not list or len(finished) != at:
            raise ValueError("its progress is none")
        self.at = at
        self._finished = [Progress.of(part) for part in finished]
        self._current = None if facts["current"] is None else self._training_of(self.groups[at])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain facts from which :meth:`restore` goes on."""
        whole = {f"mixture.{name}": tensor for name, tensor in self.density.state_dict().items()}
        current: dict[str, Any] | None = None
        if self._current is not None:
            tensors, current = self._current.state()
            whole |= {f"group.{name}": tensor for name, tensor in tensors.items()}
        return whole, {"at": self.at, "finished": [asdict(part) for part in self._finished], "current": current}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Take up the state of an earlier training of the same rows, config and seed, after :meth:`move_to`."""
        self.density.load_state_dict(
            {name.removeprefix("mixture."): tensor for name, tensor in tensors.items() if name.startswith("mixture.")}
        )
        if self._current is not None:
            own = {name.removeprefix("group."): tensor for name, tensor in tensors.items() if name.startswith("group.")}
            self._current.restore(own, facts["current"])


def _numbered_on(on_epoch: Callable[[Epoch], None], before: int, epoch: Epoch) -> None:
    """Tell of an epoch by its number after those of other groups."""
    on_epoch(replace(epoch, number=before + epoch.number))


def _log_prob(member: TableDensity, rows: Rows) -> Tensor:
    """Of each row ``(n,)``; minus infinity where it cannot be computed."""
    member.eval()
    found = []
    for part in rows.chunks(CHUNK):
        try:
            found.append(member.log_prob(part))
        except ModelError:
            found.append(part.numbers.new_full((len(part),), -torch.inf))
    return torch.cat(found).double() if found else rows.numbers.new_empty(0).double()


def _mean_density(each: Tensor, counted: Tensor) -> Tensor:
    """The logarithm ``(n,)`` of the mean over the densities that are counted, of log-densities ``(n, m)``."""
    return torch.logsumexp(torch.where(counted, each, -torch.inf), dim=-1) - torch.log(counted.sum(-1).double())
