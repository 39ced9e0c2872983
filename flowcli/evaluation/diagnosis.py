"""All checks of a model, from its latents, its samples and its training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flowcli.evaluation import latent_checks, sample_checks
from flowcli.evaluation.check import Check
from flowcli.evaluation.classifier import LEAST_ROWS, two_sample
from flowcli.evaluation.copying import nearest_neighbours
from flowcli.evaluation.sheet import Sheet

Floats = npt.NDArray[np.float64]
Given = Sequence[tuple[str, Floats]]

WITHOUT_SCIKIT_LEARN = "not without scikit-learn: pip install 'flowcli[sklearn]'"


@dataclass(frozen=True)
class Evidence:
    """What the checks look at.

    ``latents`` (n, d) of the rows, NaN where there is none, and in ``latent_columns`` the column that each stands for.
    ``given``: columns that the numbers' density is given, with their features, modelled ones and context.
    ``samples``: as many as there are, or for a conditional model as many for each row, together, in the rows' order.
    ``training`` rows, where they can be had.
    """

    rows: Sheet
    latents: Floats
    latent_columns: Sequence[str]
    given_modelled: Given
    given_context: Given
    samples: Sheet
    training: Sheet | None
    conditional: bool


def all_checks(evidence: Evidence, noise: np.random.Generator) -> tuple[list[Check], list[str]]:
    """The checks that can be made, and what is left out, and why.

    Args:
        noise: for what is put in order by chance, and the classifier.
    """
    checks, left_out = plain_checks(evidence, noise), []
    if len(evidence.rows) < LEAST_ROWS:
        left_out.append(f"classifier: it takes {LEAST_ROWS} rows or more")
    else:
        try:
            checks += two_sample(evidence.rows, _one_each(evidence), noise)
        except ImportError:
            left_out.append(f"classifier: {WITHOUT_SCIKIT_LEARN}")
    if evidence.training is None:
        left_out.append("copies: the training rows are not at hand")
    return checks, left_out


def plain_checks(evidence: Evidence, noise: np.random.Generator) -> list[Check]:
    """All but the classifier."""
    rows, samples, latents, names = evidence.rows, evidence.samples, evidence.latents, evidence.latent_columns
    checks = latent_checks.normality(latents, names)
    checks += latent_checks.independence(latents, names, noise)
    checks += latent_checks.radius(latents)
    checks += latent_checks.independence_of_given(latents, names, evidence.given_context, "latent given context")
    checks += latent_checks.independence_of_given(latents, names, evidence.given_modelled, "latent given label")
    if evidence.conditional:
        checks += latent_checks.tails(latents, names)
        checks += sample_checks.ranks_among_samples(rows, samples, noise)
    else:
        checks += sample_checks.marginals(rows, samples)
        checks += sample_checks.tails(rows, samples, noise)
    checks += sample_checks.dependence(rows, _one_each(evidence), noise)
    if evidence.training is not None:
        checks += nearest_neighbours(rows, _one_each(evidence), evidence.training)
    return checks


def _one_each(evidence: Evidence) -> Sheet:
    """Samples that are independent of each other: of those with the same context, the first."""
    if not evidence.conditional:
        return evidence.samples
    each = len(evidence.samples) // len(evidence.rows)
    return evidence.samples.take(np.arange(len(evidence.rows)) * each)
