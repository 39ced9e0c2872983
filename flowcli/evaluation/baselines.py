"""What a model must beat: simple densities of the same rows, in the same units."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flowcli.evaluation.kernel import KernelDensity
from flowcli.flows.base import Normal, log_normal
from flowcli.flows.factor import are_present
from flowcli.flows.flow import Flow
from flowcli.flows.layout import Layout
from flowcli.flows.rows import Rows
from flowcli.flows.softmax import AutoregressiveSoftmax
from flowcli.transforms.bijection import Chain, sum_features
from flowcli.transforms.support import Support
from flowcli.transforms.supports import Supports
from flowcli.transforms.triangular import TriangularAffine

Floats = npt.NDArray[np.float64]

# Columns that a larger share of the rows have are in the joint density.
LEAST_SHARE = 0.5


class Baseline(Protocol):
    """A density of whole rows, already fitted."""

    def log_prob(self, rows: Rows) -> Floats:
        """Per-row log-likelihood ``(n,)`` in nats, in the data's own units."""


class Discrete:
    """Label and ordinal columns, independent of all else: frequencies, and discretised normals."""

    def __init__(self, training: Rows, layout: Layout) -> None:
        self.labels = []
        for position, (_, cardinality) in enumerate(layout.labels):
            label = AutoregressiveSoftmax([cardinality], 0, hidden=[], activation="relu").to(training.numbers.dtype)
            label.initialize(training.labels[:, position : position + 1])
            self.labels.append(label)
        self.ordinals = [(counts.mean(), counts.std(correction=0)) for counts in training.ordinals.unbind(-1)]

    def log_prob(self, rows: Rows) -> Tensor:
        """Log-probability of each row's labels and ordinals, ``(n,)``."""
        total = torch.zeros(len(rows), dtype=rows.numbers.dtype)
        for position, label in enumerate(self.labels):
            total = total + label.log_prob(rows.labels[:, position : position + 1], None)
        for counts, (mean, scale) in zip(rows.ordinals.unbind(-1), self.ordinals, strict=True):
            total = total + _discretized_normal(counts, mean, scale)
        return total


class Gaussian:
    """The full-covariance Gaussian of maximum likelihood.

    Its mean is linear in the context. Label and ordinal columns are as in :class:`Discrete`; number columns that not
    all rows have are normals of their own.
    """

    @torch.no_grad()
    def __init__(self, training: Rows, layout: Layout) -> None:
        self.layout = layout
        self.discrete = Discrete(training, layout)
        self.complete = [k for k in range(len(layout.numbers)) if layout.state_of(k) is None]
        self.context_features = training.context.shape[-1]
        if self.complete:
            features = len(self.complete)
            self.flow = Flow(Normal(features), Chain([TriangularAffine(features, self.context_features)]))
            self.flow.to(training.numbers.dtype)
            self.flow.initialize(training.numbers[:, self.complete], self._context(training))
        self.partial = {}
        for number, state in enumerate(layout.states):
            if state is not None:
                values = training.numbers[training.labels[:, state] == 0, number]
                if len(values) > 1 and values.std() > 0:
                    self.partial[number] = values.mean(), values.std(correction=0)

    def _context(self, rows: Rows) -> Tensor | None:
        return rows.context if self.context_features else None

    @torch.no_grad()
    def log_prob(self, rows: Rows) -> Floats:
        """Per-row log-likelihood ``(n,)`` in nats, in the data's own units."""
        total = self.discrete.log_prob(rows)
        if self.complete:
            total = total + self.flow.log_prob(rows.numbers[:, self.complete], self._context(rows))
        for number, support in enumerate(self.layout.supports):
            state = self.layout.state_of(number)
            there = torch.ones(len(rows), dtype=torch.bool) if state is None else rows.labels[:, state] == 0
            if number in self.partial:
                mean, scale = self.partial[number]
                each = log_normal(((rows.numbers[:, number] - mean) / scale).unsqueeze(-1)) - torch.log(scale)
                total = total + torch.where(there, each, 0.0)
            total = total - there * math.log(abs(support.unit))
        found: Floats = total.numpy()
        return found


class Joint(Protocol):
    """A density on the real line."""

    def log_prob(self, rows: Tensor) -> Tensor:
        """Log-density of each row ``(n, d)``, ``(n,)``."""


class OnRealLine:
    """A density of the numbers where the encoder's maps have brought them, such as that of a positive one's logarithm.

    ``joint`` is that of the columns that most rows have, in rows that have all of these. Other numbers, given which are
    there, are independent, each with a kernel density. Training rows on a grid are spread over its steps, as a model's
    are. Label and ordinal columns are as in :class:`Discrete`. Not for conditional models.
    """

    @torch.no_grad()
    def __init__(
        self,
        training: Rows,
        layout: Layout,
        noise: np.random.Generator,
        fit_joint: Callable[[Tensor], Joint] | None = None,
    ) -> None:
        """``fit_joint``: from rows ``(n, d)``; without it all columns are independent."""
        self.states = [layout.state_of(number) for number in range(len(layout.numbers))]
        self.supports = Supports(layout.supports or [Support()] * len(layout.numbers))
        self.discrete = Discrete(training, layout)
        uniforms = torch.from_numpy(noise.random(tuple(training.numbers.shape))).to(training.numbers)
        real, _ = self.supports.to_real(self.supports.spread_over_steps(training.numbers, uniforms))
        there = self._there(training)
        self.joint: Joint | None = None
        self.together: list[int] = []
        if fit_joint is not None:
            self.together = [k for k in range(there.shape[1]) if float(there[:, k].double().mean()) >= LEAST_SHARE]
            complete = real[there[:, self.together].all(1)][:, self.together]
            if self.together and len(complete) > 2 * len(self.together):
                self.joint = fit_joint(complete)
        # Those that are sure to have their place in the joint density need none of their own.
        needed = self.joint is None or any(state is not None for state in self.states)
        values = {k: real[there[:, k], k : k + 1] for k in range(real.shape[1]) if needed}
        self.alone = {k: KernelDensity(its, noise) for k, its in values.items() if len(its) > 1 and its.std() > 0}

    def _there(self, rows: Rows) -> Tensor:
        there = are_present(rows.labels, self.states)
        return torch.ones_like(rows.numbers, dtype=torch.bool) if there is None else there

    @torch.no_grad()
    def log_prob(self, rows: Rows) -> Floats:
        """Per-row log-likelihood ``(n,)`` in nats, in the data's own units; no row may be outside its bounds."""
        real, log_slopes = self.supports.to_real(rows.numbers)
        there = self._there(rows)
        total = self.discrete.log_prob(rows) + sum_features(log_slopes, there)
        alone = there.clone()
        if self.joint is not None:
            complete = there[:, self.together].all(1)
            total[complete] += self.joint.log_prob(real[complete][:, self.together])
            alone[:, self.together] &= ~complete.unsqueeze(1)
        for number, density in self.alone.items():
            its = alone[:, number]
            total[its] += density.log_prob(real[its, number : number + 1])
        found: Floats = total.numpy()
        return found


def _discretized_normal(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Log of the normal's mass between half a unit below ``x`` and half a unit above, without cancellation."""
    low, high = -((x - mean).abs() + 0.5) / scale, -((x - mean).abs() - 0.5) / scale
    log_low: Tensor = torch.special.log_ndtr(low)
    log_high: Tensor = torch.special.log_ndtr(high)
    return log_high + torch.log(-torch.expm1(log_low - log_high))
