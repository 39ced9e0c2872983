"""The density of whole rows: labels, then numbers given labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowcli.flows.flow import Flow
from flowcli.flows.labels import LabelModel


class TableDensity(nn.Module):
    """``p(labels, numbers | context) = p(labels | context) p(numbers | labels, context)``.

    The labels reach the flow one-hot, before the context. A table without numbers has no flow.

    Shapes: numbers ``(n, d)``, label codes ``(n, l)``, context ``(n, c)``; log-densities ``(n,)`` in nats,
    over the standardised numbers.
    """

    def __init__(self, flow: Flow | None, labels: LabelModel) -> None:
        super().__init__()
        self.flow = flow
        self.labels = labels

    def _flow_context(self, labels: Tensor, context: Tensor) -> Tensor | None:
        together = torch.cat([self.labels.one_hot(labels), context], dim=-1)
        return together if together.shape[-1] else None

    def log_prob(self, numbers: Tensor, labels: Tensor, context: Tensor) -> Tensor:
        """Log-density of each row."""
        total = self.labels.log_prob(labels, _or_none(context))
        if self.flow is not None:
            total = total + self.flow.log_prob(numbers, self._flow_context(labels, context))
        return total

    def encode(self, numbers: Tensor, labels: Tensor, context: Tensor) -> Tensor:
        """The latents of the numbers, ``(n, d)``."""
        return numbers if self.flow is None else self.flow.encode(numbers, self._flow_context(labels, context))

    def decode(self, latent: Tensor, labels: Tensor, context: Tensor) -> Tensor:
        """The numbers of latents, ``(n, d)``."""
        return latent if self.flow is None else self.flow.decode(latent, self._flow_context(labels, context))

    def sample_labels(self, uniforms: Tensor, context: Tensor) -> Tensor:
        """Label codes ``(n, l)`` from uniform noise ``(n, l)``."""
        return self.labels.sample(uniforms, _or_none(context))

    def initialize(self, numbers: Tensor, labels: Tensor, context: Tensor) -> None:
        """Take the start from training rows."""
        self.labels.initialize(labels)
        if self.flow is not None:
            self.flow.initialize(numbers, self._flow_context(labels, context))


def _or_none(context: Tensor) -> Tensor | None:
    return context if context.shape[-1] else None
