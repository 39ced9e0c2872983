"""What a model must beat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from flowcli.flows.base import StandardNormal
from flowcli.flows.flow import Flow
from flowcli.flows.labels import LabelModel
from flowcli.training.rows import Rows
from flowcli.transforms.bijection import Chain
from flowcli.transforms.triangular import TriangularAffine


@torch.no_grad()
def gaussian_log_prob(training: Rows, test: Rows, cardinalities: list[int]) -> npt.NDArray[np.float64]:
    """Per-row log-likelihood (n,) of the full-covariance Gaussian of maximum likelihood.

    Its mean is linear in the context. Label columns are independent of it and of each other, with their
    frequencies. In nats, over the standardised numbers of the rows.
    """
    total = torch.zeros(len(test), dtype=training.numbers.dtype)
    for position, cardinality in enumerate(cardinalities):
        column = slice(position, position + 1)
        label = LabelModel([cardinality], 0).to(training.numbers.dtype)
        label.initialize(training.labels[:, column])
        total = total + label.log_prob(test.labels[:, column], None)
    features, context_features = training.numbers.shape[-1], training.context.shape[-1]
    if features:
        flow = Flow(StandardNormal(), Chain([TriangularAffine(features, context_features)]))
        flow.to(training.numbers.dtype)
        flow.initialize(training.numbers, training.context if context_features else None)
        total = total + flow.log_prob(test.numbers, test.context if context_features else None)
    return total.numpy()
