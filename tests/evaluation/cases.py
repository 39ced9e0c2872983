"""A model whose every detail is known: a label, three numbers given it, and for a conditional one a context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from flowcli.evaluation.diagnosis import Evidence
from flowcli.evaluation.latent_checks import features_of_labels, features_of_numbers
from flowcli.evaluation.sheet import Sheet

NAMES = ("a", "b", "c")
SHARES = np.array([0.5, 0.3, 0.2])
SHIFTS = np.array([[0.0, 0.0, 0.0], [2.0, -1.0, 0.5], [-1.0, 0.0, 3.0]])
FACTOR = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [-0.3, 0.4, 0.9]])
SLOPES = np.array([1.0, 0.0, -0.5])


def centre(label: np.ndarray, context: np.ndarray) -> np.ndarray:
    return SHIFTS[label] + context @ np.tile(SLOPES, (context.shape[1], 1))


@dataclass
class Drawn:
    """Rows of the model: what they were made of, and a flaw may change."""

    z: np.ndarray
    label: np.ndarray
    context: np.ndarray

    @property
    def numbers(self) -> np.ndarray:
        return self.z @ FACTOR.T + centre(self.label, self.context)

    def sheet(self) -> Sheet:
        return Sheet(np.round(self.numbers, 9), self.label[:, None], self.context, NAMES, ("kind",), (3,))


Flaw = Callable[[Drawn], None]


def draw(n: int, noise: np.random.Generator, context: np.ndarray | None = None) -> Drawn:
    given = np.zeros((n, 0 if context is None else 1)) if context is None else context
    return Drawn(noise.normal(size=(n, 3)), noise.choice(3, n, p=SHARES), given)


def latents(numbers: np.ndarray, label: np.ndarray, context: np.ndarray) -> np.ndarray:
    """What the model makes of rows."""
    return np.linalg.solve(FACTOR, (numbers - centre(label, context)).T).T


def evidence(
    n: int, seed: int, flaw: Flaw | None = None, conditional: bool = False, samples: int = 2000, copies: bool = False
) -> Evidence:
    """Rows that come from the model but for a flaw, beside what is known of the model."""
    noise = np.random.default_rng(seed)
    context = noise.exponential(size=(n, 1)) if conditional else None
    rows = draw(n, noise, context)
    if flaw is not None:
        flaw(rows)
    training = draw(n, noise, context)
    if conditional:
        assert context is not None
        drawn = draw(4 * n, noise, np.repeat(context, 4, axis=0))
    else:
        drawn = draw(samples, noise)
    sheet = drawn.sheet()
    if copies:
        which = noise.integers(n, size=len(drawn.z))
        copied = training.sheet().take(which)
        sheet = replace(copied, numbers=copied.numbers + 0.1 * noise.normal(size=copied.numbers.shape))
    return Evidence(
        rows=rows.sheet(),
        latents=latents(rows.numbers, rows.label, rows.context),
        latent_columns=NAMES,
        given_modelled=[("kind", features_of_labels(rows.label))],
        given_context=[("t", features_of_numbers(rows.context[:, 0]))] if conditional else [],
        samples=sheet,
        training=training.sheet(),
        conditional=conditional,
    )
