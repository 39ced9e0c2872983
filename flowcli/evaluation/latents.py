"""Latents for diagnosis: independent standard normals if the model is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from flowcli.chunks import CHUNK
from flowcli.evaluation.p_values import midranks
from flowcli.flows.density import Density
from flowcli.flows.rows import Rows

Floats = npt.NDArray[np.float64]

# How often gridded columns are moved within their cells, and how many rows' densities may be computed for it.
SWEEPS = 8
MOST_EVALUATIONS = 400_000


@torch.inference_mode()
def normal_latents(density: Density, rows: Rows, noise: np.random.Generator) -> Floats:
    """Numbers ``(n, d)`` that are independent standard normals, whatever else is in the rows, if the model is right.

    NaN where a row has no number, and in the rows beyond those that there is time for. At a grid's points no latent is
    normal: a row stands for all that is rounded to it, and is taken to where in its cell the model may have drawn it.
    Where the density, or a base, is a mixture, the latents are those of one component, drawn from its posterior given
    the row: under the model the pair of row and component is then distributed as if the component had been drawn first,
    and its latents are exactly normal.
    """
    gridded = int((density.supports.step != 0).sum())
    most = MOST_EVALUATIONS // (SWEEPS * (gridded + 1)) if gridded else len(rows)
    found = np.full(rows.numbers.shape, np.nan)
    for start in range(0, min(most, len(rows)), CHUNK):
        part = _before_rounding(density, rows.slice(start, min(CHUNK, most - start)), noise)
        latent = density.normal_latents(part, noise)
        found[start : start + len(part)] = latent.cpu().numpy()
    return found


def _before_rounding(density: Density, rows: Rows, noise: np.random.Generator) -> Rows:
    """The rows where the model may have drawn them before they were rounded to their grids: at random, by its density.

    By Metropolis' rule, from the uniform distribution in the cells: all columns at once, then one after the other.
    """
    supports = density.supports
    columns = supports.step.nonzero().flatten().tolist()
    if not columns:
        return rows

    def uniform(*shape: int) -> torch.Tensor:
        return torch.from_numpy(noise.random(shape)).to(rows.numbers)

    centre, step = rows.numbers, supports.step.to(rows.numbers)
    moved = centre + step * (uniform(*centre.shape) - 0.5)
    rows = replace(rows, numbers=torch.where(supports.inside(moved), moved, centre))
    log_prob = density.log_prob(rows)
    for moving in [columns, *([column] for column in columns)] * SWEEPS:
        numbers = rows.numbers.clone()
        numbers[:, moving] = centre[:, moving] + step[moving] * (uniform(len(rows), len(moving)) - 0.5)
        inside = supports.inside(numbers).all(1)
        numbers = torch.where(inside.unsqueeze(1), numbers, rows.numbers)
        there = density.log_prob(replace(rows, numbers=numbers))
        accepted = inside & (torch.log(uniform(len(rows))) < there - log_prob)
        log_prob = torch.where(accepted, there, log_prob)
        rows = replace(rows, numbers=torch.where(accepted.unsqueeze(1), numbers, rows.numbers))
    return rows


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
