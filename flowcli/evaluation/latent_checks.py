"""Whether latents are independent standard normals, and independent of what the model was given.

If the model is right they are exactly that, so that most of these tests hold their level for any number of rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from flowcli.evaluation.check import Check
from flowcli.evaluation.p_values import anderson_darling, binomial, chi_squared, midranks

Floats = npt.NDArray[np.float64]

# With fewer rows nothing is tested.
LEAST_ROWS = 10
# Of very many columns, so many pairs are looked at.
MOST_PAIRS = 1000
# Beyond the quantile of this chance, on either side, is a tail.
TAIL = 0.005
# A category of fewer rows is not looked at by itself.
LEAST_OF_CATEGORY = 5


def normality(latents: Floats, names: Sequence[str]) -> list[Check]:
    """Of each latent ``(n,)``, by Anderson and Darling against the standard normal, centre and tails alike.

    It is the test that probability-integral transforms, the latents through the normal's distribution function, are
    uniform.
    """
    found = []
    for column, values, name in zip(range(latents.shape[1]), latents.T, names, strict=True):
        values = values[~np.isnan(values)]
        if len(values) < LEAST_ROWS:
            continue
        statistic, p = anderson_darling(_log_normal_below(values), _log_normal_below(-values))
        moments = f"mean {values.mean():.2f}, deviation {values.std():.2f}"
        found.append(
            Check("latent normality", (name,), f"z{column + 1} ({name})", "Anderson-Darling", statistic, p, moments)
        )
    return found


def tails(latents: Floats, names: Sequence[str]) -> list[Check]:
    """Of each latent and side, how many are beyond the normal's quantile of chance ``TAIL``, by the binomial."""
    found = []
    limit = float(torch.special.ndtri(torch.tensor(1 - TAIL, dtype=torch.float64)))
    for column, values, name in zip(range(latents.shape[1]), latents.T, names, strict=True):
        values = values[~np.isnan(values)]
        if len(values) < LEAST_ROWS:
            continue
        for side, sign in (("lower", -1), ("upper", 1)):
            count = int((sign * values > limit).sum())
            detail = f"{count:,} found, {TAIL * len(values):.1f} expected"
            p = binomial(count, len(values), TAIL)
            place = f"z{column + 1} ({name}), {side} tail"
            found.append(Check("latent tails", (name,), place, "rows beyond", count, p, detail))
    return found


def independence(latents: Floats, names: Sequence[str], noise: np.random.Generator) -> list[Check]:
    """Of each pair of latents, by four correlations: of the values, of their sizes, and of one's size with the other.

    Sizes are brought to a normal, ``quantile(2 cdf(|z|) - 1)``. Each correlation ``r`` is then one of independent
    normals, and ``(n - 3) arctanh(r)^2`` chi-squared with one degree of freedom (Fisher 1915); the four are nearly
    independent, and their sum has four.
    """
    found = []
    sizes = _normal_sizes(latents)
    for i, j in some_pairs(latents.shape[1], noise):
        there = ~np.isnan(latents[:, i]) & ~np.isnan(latents[:, j])
        if there.sum() < LEAST_ROWS:
            continue
        one, other = (np.stack([latents[there, k], sizes[there, k]]) for k in (i, j))
        correlations = np.corrcoef(one, other)[:2, 2:].clip(-1 + 1e-15, 1 - 1e-15)
        statistic = float((there.sum() - 3) * np.square(np.arctanh(correlations)).sum())
        a, b = np.unravel_index(int(np.abs(correlations).argmax()), (2, 2))
        words = [f"z{i + 1}", f"|z{i + 1}|"][a], [f"z{j + 1}", f"|z{j + 1}|"][b]
        detail = f"correlation of {words[0]} and {words[1]} {correlations[a, b]:.2f}"
        place = f"z{i + 1}, z{j + 1} ({names[i]}, {names[j]})"
        pair = names[i], names[j]
        p = chi_squared(statistic, 4)
        found.append(Check("latent independence", pair, place, "sum of four r^2", statistic, p, detail))
    return found


