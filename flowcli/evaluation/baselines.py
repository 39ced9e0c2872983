"""What a model must beat."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flowcli.flows.base import Normal, log_normal
from flowcli.flows.flow import Flow
from flowcli.flows.layout import Layout
from flowcli.flows.rows import Rows
from flowcli.flows.softmax import AutoregressiveSoftmax
from flowcli.transforms.bijection import Chain
from flowcli.transforms.triangular import TriangularAffine


@torch.no_grad()
def gaussian_log_prob(training: Rows, test: Rows, layout: Layout) -> npt.NDArray[np.float64]:
    """Per-row log-likelihood (n,) of the full-covariance Gaussian of maximum likelihood.

    Its mean is linear in the context. Label and ordinal columns are independent of it and of each other, with
    their frequencies and as discretised normals, and so are number columns that not all rows have, as normals. In
    nats, in the data's own units.
    """
    cardinalities = [size for _, size in layout.labels]
    total = torch.zeros(len(test), dtype=training.numbers.dtype)
    for position, cardinality in enumerate(cardinalities):
        column = slice(position, position + 1)
        label = AutoregressiveSoftmax([cardinality], 0, hidden=[], activation="relu").to(training.numbers.dtype)
        label.initialize(training.labels[:, column])
        total = total + label.log_prob(test.labels[:, column], None)
    for counts, new in zip(training.ordinals.unbind(-1), test.ordinals.unbind(-1), strict=True):
        total = total + _discretized_normal(new, counts.mean(), counts.std(correction=0))
    complete = [k for k in range(len(layout.numbers)) if layout.state_of(k) is None]
    context_features = training.context.shape[-1]
    if complete:
        flow = Flow(Normal(len(complete)), Chain([TriangularAffine(len(complete), context_features)]))
        flow.to(training.numbers.dtype)
        flow.initialize(training.numbers[:, complete], training.context if context_features else None)
        total = total + flow.log_prob(test.numbers[:, complete], test.context if context_features else None)
    present = [torch.ones(len(test), dtype=torch.bool)] * len(layout.numbers)
    for number, state in enumerate(layout.states):
        if state is not None:
            values = training.numbers[training.labels[:, state] == 0, number]
            present[number] = test.labels[:, state] == 0
            if len(values) > 1 and values.std() > 0:
                mean, scale = values.mean(), values.std(correction=0)
                each = log_normal(((test.numbers[:, number] - mean) / scale).unsqueeze(-1)) - torch.log(scale)
                total = total + torch.where(present[number], each, 0.0)
    for support, there in zip(layout.supports, present, strict=False):
        total = total - there * math.log(abs(support.unit))
    return total.numpy()


def _discretized_normal(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Log of the normal's mass between half a unit below ``x`` and half a unit above, without cancellation."""
    low, high = -((x - mean).abs() + 0.5) / scale, -((x - mean).abs() - 0.5) / scale
    log_low: Tensor = torch.special.log_ndtr(low)
    log_high: Tensor = torch.special.log_ndtr(high)
    return log_high + torch.log(-torch.expm1(log_low - log_high))
