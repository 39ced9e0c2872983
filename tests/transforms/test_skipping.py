"""Rows that lack some of the columns: the map between those that are there."""

import pytest
import torch

from flowcli.config.distributions import BASES
from flowcli.flows.build import _build as build_part
from flowcli.flows.flow import Flow
from flowcli.transforms.bijection import Chain, Skipping
from flowcli.transforms.registry import build, entries
from transforms.cases import Case, all_cases, perturb

CASES = all_cases((3,))

PATTERNS = [[True, False, True], [False, True, True], [False, False, True], [True, True, True], [False, False, False]]
SKIPPING = [case for case in CASES if case.entry.skips_absent]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_catalogue_knows(case: Case):
    assert isinstance(case.build(), Skipping) == case.entry.skips_absent


@pytest.mark.parametrize("case", SKIPPING, ids=str)
@pytest.mark.parametrize("inverse", [False, True])
def test_absent_columns_take_no_part(case: Case, inverse: bool):
    transform = case.build(size=0.5)
    assert isinstance(transform, Skipping)
    there, back = (
        (transform.inverse_and_log_det, transform.forward_and_log_det)
        if inverse
        else (transform.forward_and_log_det, transform.inverse_and_log_det)
    )
    context = case.context()
    for pattern in PATTERNS:
        present = torch.tensor(pattern)
        moved = transform.moved(present, inverse=inverse)
        value = case.rows(2)[0] * present
        result, log_det = there(value, context, present)
        assert (result[~moved] == 0).all()
        jacobian = torch.autograd.functional.jacobian(lambda v, p=present: there(v, context, p)[0], value)
        square = jacobian[moved][:, present]
        expected = torch.linalg.slogdet(square)[1] if any(pattern) else torch.tensor(0.0).double()
        torch.testing.assert_close(log_det, expected, rtol=1e-8, atol=1e-8)
        returned, log_back = back(result, context, moved)
        torch.testing.assert_close(returned, value, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(log_back, -log_det, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("case", SKIPPING, ids=str)
def test_nothing_absent_changes_nothing(case: Case):
    transform = case.build()
    assert isinstance(transform, Skipping)
    rows, context = case.rows(9), case.context(9)
    everywhere = torch.ones(9, 3, dtype=torch.bool)
    for direction in (transform.forward_and_log_det, transform.inverse_and_log_det):
        for one, other in zip(direction(rows, context, everywhere), direction(rows, context), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [entry.name for entry in BASES if entry.domain == "real"])
def test_a_flow_is_a_density_over_what_is_there(name: str):
    """Of two columns, either alone, by quadrature: each pattern has a density of its own."""
    context = torch.full((1, 2), 0.3).double()
    parts = [
        build("autoregressive", 2, 2, {"transformer": {"sinh_arcsinh": {}}, **AUTOREGRESSIVE}),
        build("permute", 2, 2, {"order": "reverse"}),
        build("triangular_affine", 2, 2, {}),
    ]
    entry = next(entry for entry in BASES if entry.name == name)
    chosen = type("Choice", (), {"name": name, "parameters": _Dumped({p.name: p.default for p in entry.parameters})})
    base = build_part(chosen, 2, 2)
    flow = Flow(base, Chain(parts)).double()
    perturb(flow, 0.3)
    line = torch.linspace(-60, 60, 60_001).double()
    for column in (0, 1):
        present = torch.zeros(len(line), 2, dtype=torch.bool)
        present[:, column] = True
        rows = torch.zeros(len(line), 2).double()
        rows[:, column] = line
        density = torch.exp(flow.log_prob(rows, context.expand(len(line), -1), present)).detach()
        assert float(torch.trapezoid(density, line)) == pytest.approx(1, abs=1e-3)
        latent = flow.encode(rows, context.expand(len(line), -1), present)
        assert torch.isnan(latent).sum() == len(line)
        torch.testing.assert_close(flow.decode(latent, context.expand(len(line), -1), present), rows)


AUTOREGRESSIVE = {"hidden": [8], "activation": "tanh", "direction": "density", "order": "natural"}


class _Dumped(dict):
    def model_dump(self):
        return self


def test_the_start_of_a_linear_map_is_close_to_the_best():
    """With holes at random: the last column's regression is the best one, the others' nearly."""
    torch.manual_seed(0)
    mixing = torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0], [-0.5, 0.3, 0.4]]).double()
    rows = torch.randn(4000, 3).double() @ mixing.mT + torch.tensor([1.0, -2.0, 0.5]).double()
    present = torch.rand(4000, 3) > 0.3
    rows = torch.where(present, rows, 0.0)
    transform = build("triangular_affine", 3, 0, {}).double()
    assert isinstance(transform, Skipping)
    transform.initialize(rows, None, present)
    z, log_det = transform.inverse_and_log_det(rows, None, present)
    loss = (0.5 * (z * z).sum(-1) - log_det).mean()
    loss.backward()
    for name, parameter in transform.named_parameters():
        gradient = parameter.grad.tril(-1) if name == "below_diagonal" else parameter.grad
        assert gradient.abs().max() < 1e-2, name
        assert gradient[2].abs().max() < 1e-7, name


def test_every_elementwise_entry_and_every_base_skips():
    assert all(entry.skips_absent for entry in entries().values() if entry.transformer)
    assert all(entry.skips_absent for entry in BASES)