def radius(latents: Floats) -> list[Check]:
    """All latents together: squared lengths against the chi-squared distribution, by Anderson and Darling."""
    degrees = torch.from_numpy((~np.isnan(latents)).sum(1).astype(np.float64))
    squares = torch.from_numpy(np.nansum(np.square(latents), axis=1))[degrees > 0]
    degrees = degrees[degrees > 0]
    if latents.shape[1] < 2 or len(squares) < LEAST_ROWS:
        return []
    smallest = torch.finfo(torch.float64).tiny
    below, above = (
        torch.log(f(degrees / 2, squares / 2).clamp_min(smallest)).numpy()
        for f in (torch.special.gammainc, torch.special.gammaincc)
    )
    statistic, p = anderson_darling(below, above)
    detail = f"mean of radius^2 per dimension {float((squares / degrees).mean()):.2f}, 1 expected"
    return [Check("latent radius", (), "all latents", "Anderson-Darling", statistic, p, detail)]


def independence_of_given(
    latents: Floats, names: Sequence[str], given: Sequence[tuple[str, Floats]], kind: str
) -> list[Check]:
    """Of each latent and each column that its density is given, whether place or size of the one vary with the other.

    Args:
        given: columns with their features ``(n, k)``, as :func:`features_of_numbers` or :func:`features_of_labels`
            give them.

    Ranks of latents and of their sizes, as normal scores, are regressed on the features: ``(n - 1) R^2`` is chi-squared
    with as many degrees of freedom as there are features, for any features.
    """
    found = []
    for column, values, name in zip(range(latents.shape[1]), latents.T, names, strict=True):
        there = ~np.isnan(values)
        if there.sum() < LEAST_ROWS:
            continue
        scores = np.stack([_normal_scores(v) for v in (values[there], np.abs(values[there]))], axis=1)
        scores /= np.linalg.norm(scores, axis=0)
        for context, features in given:
            basis = _orthonormal(features[there])
            if not basis.shape[1] or basis.shape[1] > there.sum() / 4:
                continue
            explained = np.square(basis.T @ scores).sum(0)
            statistic = float((there.sum() - 1) * explained.sum())
            what = ("place", "size")[int(explained.argmax())]
            detail = f"{what} of z{column + 1} varies with {context}, R^2 {explained.max():.3f}"
            place = f"z{column + 1} ({name}) given {context}"
            p = chi_squared(statistic, 2 * basis.shape[1])
            found.append(Check(kind, (name, context), place, "(n - 1) R^2", statistic, p, detail))
    return found


def features_of_numbers(values: Floats) -> Floats:
    """Of numbers ``(n,)``, their normal scores and the squares of these, ``(n, 2)``."""
    scores = _normal_scores(values)
    return np.stack([scores, scores**2], axis=1)


def features_of_labels(codes: npt.NDArray[np.int64]) -> Floats:
    """Of categories ``(n,)``, whether a row has each one that is not rare, ``(n, k)``."""
    categories, counts = np.unique(codes, return_counts=True)
    return np.asarray(codes[:, None] == categories[counts >= LEAST_OF_CATEGORY], dtype=np.float64)


def some_pairs(columns: int, noise: np.random.Generator) -> list[tuple[int, int]]:
    """All pairs, or ``MOST_PAIRS`` of them at random."""
    pairs = list(itertools.combinations(range(columns), 2)) if columns < 1000 else []
    if columns < 1000 and len(pairs) <= MOST_PAIRS:
        return pairs
    drawn: set[tuple[int, int]] = set()
    while len(drawn) < MOST_PAIRS:
        i, j = sorted(int(k) for k in noise.choice(columns, 2, replace=False))
        drawn.add((i, j))
    return sorted(drawn)


def _orthonormal(features: Floats) -> Floats:
    """A basis of what the features span beside the constant."""
    centred: Floats = features - features.mean(0)
    if not centred.size:
        return centred
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    basis: Floats = left[:, sizes > 1e-9 * max(float(sizes.max()), 1e-300)]
    return basis


def _normal_scores(values: Floats) -> Floats:
    """Ranks as quantiles of a normal, of mean 0."""
    ranks = torch.from_numpy(midranks(values)[0] / (len(values) + 1))
    scores: Floats = torch.special.ndtri(ranks).numpy()
    scores -= scores.mean()
    return scores


def _normal_sizes(latents: Floats) -> Floats:
    """``quantile(2 cdf(|z|) - 1)``, without loss far out."""
    above = 2 * torch.special.ndtr(-torch.from_numpy(np.abs(latents)))
    sizes: Floats = -torch.special.ndtri(above.clamp(1e-300, 1 - 1e-16)).numpy()
    return sizes


def _log_normal_below(values: Floats) -> Floats:
    found: Floats = torch.special.log_ndtr(torch.from_numpy(np.ascontiguousarray(values))).numpy()
    return found
