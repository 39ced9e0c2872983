"""The densities that the default fit is measured against: a Gaussian, mixtures, a kernel estimate, and other flows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from flow_peers import trained
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

Rows = NDArray[np.float64]
# Rows of the training table that choose: a size, a bandwidth, when to stop.
VALIDATION = 0.1
COMPONENTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50)
STARTS = 3
# So many sizes in a row without gain are enough.
PATIENCE = 3
FOLDS = 5
# A bandwidth is chosen on so many held-out rows in each fold at most.
HELD_OUT = 2000


@dataclass(frozen=True)
class Peer:
    """Log-densities of test rows from those of training, given a seed and how many seconds of one core it may train."""

    score: Callable[[Rows, Rows, int, float], Rows]
    # The library of a flow, which alone minds the limit.
    library: str | None = None


def score(name: str, train: Rows, test: Rows, seed: int, limit: float) -> Rows:
    """Log-densities ``(m,)`` of test rows ``(m, d)`` in nats and their own units, from training rows ``(n, d)``."""
    torch.set_num_threads(1)
    mean, scale = train.mean(axis=0), train.std(axis=0)
    scores = PEERS[name].score((train - mean) / scale, (test - mean) / scale, seed, limit)
    return scores - np.log(scale).sum()


def gaussian(train: Rows, test: Rows, seed: int, limit: float) -> Rows:
    """Of full covariance, by maximum likelihood."""
    return multivariate_normal(train.mean(axis=0), np.cov(train.T, bias=True)).logpdf(test)


def mixture(train: Rows, test: Rows, seed: int, limit: float) -> Rows:
    """Of Gaussians with full covariances, as many as suit rows that were held out, then fitted to all."""
    kept, held_out = split(train, seed)

    def fitted(components: int, rows: Rows) -> GaussianMixture:
        return GaussianMixture(components, n_init=STARTS, max_iter=500, random_state=seed).fit(rows)

    best, chosen, without_gain = -np.inf, 1, 0
    for components in COMPONENTS:
        if components > len(kept):
            break
        value = fitted(components, kept).score(held_out)
        without_gain += 1
        if value > best:
            best, chosen, without_gain = value, components, 0
        if without_gain == PATIENCE:
            break
    return fitted(chosen, train).score_samples(test)


def kernel(train: Rows, test: Rows, seed: int, limit: float) -> Rows:
    """Gaussian kernels in whitened columns, their bandwidth that of the largest cross-validated likelihood."""
    root = np.linalg.cholesky(np.cov(train.T))
    train, test = (np.linalg.solve(root, (rows - train.mean(axis=0)).T).T for rows in (train, test))
    order = np.random.default_rng(seed).permutation(len(train))
    folds = np.array_split(order, FOLDS)

    def behind(log_bandwidth: float) -> float:
        total = 0.0
        for fold in folds:
            rest = np.delete(train, fold, axis=0)
            total -= kernel_sum(rest, train[fold[:HELD_OUT]], np.exp(log_bandwidth)).sum()
        return total

    found = minimize_scalar(behind, bounds=(np.log(0.01), np.log(2.0)), method="bounded", options={"xatol": 0.02})
    return kernel_sum(train, test, np.exp(found.x)) - np.log(np.diag(root)).sum()


def kernel_sum(centres: Rows, rows: Rows, bandwidth: float) -> Rows:
    """Log of the mean of normal densities around the centres, each of the bandwidth in every column."""
    columns = centres.shape[1]
    centres, rows = torch.from_numpy(centres / bandwidth), torch.from_numpy(rows / bandwidth)
    # A block of some 100 MB at a time.
    size = max(1, 10_000_000 // len(centres))
    sums = [(-0.5 * torch.cdist(part, centres).square_()).logsumexp(1) for part in rows.split(size)]
    constant = np.log(len(centres)) + columns * (np.log(bandwidth) + 0.5 * np.log(2 * np.pi))
    return torch.cat(sums).numpy() - constant


def split(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Most of the rows, and those held out."""
    order = np.random.default_rng(seed).permutation(len(rows))
    count = max(1, round(VALIDATION * len(rows)))
    return rows[order[count:]], rows[order[:count]]


def flow(library: str, kind: str) -> Peer:
    def trained_flow(train: Rows, test: Rows, seed: int, limit: float) -> Rows:
        return trained(library, kind, *split(train, seed), test, seed, limit)

    return Peer(trained_flow, library)


PEERS = {
    "full Gaussian": Peer(gaussian),
    "Gaussian mixture": Peer(mixture),
    "kernel estimate": Peer(kernel),
    "zuko NSF": flow("zuko", "spline autoregressive"),
    "nflows RQ-NSF": flow("nflows", "spline coupling"),
    "Pyro MAF": flow("Pyro", "MAF"),
}
