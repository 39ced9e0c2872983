"""How long a training on many processes takes, on paper and by simulation; see flowcli/docs/scale.md.

A step is what flowcli does: every process computes the gradient of the rows that it has of the batch, the last one is
waited for, then the gradients are added up in a ring, with nothing else going on meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """What a step of one process costs, in seconds.

    ``seconds[k]`` with ``rows[k]`` rows, which grow; between them, and beyond them, along straight lines. ``own_batch``
    is spent for each row of the whole batch by every process, whichever rows it has. ``gradient`` is its bytes.
    """

    rows: Sequence[float]
    seconds: Sequence[float]
    own_batch: float
    gradient: float

    def alone(self, rows: Floats) -> Floats:
        """Seconds with so many rows, without the others' part of the batch."""
        known, seconds = np.asarray(self.rows, float), np.asarray(self.seconds, float)
        at = np.clip(np.searchsorted(known, rows) - 1, 0, len(known) - 2)
        slope = (seconds[at + 1] - seconds[at]) / (known[at + 1] - known[at])
        return np.maximum(seconds[at] + slope * (np.asarray(rows, float) - known[at]), 0.0)

    def slower(self, times: float) -> Step:
        """The same where each process has a part of its speed, as when all cores are busy."""
        return replace(self, seconds=[each * times for each in self.seconds], own_batch=self.own_batch * times)


@dataclass(frozen=True)
class Network:
    """Bytes in a second between neighbours in the ring, and the seconds until the first one arrives."""

    bandwidth: float
    latency: float

    def all_reduce(self, size: float, processes: int) -> float:
        """Seconds for the sum of ``size`` bytes over so many processes, in a ring.

        Each sends 2 (p - 1) messages of size / p: Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms for
        clusters of workstations", with the cost of a message as in Thakur, Rabenseifner and Gropp 2005, "Optimization
        of collective communication operations in MPICH", section 3.
        """
        return 2 * (processes - 1) * (self.latency + size / processes / self.bandwidth)


def harmonic(count: int) -> float:
    """The expected maximum of ``count`` independent exponentials of mean 1."""
    return float((1 / np.arange(1, count + 1)).sum())


def shares(batch: int, processes: int, blocks: int, steps: int, random: np.random.Generator) -> Floats:
    """How many rows of a batch each process has, ``(steps, processes)``.

    Batches are drawn from ``blocks`` blocks of rows at a time, from all over the table, and each process holds those
    that it has read; 0 blocks: equal parts.
    """
    if not blocks:
        return np.full((steps, processes), batch / processes)
    held = random.multinomial(blocks, np.full(processes, 1 / processes), size=steps)
    return random.multinomial(batch, held / blocks).astype(float)


def step_seconds(
    step: Step,
    network: Network,
    batch: int,
    processes: int,
    delay: float,
    blocks: int = 0,
    steps: int = 400,
    seed: int = 0,
) -> float:
    """Mean seconds of a step, simulated.

    ``delay``: a process takes longer than it could by an exponential with this mean, as a share of its time.
    """
    random = np.random.default_rng(seed)
    computing = step.alone(shares(batch, processes, blocks, steps, random))
    computing = computing * (1 + delay * random.exponential(size=computing.shape))
    each = computing.max(axis=1) + step.own_batch * batch
    return float(each.mean()) + network.all_reduce(step.gradient, processes)


def young(saving: float, between_failures: float) -> float:
    """The seconds between checkpoints that lose the least, to first order.

    Young 1974, "A first order approximation to the optimum checkpoint interval".
    """
    return math.sqrt(2 * saving * between_failures)


def daly(work: float, interval: float, saving: float, restart: float, between_failures: float) -> float:
    """Expected seconds for ``work`` seconds of work, with a checkpoint after each ``interval`` of them.

    Failures are a Poisson process, also while saving and restarting. Daly 2006, "A higher order estimate of the optimum
    checkpoint interval for restart dumps", equation 20.
    """
    mean = between_failures
    with np.errstate(over="ignore"):
        lost = np.expm1((interval + saving) / mean) * np.exp(restart / mean)
    return float(mean * lost * work / interval)


def in_one_piece(work: float, between_failures: float) -> float:
    """Expected seconds for work that begins anew after each failure."""
    with np.errstate(over="ignore"):
        return float(between_failures * np.expm1(work / between_failures))


def simulated_run(
    work: float,
    interval: float,
    saving: float,
    restart: float,
    between_failures: float,
    random: np.random.Generator,
) -> float:
    """Seconds of one run like that of :func:`daly`, failure by failure."""
    passed = done = 0.0
    fails = random.exponential(between_failures)
    while done < work:
        piece = min(interval, work - done) + saving
        if passed + piece <= fails:
            passed += piece
            done += interval
            continue
        passed = fails
        while True:
            fails = passed + random.exponential(between_failures)
            if passed + restart <= fails:
                passed += restart
                break
            passed = fails
    return passed
