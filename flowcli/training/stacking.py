"""Weights of a mixture whose members are fixed."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_ROUNDS = 500
# In nats; the gain of a round is far below what the rows can tell.
SMALLEST_GAIN = 1e-7
# Weights that are expected beforehand count as so many rows.
PRIOR_ROWS = 10
# What has less is left out, unless that costs more, in nats per row: some row may have nothing else.
SMALLEST_WEIGHT = 1e-3
MOST_LOST = 1e-3


def stacked_weights(log_probs: Tensor, expected: Tensor | None = None) -> Tensor:
    """The weights ``(m,)`` with the largest mean log-likelihood of rows, by expectation-maximisation.

    Stacking of densities (Smyth & Wolpert 1999, "Linearly combining density estimators via stacking"). The problem is
    convex.

    Args:
        log_probs: of each row by each density, ``(n, m)``, which must not have learned from the row.
        expected: weights ``(m,)`` that they are pulled to, by a Dirichlet prior: a few rows do not tell densities
            apart that are alike.
    """
    # What cannot be computed is as bad as what is impossible; a row that no density finds possible says nothing.
    log_probs = torch.where(torch.isnan(log_probs), -torch.inf, log_probs).double()
    log_probs = log_probs[torch.isfinite(log_probs).any(-1)]
    count = log_probs.shape[1]
    weights = torch.full((count,), 1 / count, dtype=torch.float64) if expected is None else expected
    if not len(log_probs):
        return weights
    prior = torch.zeros_like(weights) if expected is None else PRIOR_ROWS * expected
    rows = len(log_probs) + prior.sum()
    before = -torch.inf
    for _ in range(MOST_ROUNDS):
        joint = log_probs + torch.log(weights)
        mean = float((torch.logsumexp(joint, dim=-1).sum() + torch.xlogy(prior, weights).sum()) / rows)
        weights = (torch.softmax(joint, dim=-1).sum(0) + prior) / rows
        if mean - before < SMALLEST_GAIN:
            break
        before = mean
    fewer = torch.where(weights < SMALLEST_WEIGHT, 0.0, weights)
    fewer = fewer / fewer.sum()
    lost = _mean_log_likelihood(log_probs, weights) - _mean_log_likelihood(log_probs, fewer)
    return fewer if lost < MOST_LOST else weights


def _mean_log_likelihood(log_probs: Tensor, weights: Tensor) -> float:
    return float(torch.logsumexp(log_probs + torch.log(weights), dim=-1).mean())
