"""Whether samples look like rows: column by column, pair by pair, and in the tails."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flowcli.evaluation.check import Check
from flowcli.evaluation.latent_checks import LEAST_ROWS, TAIL, some_pairs
from flowcli.evaluation.p_values import (
    anderson_darling,
    chi_squared,
    exceedances,
    kolmogorov_smirnov,
    midranks,
    normal_two_sided,
)
from flowcli.evaluation.sheet import Sheet

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

# Categories of which fewer are expected among the rows are counted as one.
LEAST_EXPECTED = 5.0


def marginals(rows: Sheet, samples: Sheet) -> list[Check]:
    """Each column's distribution: two samples by Kolmogorov and Smirnov, or chi-squared for categories."""
    found = []
    for name, one, other in _columns(rows, samples):
        if min(len(one), len(other)) >= LEAST_ROWS:
            distance, p = kolmogorov_smirnov(one, other)
            at = "higher" if np.median(one) > np.median(other) else "lower"
            detail = f"rows' median {at} than the samples'" if np.median(one) != np.median(other) else ""
            found.append(Check("marginal distance", (name,), name, "Kolmogorov-Smirnov", distance, p, detail))
    for name, is_state, codes, drawn in _code_columns(rows, samples):
        check = _same_frequencies(name, is_state, codes, drawn)
        found += [] if check is None else [check]
    return found


def _same_frequencies(name: str, is_state: bool, one: Codes, other: Codes) -> Check | None:
    """Chi-squared test that two samples have their categories as often."""
    size = int(max(one.max(initial=0), other.max(initial=0))) + 1
    counts = np.stack([np.bincount(codes, minlength=size) for codes in (one, other)]).astype(np.float64)
    expected = counts.sum(0) * len(one) / counts.sum()
    rare = expected < LEAST_EXPECTED
    counts = np.concatenate([counts[:, ~rare], counts[:, rare].sum(1, keepdims=True)], axis=1)
    counts = counts[:, counts.sum(0) > 0]
    if counts.shape[1] < 2 or min(len(one), len(other)) < LEAST_ROWS:
        return None
    expected = np.outer(counts.sum(1), counts.sum(0)) / counts.sum()
    statistic = float((np.square(counts - expected) / expected).sum())
    shares = counts / counts.sum(1, keepdims=True)
    worst = int(np.abs(shares[0] - shares[1]).argmax())
    what = "missing or spikes" if is_state else "categories"
    detail = f"{what}: one has {shares[0, worst]:.1%} of the rows, {shares[1, worst]:.1%} of the samples"
    return Check(
        "marginal distance",
        (name,),
        f"{name}, holes and spikes" if is_state else name,
        "chi-squared",
        statistic,
        chi_squared(statistic, counts.shape[1] - 1),
        detail,
    )


def tails(rows: Sheet, samples: Sheet, noise: np.random.Generator) -> list[Check]:
    """Of each column and side, how many rows are beyond the samples' quantile of chance ``TAIL``.

    The quantile is a sample itself, which the test takes into account; equal numbers are put in order by chance.
    """
    found = []
    for name, one, other in _columns(rows, samples):
        rank = round(TAIL * (len(other) + 1))
        if len(one) < LEAST_ROWS or rank < 1:
            continue
        ties = noise.random(len(one) + len(other))
        for side, sign in (("lower", -1), ("upper", 1)):
            order = np.lexsort((ties, sign * np.concatenate([one, other])))[::-1]
            limit = np.flatnonzero(order >= len(one))[rank - 1]
            count = int((order[:limit] < len(one)).sum())
            expected = len(one) * rank / (len(other) + 1)
            detail = f"{count:,} found, {expected:.1f} expected"
            p = exceedances(count, len(one), rank, len(other))
            found.append(Check("tails", (name,), f"{name}, {side} tail", "rows beyond", count, p, detail))
    return found


