"""How good a model is on rows: its likelihood beside that of simple densities, and what does not fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from flowcli.errors import DataError, ModelError
from flowcli.evaluation.baselines import Baseline, Gaussian, OnRealLine
from flowcli.evaluation.check import Verdict, judge
from flowcli.evaluation.diagnosis import WITHOUT_SCIKIT_LEARN, Evidence, Given, all_checks
from flowcli.evaluation.kernel import KernelDensity
from flowcli.evaluation.latent_checks import LEAST_OF_CATEGORY, LEAST_ROWS, features_of_labels, features_of_numbers
from flowcli.evaluation.latents import columns_of, normal_latents
from flowcli.evaluation.likelihood import Tally
from flowcli.evaluation.mixture import Mixture
from flowcli.evaluation.sheet import Sheet, within_bounds
from flowcli.flows.layout import Layout
from flowcli.flows.rows import Rows
from flowcli.model import Model
from flowcli.preprocess.encoder import Encoded, concatenated
from flowcli.tables.columns import Column
from flowcli.tables.source import TableSource, survey

# At most so many rows, at random, are looked at for what does not fit.
MOST_ROWS_CHECKED = 10_000
SAMPLES = 10_000
# Of a conditional model, at least so many samples are drawn for each row.
LEAST_SAMPLES_EACH = 4
CHUNK = 65_536
BASELINES, KEPT, LATENTS, CHECKS = range(4)


@dataclass
class Evaluation:
    """What was found.

    ``likelihood`` and ``baselines`` are summaries of :func:`flowcli.evaluation.likelihood.summarize`; each baseline has
    the ``difference`` to it that the model makes, row by row. ``latent_rows``: of the rows checked, those with latents.
    ``left_out``: what could not be done, and why.
    """

    likelihood: dict[str, Any]
    baselines: dict[str, dict[str, Any]]
    verdicts: list[Verdict]
    rows_checked: int
    latent_rows: int
    samples: int
    left_out: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON has them."""
        return {
            "test_log_likelihood": self.likelihood,
            "baselines": self.baselines,
            "checks": [verdict.as_json() for verdict in self.verdicts],
            "rows_checked": self.rows_checked,
            "latent_rows": self.latent_rows,
            "samples": self.samples,
            "left_out": self.left_out,
        }


def training_rows(model: Model, source: TableSource) -> Rows:
    """Training rows from a file, of very many a sample.

    Raises:
        DataError: a row does not fit the model's columns.
    """
    table = survey(source).sample
    return _as_rows(model.encoded(table))


def evaluate(
    model: Model, rows: Iterable[Encoded], training: Rows | None, samples: int = SAMPLES, seed: int = 0
) -> Evaluation:
    """Score rows, that come a part at a time, and check the model on a random part of them.

    Args:
        rows: that the model's encoder has encoded, none of which is bad.
        training: encoded rows to fit baselines to, if there are some.
        samples: how many are drawn; of a conditional model, at least ``LEAST_SAMPLES_EACH`` for each row.

    Raises:
        DataError: there are no rows.
        ModelError: the model's arithmetic fails on a row.
    """
    layout = model.encoder.layout
    baselines, left_out = fitted_baselines(training, layout, _noise(seed, BASELINES))
    scores, others = Tally(), {name: (Tally(), Tally()) for name in baselines}
    kept = _Kept(_noise(seed, KEPT))
    for part in rows:
        log_prob = model.score_encoded(part)
        if np.isnan(log_prob).any():
            row = scores.n + int(np.isnan(log_prob).argmax()) + 1
            raise ModelError(f"row {row}: the model's arithmetic fails on this row")
        for name, other in _log_probs(baselines, part).items():
            others[name][0].add(other)
            with np.errstate(invalid="ignore"):
                others[name][1].add(log_prob - other)
        scores.add(log_prob)
        kept.add(part.take(within_bounds(part)))
    if not scores.n:
        raise DataError("there are no rows to evaluate the model on")
    modelled = model.encoder.modelled
    summaries = {
        name: {**tally.summary(modelled), "difference": difference.difference()}
        for name, (tally, difference) in others.items()
    }
    for name, baseline in baselines.items():
        joint = getattr(baseline, "joint", None)
        if isinstance(joint, Mixture):
            summaries[name]["components"] = joint.components
    found = Evaluation(scores.summary(modelled), summaries, [], len(kept.rows.numbers), 0, 0, left_out)
    if found.rows_checked < LEAST_ROWS:
        left_out.append(f"checks of fit: they take {LEAST_ROWS} rows or more")
        return found
    evidence = _evidence(model, kept.rows, training, samples, seed)
    checks, not_made = all_checks(evidence, _noise(seed, CHECKS))
    found.verdicts, found.samples = judge(checks), len(evidence.samples)
    found.latent_rows = int((~np.isnan(evidence.latents)).any(axis=1).sum())
    left_out += not_made
    return found


