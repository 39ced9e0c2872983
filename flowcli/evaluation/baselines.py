"""What a model must beat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flowcli.flows.base import Normal
from flowcli.flows.flow import Flow
from flowcli.flows.rows import Rows
from flowcli.flows.softmax import AutoregressiveSoftmax
from flowcli.transforms.bijection import Chain
from flowcli.transforms.triangular import TriangularAffine


@torch.no_grad()
def gaussian_log_prob(training: Rows, test: Rows, cardinalities: list[int]) -> npt.NDArray[np.float64]:
    """Per-row log-likelihood (n,) of the full-covariance Gaussian of maximum likelihood.

    Its mean is linear in the context. Label and ordinal columns are independent of it and of each other, with
    their frequencies and as discretised normals. In nats, over the standardised numbers of the rows.
    """
    total = torch.zeros(len(test), dtype=training.numbers.dtype)
    for position, cardinality in enumerate(cardinalities):
        column = slice(position, position + 1)
        label = AutoregressiveSoftmax([cardinality], 0, hidden=[], activation="relu").to(training.numbers.dtype)
        label.initialize(training.labels[:, column])
        total = total + label.log_prob(test.labels[:, column], None)
    for counts, new in zip(training.ordinals.unbind(-1), test.ordinals.unbind(-1), strict=True):
        total = total + _discretized_normal(new, counts.mean(), counts.std(correction=0))
    features, context_features = training.numbers.shape[-1], training.context.shape[-1]
    if features:
        flow = Flow(Normal(features), Chain([TriangularAffine(features, context_features)]))
        flow.to(training.numbers.dtype)
        flow.initialize(training.numbers, training.context if context_features else None)
        total = total + flow.log_prob(test.numbers, test.context if context_features else None)
    return total.numpy()


def _discretized_normal(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Log of the normal's mass between half a unit below ``x`` and half a unit above, without cancellation."""
    low, high = -((x - mean).abs() + 0.5) / scale, -((x - mean).abs() - 0.5) / scale
    log_low: Tensor = torch.special.log_ndtr(low)
    log_high: Tensor = torch.special.log_ndtr(high)
    return log_high + torch.log(-torch.expm1(log_low - log_high))
