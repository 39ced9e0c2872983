"""One factor of a joint density: some columns, given their parents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from flowcli.flows.flow import Flow
from flowcli.flows.integer_flow import IntegerFlow
from flowcli.flows.labels import LabelModel
from flowcli.flows.rows import Rows
from flowcli.transforms.bijection import Bijection


class Factor(nn.Module):
    """``p(labels | context) p(ordinals | labels, context) p(numbers | labels, ordinals, context)``.

    Labels reach the others one-hot, ordinals in units of their scale, both before the context. Rows hold the
    factor's own columns; their context is what it is given. A kind that the factor has no column of has no model.
    """

    def __init__(
        self,
        labels: LabelModel | None,
        ordinals: IntegerFlow | None,
        flow: Flow | None,
        states: Sequence[int | None] = (),
    ) -> None:
        """``states``: of each number column, which label is the state that says whether a row has a number there."""
        super().__init__()
        self.states = list(states)
        self.labels = labels
        self.ordinals = ordinals
        self.flow = flow

    @property
    def noise_features(self) -> list[int]:
        """How many uniform numbers a row's labels, ordinals and numbers are drawn from."""
        return [
            len(self.labels.cardinalities) if self.labels is not None else 0,
            self.ordinals.noise_features if self.ordinals is not None else 0,
            self.flow.base.noise_features if self.flow is not None else 0,
        ]

    def _for_ordinals(self, rows: Rows) -> Tensor | None:
        one_hot = [] if self.labels is None else [self.labels.one_hot(rows.labels)]
        return _together(*one_hot, rows.context)

    def _for_numbers(self, rows: Rows) -> Tensor | None:
        one_hot = [] if self.labels is None else [self.labels.one_hot(rows.labels)]
        ordinals = [] if self.ordinals is None else [self.ordinals.standardized(rows.ordinals)]
        return _together(*one_hot, *ordinals, rows.context)

    def log_prob(self, rows: Rows) -> Tensor:
        """Log-density of each row, ``(n,)``, in nats."""
        # By its shape, which torch.export leaves open: len() would fix it.
        total = rows.context.new_zeros(rows.context.shape[:-1])
        if self.labels is not None:
            total = total + self.labels.log_prob(rows.labels, _together(rows.context))
        if self.ordinals is not None:
            total = total + self.ordinals.log_prob(rows.ordinals, self._for_ordinals(rows))
        if self.flow is not None:
            present = are_present(rows.labels, self.states)
            total = total + self.flow.log_prob(rows.numbers, self._for_numbers(rows), present)
        return total

    def encode(self, rows: Rows) -> Tensor:
        """The latents of the numbers, ``(n, d)``."""
        if self.flow is None:
            return rows.numbers
        return self.flow.encode(rows.numbers, self._for_numbers(rows), are_present(rows.labels, self.states))

    def to_normal(self, latent: Tensor, rows: Rows, noise: np.random.Generator) -> Tensor:
        """From the latents of the rows' numbers, ``(n, d)``, those that a standard normal base would have."""
        return latent if self.flow is None else self.flow.base.to_normal(latent, self._for_numbers(rows), noise)

    def walk(self, rows: Rows) -> Iterator[tuple[Bijection, Tensor, Tensor | None]]:
        """The numbers' way from data to base, as :meth:`flowcli.transforms.bijection.Chain.walk`."""
        if self.flow is not None:
            present = are_present(rows.labels, self.states)
            yield from self.flow.chain.walk(rows.numbers, self._for_numbers(rows), present)

    def decode(self, rows: Rows) -> Tensor:
        """The numbers whose latents stand in the place of the rows' numbers, ``(n, d)``."""
        if self.flow is None:
            return rows.numbers
        return self.flow.decode(rows.numbers, self._for_numbers(rows), are_present(rows.labels, self.states))

    def sample(self, uniforms: Tensor, context: Tensor) -> Rows:
        """Rows from uniform numbers in [0, 1), ``(n, sum of noise_features)``, and what the factor is given."""
        for_labels, for_ordinals, for_numbers = torch.split(uniforms, self.noise_features, dim=-1)
        labels = torch.empty(for_labels.shape, dtype=torch.long, device=uniforms.device)
        rows = Rows(for_numbers, labels, for_ordinals, context)
        if self.labels is not None:
            rows = replace(rows, labels=self.labels.sample(for_labels, _together(context)))
        if self.ordinals is not None:
            rows = replace(rows, ordinals=self.ordinals.sample(for_ordinals, self._for_ordinals(rows)))
        if self.flow is not None:
            present = are_present(rows.labels, self.states)
            rows = replace(rows, numbers=self.flow.sample(for_numbers, self._for_numbers(rows), present))
        return rows

    def initialize(self, rows: Rows) -> None:
        """Take the start from training rows."""
        if self.labels is not None:
            self.labels.initialize(rows.labels)
        if self.flow is not None:
            present = are_present(rows.labels, self.states)
            self.flow.initialize(rows.numbers, self._for_numbers(rows), present)


def are_present(labels: Tensor, states: Sequence[int | None]) -> Tensor | None:
    """Which numbers a row has, ``(n, d)``, by the states among its labels; ``None`` where there are no states."""
    if all(state is None for state in states):
        return None
    everywhere = torch.ones_like(labels[..., 0], dtype=torch.bool)
    return torch.stack([everywhere if at is None else labels[..., at] == 0 for at in states], dim=-1)


def _together(*parts: Tensor) -> Tensor | None:
    """The features side by side, or ``None`` where there are none."""
    features = torch.cat(parts, dim=-1)
    return features if features.shape[-1] else None
