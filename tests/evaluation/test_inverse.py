"""How exactly rows come back from their latents."""

import math

import pytest
import torch
from training.cases import banana, density

from flowcli.evaluation.inverse import LARGEST_INVERSE_ERROR, inverse_errors
from flowcli.flows.density import TableDensity
from flowcli.flows.rows import Rows
from flowcli.transforms.triangular import TriangularAffine


def doubled(rows: Rows) -> Rows:
    return Rows(rows.numbers.double(), rows.labels, rows.ordinals.double(), rows.context.double())


def test_a_spline_comes_back() -> None:
    rows = banana(200, 0)
    errors = inverse_errors(density(rows).double(), doubled(rows))
    assert len(errors) == 2
    assert max(errors) < 1e-9


def steep(rows: Rows, slope: float) -> TableDensity:
    """A map whose second latent holds the first number, so many times."""
    built = density(rows, "triangular_affine").double()
    part = next(module for module in built.modules() if isinstance(module, TriangularAffine))
    with torch.no_grad():
        part.below_diagonal.fill_(slope)
    return built


def test_a_map_that_loses_digits_is_found() -> None:
    rows = banana(200, 0)
    # A float64 has 16 digits.
    first, second = inverse_errors(steep(rows, 1e14), doubled(rows))
    assert first < 1e-9
    assert LARGEST_INVERSE_ERROR < second < 1
    exact = (1e14 * rows.numbers[:, 0].double()).abs().max() * 2**-53
    assert second == pytest.approx(float(exact), rel=3)


def test_what_does_not_come_back_is_infinitely_far() -> None:
    rows = banana(200, 0)
    assert inverse_errors(steep(rows, 1e308), doubled(rows))[1] == math.inf