def fitted_baselines(
    training: Rows | None, layout: Layout, noise: np.random.Generator
) -> tuple[dict[str, Baseline], list[str]]:
    """The baselines by name, and those that are left out, and why."""
    if training is None:
        return {}, []
    found: dict[str, Baseline] = {"gaussian": Gaussian(training, layout)}
    if layout.context:
        return found, ["independent marginals, Gaussian mixture, kernel density: none is conditional"]
    found["independent_marginals"] = OnRealLine(training, layout, noise)
    left_out = []
    try:
        mixture = OnRealLine(training, layout, noise, lambda rows: Mixture(rows, noise))
        if mixture.joint is not None:
            found["gaussian_mixture"] = mixture
    except ImportError:
        left_out.append(f"Gaussian mixture: {WITHOUT_SCIKIT_LEARN}")
    kernel = OnRealLine(training, layout, noise, lambda rows: KernelDensity(rows, noise))
    # Of one column it is its marginal.
    if len(kernel.together) > 1 and kernel.joint is not None:
        found["kernel_density"] = kernel
    return found, left_out


def _log_probs(baselines: dict[str, Baseline], part: Encoded) -> dict[str, npt.NDArray[np.float64]]:
    """Each baseline's log-likelihoods ``(n,)``; minus infinity outside the columns' bounds, as the model's are."""
    found = {name: np.full(len(part.numbers), -np.inf) for name in baselines}
    inside = np.flatnonzero(~part.outside)
    rows = _as_rows(part.take(inside))
    for name, baseline in baselines.items():
        found[name][inside] = baseline.log_prob(rows)
    return found


def _evidence(model: Model, kept: Encoded, training: Rows | None, samples: int, seed: int) -> Evidence:
    layout, density = model.encoder.layout, model.density
    rows = Sheet.of(kept, layout)
    context = kept.context
    if layout.context:
        each = max(LEAST_SAMPLES_EACH, samples // len(rows))
        drawn = model.sample_encoded(np.repeat(context, each, axis=0), seed)
    else:
        drawn = model.sample_encoded(np.empty((samples, 0)), seed)
    latents = normal_latents(density, Rows.of(kept, model.device, torch.float64), _noise(seed, LATENTS))
    numbers = len(layout.numbers)
    given: Given = []
    if density.whole:  # in a product of factors, labels may have numbers as parents
        given = [(name, features_of_labels(codes)) for name, codes in zip(rows.code_names, rows.codes.T, strict=True)]
        ordinals = zip(rows.number_names[numbers:], rows.numbers.T[numbers:], strict=True)
        given += [(name, features_of_numbers(values)) for name, values in ordinals]
    return Evidence(
        rows=rows,
        latents=latents,
        latent_columns=columns_of(latents, rows.numbers[:, :numbers], layout.numbers),
        given_modelled=given,
        given_context=_context_features(model.encoder.context, layout, context),
        samples=Sheet.of(drawn, layout),
        training=None if training is None else Sheet.of(_as_encoded(training), layout),
        conditional=bool(layout.context),
    )


def _context_features(columns: list[Column], layout: Layout, context: npt.NDArray[np.float64]) -> Given:
    """Each context column with the features that latents are regressed on."""
    found, start = [], 0
    for column, (name, width) in zip(columns, layout.context, strict=True):
        its = context[:, start : start + width]
        start += width
        if column.kind != "label":
            its = np.concatenate([features_of_numbers(its[:, 0]), its[:, 1:]], axis=1)
        found.append((name, its[:, (its != 0).sum(0) >= LEAST_OF_CATEGORY]))
    return found


class _Kept:
    """At most ``MOST_ROWS_CHECKED`` of the rows that come, each as likely as any other."""

    def __init__(self, noise: np.random.Generator) -> None:
        self._noise = noise
        self._parts: list[Encoded] = []
        self._keys = np.empty(0)

    def add(self, part: Encoded) -> None:
        self._keys = np.concatenate([self._keys, self._noise.random(len(part.numbers))])
        self._parts.append(part)
        if len(self._keys) > MOST_ROWS_CHECKED:
            chosen = np.sort(np.argpartition(self._keys, MOST_ROWS_CHECKED)[:MOST_ROWS_CHECKED])
            self._keys, self._parts = self._keys[chosen], [self.rows.take(chosen)]

    @property
    def rows(self) -> Encoded:
        return concatenated(self._parts)


def _noise(seed: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, purpose])


def _as_rows(encoded: Encoded) -> Rows:
    return Rows.of(encoded, torch.device("cpu"), torch.float64)


def _as_encoded(rows: Rows) -> Encoded:
    numbers, labels, ordinals, context = (
        part.numpy() for part in (rows.numbers, rows.labels, rows.ordinals, rows.context)
    )
    return Encoded(numbers, labels, ordinals, context, np.zeros(len(rows), dtype=bool), {})
