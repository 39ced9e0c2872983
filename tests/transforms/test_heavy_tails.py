"""Columns with heavy tails, mapped and as they were."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from flowcli.flows.default import default_mixture
from flowcli.flows.layout import Layout
from flowcli.transforms.heavy_tails import KeptTails
from flowcli.transforms.support import Support
from flowcli.transforms.supports import Supports
from tests.model.cases import ALL_ROWS, fit

SUPPORTS = [Support("arcsinh", center=0.4, spread=1.7, unit=2.5), Support(unit=3.0), Support("log", center=1.0)]


@settings(deadline=None)
@given(u=st.floats(-1e8, 1e8))
def test_it_undoes_the_map(u: float):
    numbers = torch.tensor([[u, 2.0, 0.25]], dtype=torch.float64)
    supports, kept = Supports(SUPPORTS), KeptTails(SUPPORTS)
    real, log_slopes = supports.to_real(numbers)
    as_it_was, log_det = kept.inverse_and_log_det(real)
    torch.testing.assert_close(as_it_was[0, 0], numbers[0, 0], rtol=1e-9, atol=1e-9)
    # The other columns stay as they are on the real line.
    assert as_it_was[0, 1:].tolist() == real[0, 1:].tolist()
    # Of the mapped column, the unit alone is left of the slope.
    torch.testing.assert_close(
        log_slopes[0, 0] + log_det[0], -torch.log(torch.tensor(2.5, dtype=torch.float64)), rtol=0, atol=1e-9
    )
    back, log_det_back = kept.forward_and_log_det(as_it_was)
    torch.testing.assert_close(back, real, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_det_back, -log_det, rtol=1e-9, atol=1e-9)


def test_its_slope_is_autograds():
    kept = KeptTails(SUPPORTS)
    x = torch.linspace(-4, 4, 3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda row: kept.inverse_and_log_det(row)[0], x)
    torch.testing.assert_close(
        kept.inverse_and_log_det(x)[1], torch.linalg.slogdet(jacobian)[1], rtol=1e-12, atol=1e-12
    )


def test_what_is_absent_has_no_part():
    kept = KeptTails(SUPPORTS)
    x = torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.float64)
    z, log_det = kept.inverse_and_log_det(x, None, torch.tensor([[False, True, True]]))
    assert z.tolist() == x.tolist()
    assert log_det.tolist() == [0.0]


@pytest.fixture(scope="module")
def funnel() -> pd.DataFrame:
    """A scale that is another column's exponential."""
    random = np.random.default_rng(0)
    neck = random.normal(0, 1.5, 2000)
    return pd.DataFrame({"neck": neck, "a": np.exp(neck / 2) * random.normal(size=2000)})


def test_a_normal_of_the_columns_as_they_are_is_the_closed_form(funnel: pd.DataFrame):
    settings = ("flow.transforms=[triangular_affine]", "flow.heavy_tails=kept", "train.epochs=0")
    model = fit(funnel, *ALL_ROWS, *settings).model
    assert [column.map for column in model.header.columns] == ["none", "arcsinh"]
    rows = funnel.to_numpy()
    expected = multivariate_normal(rows.mean(0), np.cov(rows.T, ddof=0)).logpdf(rows)
    np.testing.assert_allclose(model.log_prob(funnel), expected, rtol=1e-4, atol=1e-3)


def test_the_default_tries_both():
    def kept(*supports: Support) -> list[str]:
        mixture = default_mixture(2000, Layout(numbers=tuple("abc"[: len(supports)]), supports=supports)).mixture or []
        return [member.summary for member in mixture if member.heavy_tails == "kept"]

    assert kept(*SUPPORTS) == ["5 x affine_autoregressive, permute, heavy tails kept"]
    assert not kept(*SUPPORTS[1:], Support())
    # One column's tail comes from no other.
    assert not kept(SUPPORTS[0])