def dependence(rows: Sheet, samples: Sheet, noise: np.random.Generator) -> list[Check]:
    """Of each pair of columns, the difference of Spearman's rank correlations in units of its standard error.

    The error is that of the first term of Hoeffding's decomposition, pooled over both: it holds whatever the columns'
    joint distribution is.
    """
    found = []
    for i, j in some_pairs(len(rows.number_names), noise):
        names = rows.number_names[i], rows.number_names[j]
        both = [_complete(sheet.numbers[:, [i, j]]) for sheet in (rows, samples)]
        sizes = [len(pair) for pair in both]
        if min(sizes) < LEAST_ROWS:
            continue
        terms = [_rank_terms(pair[:, 0], pair[:, 1]) for pair in both]
        variance = sum(size * float(term.var()) for size, term in zip(sizes, terms, strict=True)) / sum(sizes)
        error = np.sqrt(variance * (1 / sizes[0] + 1 / sizes[1]))
        if not error > 0:
            continue
        # Each term's mean is three times the rank covariance.
        z = float((terms[0].mean() - terms[1].mean()) / (3 * error))
        one, other = map(_rank_correlation, both)
        detail = f"rank correlation {one:.3f} in the rows, {other:.3f} in the samples"
        place = f"{names[0]}, {names[1]}"
        found.append(Check("pairwise distance", names, place, "z", z, normal_two_sided(z), detail))
    return found


def _complete(pair: Floats) -> Floats:
    return pair[~np.isnan(pair).any(axis=1)]


def _rank_correlation(pair: Floats) -> float:
    ranks = np.stack([midranks(column)[0] for column in pair.T])
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1]) if (np.ptp(ranks, axis=1) > 0).all() else 0.0


def _rank_terms(x: Floats, y: Floats) -> Floats:
    """Of each row, its part of the rank correlation ``12 E[F(x) G(y)] - 3``, by Hoeffding: the influence function."""
    u, v = ((midranks(values)[0] - 0.5) / len(values) for values in (x, y))
    return 12 * (u * v + _mean_beyond(x, v) + _mean_beyond(y, u))


def _mean_beyond(x: Floats, other: Floats) -> Floats:
    """Of each value, the mean over all rows of the ``other`` number where ``x`` is larger, half of it where equal."""
    values, place = np.unique(x, return_inverse=True)
    sums = np.bincount(place, weights=other, minlength=len(values))
    beyond: Floats = sums.sum() - np.cumsum(sums) + sums / 2
    return beyond[place] / len(x)


def ranks_among_samples(rows: Sheet, samples: Sheet, noise: np.random.Generator) -> list[Check]:
    """Of each column, whether a row is at a uniform rank among the samples drawn given its context.

    ``samples`` has as many for each row, together, in the rows' order. Equal values are put in order by chance, and
    the rank is spread over its step: it is then exactly uniform, for labels and whole numbers, too. By Anderson and
    Darling.
    """
    each = len(samples) // len(rows)
    columns = [(name, rows.numbers[:, k], samples.numbers[:, k]) for k, name in enumerate(rows.number_names)]
    columns = [(n, np.nan_to_num(a, nan=-np.inf), np.nan_to_num(b, nan=-np.inf)) for n, a, b in columns]
    labels = len(rows.code_names) - sum(name in rows.number_names for name in rows.code_names)
    for k in range(labels):
        columns.append((rows.code_names[k], rows.codes[:, k].astype(float), samples.codes[:, k].astype(float)))
    found = []
    for name, one, other in columns:
        drawn = other.reshape(len(rows), each)
        less, equal = (drawn < one[:, None]).sum(1), (drawn == one[:, None]).sum(1)
        uniform = (less + noise.random(len(rows)) * (equal + 1)) / (each + 1)
        if len(uniform) < LEAST_ROWS or (equal == each).all():
            continue
        statistic, p = anderson_darling(np.log(uniform), np.log1p(-uniform))
        detail = f"mean rank {uniform.mean():.2f}, deviation {uniform.std():.2f} (0.50 and 0.29 expected)"
        found.append(Check("rank among samples", (name,), name, "Anderson-Darling", statistic, p, detail))
    return found


def _columns(rows: Sheet, samples: Sheet) -> list[tuple[str, Floats, Floats]]:
    """Of each number column, the numbers that are there."""
    pairs = zip(rows.number_names, rows.numbers.T, samples.numbers.T, strict=True)
    return [(name, one[~np.isnan(one)], other[~np.isnan(other)]) for name, one, other in pairs]


def _code_columns(rows: Sheet, samples: Sheet) -> list[tuple[str, bool, Codes, Codes]]:
    """Of each column of categories, whether they are a number column's states, and the categories."""
    pairs = zip(rows.code_names, rows.codes.T, samples.codes.T, strict=True)
    return [(name, name in rows.number_names, one, other) for name, one, other in pairs]
