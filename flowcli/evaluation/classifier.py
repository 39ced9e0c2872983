"""Whether a classifier can tell samples from rows.

Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests".
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from flowcli.evaluation.check import Check
from flowcli.evaluation.p_values import mann_whitney, normal_above
from flowcli.evaluation.sheet import Sheet

Floats = npt.NDArray[np.float64]

LEAST_ROWS = 50
MOST_ROWS = 5000
FOLDS = 5
# As many as scikit-learn's boosting takes as such.
MOST_CATEGORIES = 255
# The column that matters most is looked for when there is something to explain.
WORTH_EXPLAINING = 0.05
REPEATS = 3


def two_sample(rows: Sheet, samples: Sheet, noise: np.random.Generator) -> list[Check]:
    """The area under the curve of gradient boosting, in cross-validation, against one half, one-sided.

    As many samples as rows; the n-th of both are in the same fold, as they may have the same context. Within a fold
    the area is Mann and Whitney's statistic of a classifier that has not seen it, and has their variance. The folds'
    areas are not independent: two rows of different folds meet in both, once to learn from and once to be told. Of a
    classifier that is a sum over what it learnt from, both meetings add the same, and the variance of the mean is
    twice that of independent areas, which is taken here.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    size = min(len(rows), len(samples), MOST_ROWS)
    names = [*rows.number_names, *rows.code_names]
    categorical = [False] * len(rows.number_names) + [size <= MOST_CATEGORIES for size in rows.sizes]
    of_context = rows.context.shape[1]
    features = np.concatenate([_features(sheet.take(np.arange(size))) for sheet in (rows, samples)])
    is_row = np.repeat([1, 0], size)
    fold = np.tile(noise.permutation(size) % FOLDS, 2)
    areas, variance, importance = [], 0.0, np.zeros(len(names))
    for held_out in range(FOLDS):
        model = HistGradientBoostingClassifier(
            categorical_features=[*categorical, *[False] * of_context],
            max_iter=50,
            random_state=int(noise.integers(2**31)),
        )
        train, test = fold != held_out, fold == held_out
        # A column that is nowhere there says nothing, and boosting does not take it.
        shown = np.where(np.isnan(features[train]).all(0), 0.0, features)
        model.fit(shown[train], is_row[train])
        area, _ = _area(model, shown[test], is_row[test])
        areas.append(area)
        m = int(is_row[test].sum())
        variance += 2 * (2 * m + 1) / (12 * m * m) / FOLDS**2
        importance += _importance(model, shown[test], is_row[test], len(names), noise)
    area = float(np.mean(areas))
    p = normal_above((area - 0.5) / math.sqrt(variance))
    columns: tuple[str, ...] = ()
    detail = ""
    if p < WORTH_EXPLAINING and len(names):
        columns = (names[int(importance.argmax())],)
        detail = f"{columns[0]} gives most away"
    return [Check("classifier", columns, "all columns", "area under the curve", area, p, detail)]


def _features(sheet: Sheet) -> Floats:
    return np.concatenate([sheet.numbers, sheet.codes, sheet.context], axis=1)


def _area(model: object, features: Floats, is_row: npt.NDArray[np.int64]) -> tuple[float, float]:
    score = model.predict_proba(features)[:, 1]  # type: ignore[attr-defined]
    return mann_whitney(score[is_row == 1], score[is_row == 0])


def _importance(
    model: object, features: Floats, is_row: npt.NDArray[np.int64], columns: int, noise: np.random.Generator
) -> Floats:
    """Of each column, how much of the area is lost when its cells are mixed up."""
    whole = _area(model, features, is_row)[0]
    lost = np.zeros(columns)
    for column in range(columns):
        for _ in range(REPEATS):
            mixed = features.copy()
            mixed[:, column] = noise.permutation(mixed[:, column])
            lost[column] += whole - _area(model, mixed, is_row)[0]
    return lost
