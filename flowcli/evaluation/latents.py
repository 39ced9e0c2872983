"""Latents for diagnosis: independent standard normals if the model is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from flowcli.evaluation.p_values import midranks
from flowcli.flows.density import TableDensity
from flowcli.flows.rows import Rows

Floats = npt.NDArray[np.float64]

CHUNK = 4096


@torch.inference_mode()
def normal_latents(density: TableDensity, rows: Rows, noise: np.random.Generator) -> Floats:
    """Numbers ``(n, d)`` that are independent standard normals, whatever else is in the rows, if the model is right.

    NaN where a row has no number. Rows on a grid are spread over its steps, as in training: at the grid's points
    alone, no latent is normal. Where the density is a mixture, the latents are those of one component, which is drawn
    from its posterior given the row: under the model the pair of row and component is then distributed as if the
    component had been drawn first, and its latents are exactly normal. So it is done here for bases that are mixtures.
    """
    found = []
    for part in rows.chunks(CHUNK):
        uniforms = torch.from_numpy(noise.random(tuple(part.numbers.shape))).to(part.numbers)
        part = replace(part, numbers=density.supports.spread_over_steps(part.numbers, uniforms))
        found.append(density.to_normal(density.encode(part), part, noise).cpu().numpy())
    return np.concatenate(found)


def columns_of(latents: Floats, numbers: Floats, names: Sequence[str]) -> list[str]:
    """The column that each latent stands for best: pairs of the largest rank correlations, each column once.

    Args:
        latents: ``(n, d)``, NaN where a row has none.
        numbers: the rows' numbers, ``(n, d)``, NaN where a row has none.
    """
    one, other = _standard_ranks(latents), _standard_ranks(numbers)
    alike = np.abs(one.T @ other)
    found = [""] * len(names)
    for _ in names:
        latent, column = divmod(int(alike.argmax()), len(names))
        found[latent] = names[column]
        alike[latent, :] = alike[:, column] = -1
    return found


def _standard_ranks(values: Floats) -> Floats:
    """Of each column, ranks of mean 0 and length 1; 0 where there is none."""
    found = np.zeros_like(values)
    for column, its in zip(values.T, found.T, strict=True):
        there = ~np.isnan(column)
        if there.any():
            ranks = midranks(column[there])[0]
            ranks -= ranks.mean()
            its[there] = ranks / (np.linalg.norm(ranks) or 1.0)
    return found
