"""A mixture of densities from their programs, on NumPy: as :class:`flowcli.flows.mixture.MixtureDensity`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from flowcli.chunks import CHUNK
from flowcli.errors import ModelError
from flowcli.flows.drawn import Drawn
from flowcli.preprocess.encoder import Encoded
from flowcli.programs.engine import MOST_STEPS, Floats, ProgramEngine
from flowcli.programs.stored import MEMBERS, WEIGHTS, StoredPrograms

Integers = npt.NDArray[np.int64]


class MixtureProgramEngine:
    """The functions of a mixture whose members have programs. Several threads may call it at once."""

    chunk = sampling_chunk = CHUNK

    def __init__(self, members: Sequence[ProgramEngine], weights: Floats) -> None:
        """``weights`` ``(k,)``: of the members."""
        self.members = members
        self.weights = weights / weights.sum()
        self.weighted = [k for k, weight in enumerate(self.weights) if weight > 0]
        self.noise_features = 1 + max(member.noise_features for member in members)
        self.components = len(members)

    def pays(self, function: str, rows: int) -> bool:
        """Whether so many rows are done sooner here than by importing torch."""
        # Which members rows belong to is found by scoring them.
        functions = [function] if function in ("log_prob", "sample", "decode") else ["log_prob", function]
        # Latents may be of any member.
        members = range(len(self.members)) if function == "decode" else self.weighted
        each = [self.members[k].steps(name, rows) for k in members for name in functions]
        return sum(each) <= MOST_STEPS

    def log_prob(self, rows: Encoded) -> Floats:
        total: Floats = np.logaddexp.reduce(self._each(rows), axis=0)
        return total

    def _each(self, rows: Encoded) -> Floats:
        """``log w_k p_k`` of the weighted members, ``(k, n)``."""
        return np.stack([np.log(self.weights[k]) + self.members[k].log_prob(rows) for k in self.weighted])

    def encode(self, rows: Encoded) -> Floats:
        number = np.array(self.weighted)[self._each(rows).argmax(axis=0)]
        latent = np.empty((len(number), self.members[0].widths[0] + 1))
        latent[:, -1] = number + 1
        for k, places in _by_member(number):
            latent[places, :-1] = self.members[k].encode(rows.take(places))
        return latent

    def decode(self, rows: Encoded) -> Floats:
        number = np.clip(rows.numbers[:, -1].astype(np.int64) - 1, 0, len(self.members) - 1)
        numbers = np.empty((len(number), self.members[0].widths[0]))
        for k, places in _by_member(number):
            own = rows.take(places)
            numbers[places] = self.members[k].decode(replace(own, numbers=own.numbers[:, :-1]))
        return numbers

    def sample(self, uniforms: Floats, context: Floats) -> Drawn:
        cumulative = np.cumsum(self.weights)
        number = np.searchsorted(cumulative / cumulative[-1], uniforms[:, 0], side="right")
        numbers, labels, ordinals = self.members[0].widths
        shapes = [((numbers,), np.float64), ((labels,), np.int64), ((ordinals,), np.float64)]
        drawn = Drawn(*(np.empty((len(number), *shape), dtype) for shape, dtype in shapes))
        for k, places in _by_member(number):
            member = self.members[k]
            part = member.sample(uniforms[places, 1 : 1 + member.noise_features], context[places])
            drawn.numbers[places], drawn.labels[places], drawn.ordinals[places] = (
                part.numbers,
                part.labels,
                part.ordinals,
            )
        return drawn


def _by_member(number: Integers) -> Iterator[tuple[int, Integers]]:
    """The members that rows belong to, each with their places."""
    for k in sorted({*number.tolist()}):
        yield k, np.flatnonzero(number == k)


def engine_of(
    source: str,
    stored: StoredPrograms,
    tensors: Mapping[str, np.ndarray],
    widths: tuple[int, int, int],
    cardinalities: Sequence[int],
) -> ProgramEngine | MixtureProgramEngine:
    """What runs a file's programs, with its weights and constants; other arguments as :class:`ProgramEngine` has them.

    Raises:
        ModelError: the weights of the members are none.
    """
    if not stored.members:
        return ProgramEngine(source, stored.sets[0], stored.rows, tensors, widths, cardinalities)
    weights = tensors.get(WEIGHTS)
    if weights is None or weights.shape != (len(stored.members),) or not _are_weights(weights):
        raise ModelError(f"{source}: damaged: the weights of the mixture are none")
    constants = {name: tensors[name] for name in stored.types}
    own: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for name, array in tensors.items():
        if name.startswith(MEMBERS):
            number, _, rest = name.removeprefix(MEMBERS).partition(".")
            own[number][rest] = array
    members = [
        ProgramEngine(source, stored.sets[place], stored.rows, {**own[str(k)], **constants}, widths, cardinalities)
        for k, place in enumerate(stored.members)
    ]
    return MixtureProgramEngine(members, weights)


def _are_weights(weights: np.ndarray) -> bool:
    return bool((weights >= 0).all()) and abs(float(weights.sum()) - 1) < 1e-3
