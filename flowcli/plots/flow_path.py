"""Where a model's rows are after each of its transforms, from base to data, seen along two of its columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from flowcli.flows.density import TableDensity
from flowcli.flows.factor import are_present
from flowcli.flows.rows import Rows
from flowcli.transforms.bijection import Bijection, Skipping
from flowcli.transforms.permute import Permute

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """Two coordinates of rows ``(n, 2)`` after a transform."""

    name: str
    points: Floats


def factor_with(density: TableDensity, pair: tuple[int, int]) -> int | None:
    """The factor whose flow has both of these number columns, by their positions; ``None`` if there is none."""
    return next((at for at, place in enumerate(density.places) if {*pair} <= {*place.numbers}), None)


@torch.inference_mode()
def flow_path(density: TableDensity, factor: int, pair: tuple[int, int], rows: Rows) -> list[Step]:
    """The steps of a factor's flow from base to data, the last in units of the encoder's numbers.

    A permutation moves no row: it has no step, and the coordinates before it are those that it takes to the pair's
    places. Rows without a number in one of the two columns are left out.

    Args:
        pair: positions of two number columns of the factor among the density's.
        rows: as the density draws them.
    """
    present = are_present(rows.labels, density.states)
    if present is not None:
        there = present[:, list(pair)].all(dim=1)
        rows = rows.take(there.nonzero().squeeze(1))
    real = density.on_real_line(rows)[0]
    numbers = density.places[factor].numbers
    at = tuple(numbers.index(column) for column in pair)
    steps = [Step("data", rows.numbers[:, list(pair)].cpu().numpy())]
    after = real.numbers[:, list(pair)]
    for transform, z, _ in density.walk(real, factor):
        if not isinstance(transform, Permute):
            steps.append(Step(transform.registered_name, after.cpu().numpy()))
        at = _before(transform, at, len(numbers))
        after = z[:, list(at)]
    steps.append(Step("base", after.cpu().numpy()))
    return steps[::-1]


def _before(transform: Bijection, at: tuple[int, ...], features: int) -> tuple[int, ...]:
    """Where what a transform takes to these places comes from."""
    if not isinstance(transform, Skipping):
        return at
    single = torch.nn.functional.one_hot(torch.tensor(at), features).bool()
    return tuple(int(place) for place in transform.moved(single, inverse=True).int().argmax(dim=1))
