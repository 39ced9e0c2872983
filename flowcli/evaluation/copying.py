"""Whether a model copies its training rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from flowcli.evaluation.check import Check
from flowcli.evaluation.latent_checks import LEAST_ROWS
from flowcli.evaluation.p_values import mann_whitney, normal_above
from flowcli.evaluation.sheet import DECIMALS, Sheet

Floats = npt.NDArray[np.float64]

MOST_ROWS = 2000
MOST_TRAINING_ROWS = 50_000
CHUNK = 256


def nearest_neighbours(rows: Sheet, samples: Sheet, training: Sheet) -> list[Check]:
    """Whether samples are closer to their nearest training row than held-out rows are, by Mann and Whitney, one-sided.

    The distance is Euclidean, of numbers in units of their spread, and of categories.
    """
    if min(len(rows), len(samples)) < LEAST_ROWS or not len(training):
        return []
    near = training.take(_spread(len(training), MOST_TRAINING_ROWS)).distances()
    ours, theirs = (
        _distances(sheet.take(_spread(len(sheet), MOST_ROWS)).distances(), near) for sheet in (samples, rows)
    )
    chance, z = mann_whitney(ours, theirs)
    medians = np.median(ours), np.median(theirs)
    detail = f"median distance {medians[0]:.3g} for samples, {medians[1]:.3g} for rows"
    # The chance that a sample is closer: one half if the model is right, more if it copies.
    return [Check("copies", (), "nearest training row", "closer than a row", 1 - chance, normal_above(-z), detail)]


def _spread(rows: int, most: int) -> npt.NDArray[np.int64]:
    """At most so many indices, at equal distances."""
    return np.arange(0, rows, max(1, -(-rows // most)))


def _distances(points: Floats, training: Floats) -> Floats:
    """Of each point, that of the nearest training row; nearly equal ones are made equal."""
    here, near = torch.from_numpy(points), torch.from_numpy(training)
    found = here.new_empty(len(here))
    for start in range(0, len(here), CHUNK):
        part = here[start : start + CHUNK]
        found[start : start + CHUNK] = torch.cdist(part, near, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
    rounded: Floats = np.round(found.numpy(), DECIMALS - 1)
    return rounded
