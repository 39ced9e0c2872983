"""Linear maps: orthogonal where they say so, and every column reached."""

from __future__ import annotations

import pytest
import torch

from flowcli.transforms.linear import Givens, LULinear, Orthogonal, butterfly_strides

from .cases import perturb


def matrix(transform: torch.nn.Module, features: int) -> torch.Tensor:
    origin = torch.zeros(1, features, dtype=torch.float64)
    columns = torch.eye(features, dtype=torch.float64)
    with torch.no_grad():
        return (transform.forward_and_log_det(columns)[0] - transform.forward_and_log_det(origin)[0]).mT


@pytest.mark.parametrize("features", [2, 3, 5, 8, 11, 16])
def test_givens_is_orthogonal_and_mixes_all(features):
    torch.manual_seed(features)
    transform = Givens(features, 0).double()
    torch.nn.init.uniform_(transform.angles, 0.3, 1.2)
    found = matrix(transform, features)
    torch.testing.assert_close(found @ found.mT, torch.eye(features, dtype=torch.float64), atol=1e-12, rtol=0)
    assert (found.abs() > 1e-6).all()
    assert torch.linalg.det(found) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("features", "layers"), [(2, 1), (4, 2), (8, 3), (64, 6)])
def test_givens_takes_log2_layers_for_powers_of_two(features, layers):
    assert len(butterfly_strides(features)) == layers


@pytest.mark.parametrize("norm", [1, 8, 40])
def test_orthogonal_stays_so_at_any_norm(norm):
    torch.manual_seed(0)
    transform = Orthogonal(5, 0).double()
    transform.generator.data = torch.randn(5, 5, dtype=torch.float64) * norm
    rotation = transform.rotation()
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(5, dtype=torch.float64), atol=1e-10, rtol=0)


def test_lu_is_its_factors_and_their_determinant():
    transform = LULinear(6, 0).double()
    torch.manual_seed(0)
    perturb(transform)
    found = matrix(transform, 6)
    log_det = transform.forward_and_log_det(torch.zeros(1, 6, dtype=torch.float64))[1]
    assert torch.linalg.slogdet(found)[1] == pytest.approx(log_det.item(), abs=1e-12)
    assert (torch.tril(found, -1).abs() > 0).any()
    assert (torch.triu(found, 1).abs() > 0).any()
