"""One table over the whole registry: a transform is tested by being registered."""

from __future__ import annotations

import copy
from functools import partial
from typing import get_args

import pyro.distributions as dist
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from flowcli.transforms import registry
from flowcli.transforms.bijection import Bijection

from .cases import Case, State, all_cases, perturb

CASES = all_cases((1, 5))
# One column against one; of what takes a single column, two show nothing that five do not.
CASES += [case for case in all_cases((2,)) if registry.min_features(case.entry.name, case.parameters) == 2]
# Of many columns the defaults alone.
CASES += [case for case in all_cases((12,), varied=()) if not case.context_features]
# Whatever is the business of a module rather than of its map, one column and several show; what is in the place of
# the transformer shows nothing more.
FEW_CASES = all_cases((1, 4), varied=("kind", "direction", "split", "order"))
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
# The rows of a batch share a solver's steps.
SOLVER = 1e-6


def of_cases(cases: list[Case]) -> pytest.MarkDecorator:
    # In the scope of the module, the tests of one case follow each other: what it has trained is still there.
    return pytest.mark.parametrize("case", cases, ids=str, scope="module")


every_case = of_cases(CASES)
few_cases = of_cases(FEW_CASES)
# The others go one way only, as their entries say.
both_ways = of_cases([case for case in CASES if "none" not in case.costs])
every_state = pytest.mark.parametrize("state", get_args(State))


def directions(case: Case, transform: Bijection) -> list[partial[tuple[Tensor, Tensor]]]:
    """The directions that the entry offers, each as a function of value and context."""
    scoring, sampling = case.costs
    offered = [(sampling, transform.forward_and_log_det), (scoring, transform.inverse_and_log_det)]
    return [partial(direction) for cost, direction in offered if cost != "none"]


@every_state
@both_ways
@torch.no_grad()
def test_round_trip_both_ways(case: Case, state: State) -> None:
    transform = case.build(state=state)
    for dtype, tolerance in TOLERANCE.items():
        transform = transform.to(dtype)
        # In float32 inputs are of the size that networks see: with wider ones slopes of e^-7 come about, and no
        # arithmetic of 24 bits brings those back to 1e-4.
        spread = 2.0 if dtype == torch.float64 else 1.0
        start, context = case.rows(32, dtype=dtype, spread=spread), case.context(32, dtype=dtype)
        there, back = transform.forward_and_log_det, transform.inverse_and_log_det
        for first, second in ((there, back), (back, there)):
            middle, log_det = first(start, context)
            end, log_det_back = second(middle, context)
            assert end.dtype == log_det.dtype == dtype
            assert ((end - start).abs() / (1 + start.abs())).max() < tolerance, dtype
            if dtype == torch.float64:
                torch.testing.assert_close(log_det, -log_det_back, atol=1e-8, rtol=1e-8)


@every_state
@every_case
def test_log_determinant_is_autograds(case: Case, state: State) -> None:
    transform = case.build(state=state)
    value, context = case.rows(4), case.context(4)
    for direction in directions(case, transform):
        jacobian = torch.autograd.functional.jacobian(
            lambda v, f=direction: f(v, context)[0].sum(0), value, vectorize=True
        )
        expected = torch.linalg.slogdet(jacobian.transpose(0, 1)).logabsdet
        log_det = direction(value, context)[1]
        assert log_det.shape == (4,)
        torch.testing.assert_close(log_det, expected, atol=1e-8, rtol=1e-8)
        if case.entry.volume_preserving:
            torch.testing.assert_close(expected, torch.zeros(4, dtype=torch.float64), atol=1e-9, rtol=0)
            assert (log_det == 0).all()


@few_cases
def test_every_parameter_gets_a_gradient(case: Case) -> None:
    transform = case.build()
    if not list(transform.parameters()):
        pytest.skip("no weights")
    value, context = case.rows(64), case.context(64)
    weights = case.rows(64, seed=5)
    for direction in directions(case, transform):
        transform.zero_grad(set_to_none=True)
        result, log_det = direction(value, context)
        ((weights * result).sum() + (log_det * log_det).sum()).backward()
        for name, parameter in transform.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            # With one column, what belongs to the columns before it has nothing to do.
            assert case.features == 1 or parameter.grad.any(), name


@of_cases([case for case in CASES if case.entry.starts_at_identity])
@torch.no_grad()
def test_starts_at_the_identity(case: Case) -> None:
    transform = case.build(state="built")
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        transform = transform.to(dtype)
        value, context = case.rows(64, dtype=dtype), case.context(64, dtype=dtype)
        for direction in directions(case, transform):
            result, log_det = direction(value, context)
            torch.testing.assert_close(result, value, atol=tolerance, rtol=tolerance)
            torch.testing.assert_close(log_det, torch.zeros_like(log_det), atol=case.features * tolerance, rtol=0)


@few_cases
@torch.no_grad()
def test_state_travels(case: Case) -> None:
    # Random permutations and splits must travel with the weights.
    transform, other = case.build(seed=3), case.build(seed=4)
    value, context = case.rows(8), case.context(8)
    # As in a model file.
    other.load_state_dict(load(save(transform.state_dict())))
    for one, two in zip(directions(case, transform), directions(case, other), strict=True):
        for expected, found in zip(one(value, context), two(value, context), strict=True):
            assert torch.equal(expected, found)


@few_cases
@torch.no_grad()
def test_no_stale_value_after_a_step(case: Case) -> None:
    transform = case.build()
    if not list(transform.parameters()):
        pytest.skip("no weights")
    value, context = case.rows(8), case.context(8)
    earlier = [[t.clone() for t in direction(value, context)] for direction in directions(case, transform)]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(9)
        perturb(transform)
    fresh = case.build(seed=8)
    fresh.load_state_dict(transform.state_dict())
    for direction, reference, before in zip(directions(case, transform), directions(case, fresh), earlier, strict=True):
        # The same tensor object as before: an identity-keyed cache would answer with the old weights.
        after = direction(value, context)
        for found, expected in zip(after, reference(value.clone(), context), strict=True):
            assert torch.equal(found, expected)
        assert case.features == 1 or not torch.equal(before[0], after[0])


@of_cases(all_cases((2,), varied=("kind", "direction", "split", "order")))
def test_runs_on_another_device(case: Case) -> None:
    # The meta device needs no hardware, and refuses what was left on the CPU.
    transform = case.build(dtype=torch.float32).to("meta")
    for tensor in [*transform.parameters(), *transform.buffers()]:
        assert tensor.device.type == "meta"
    value = torch.empty(4, case.features, device="meta", requires_grad=True)
    context = torch.empty(4, case.context_features, device="meta") if case.context_features else None
    for direction in directions(case, transform):
        result, log_det = direction(value, context)
        assert (result.device.type, log_det.device.type) == ("meta", "meta")
        assert (result.shape, log_det.shape) == ((4, case.features), (4,))
        (result.sum() + log_det.sum()).backward()
        for parameter in transform.parameters():
            assert parameter.grad is None or parameter.grad.device.type == "meta"


@few_cases
@torch.no_grad()
def test_any_batch_shape(case: Case) -> None:
    transform = case.build()
    value, context = case.rows(6), case.context(6)
    # A differential equation's steps adapt to all rows of a batch, each of which is solved to a tolerance.
    tolerance = SOLVER if "ODE solver" in case.costs else 1e-12
    for direction in directions(case, transform):
        expected, expected_log_det = direction(value, context)
        for batch in ((2, 3), (6, 1)):
            shaped = None if context is None else context.reshape(*batch, -1)
            result, log_det = direction(value.reshape(*batch, -1), shaped)
            assert log_det.shape == batch
            torch.testing.assert_close(result.reshape(6, -1), expected, atol=tolerance, rtol=tolerance)
            torch.testing.assert_close(log_det.reshape(6), expected_log_det, atol=tolerance, rtol=tolerance)
        # Rows alone: the first, and the last, which is far out.
        for row in (0, 5):
            result, log_det = direction(value[row], None if context is None else context[row])
            assert log_det.shape == ()
            torch.testing.assert_close(result, expected[row], atol=tolerance, rtol=tolerance)
            torch.testing.assert_close(log_det, expected_log_det[row], atol=tolerance, rtol=tolerance)
        empty, log_det = direction(value[:0], None if context is None else context[:0])
        assert (empty.shape, log_det.shape) == ((0, case.features), (0,))


@few_cases
@torch.no_grad()
def test_deepcopy_is_independent(case: Case) -> None:
    transform = case.build()
    value, context = case.rows(8), case.context(8)
    twin = copy.deepcopy(transform)
    expected = [direction(value, context) for direction in directions(case, transform)]
    for parameter in transform.parameters():
        parameter.zero_()
    for direction, (result, log_det) in zip(directions(case, twin), expected, strict=True):
        found, found_log_det = direction(value, context)
        assert torch.equal(found, result)
        assert torch.equal(found_log_det, log_det)


@of_cases([case for case in FEW_CASES if not case.context_features])
@torch.no_grad()
def test_works_in_pyro(case: Case) -> None:
    transform = case.build()
    base = dist.Normal(torch.zeros(case.features, dtype=torch.float64), 1.0).to_event(1)
    flow = dist.TransformedDistribution(base, [transform])
    if case.costs[1] != "none":
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            assert flow.sample((7,)).shape == (7, case.features)
    if case.costs[0] == "none":
        return
    x = case.rows(16)
    z, log_det = transform.inverse_and_log_det(x)
    expected = base.log_prob(z) + log_det
    torch.testing.assert_close(flow.log_prob(x), expected, atol=1e-8, rtol=1e-8)
    if "none" not in case.costs:
        backwards = dist.TransformedDistribution(base, [transform.inv])
        y, log_det = transform.forward_and_log_det(x)
        torch.testing.assert_close(backwards.log_prob(x), base.log_prob(y) + log_det, atol=1e-8, rtol=1e-8)


@of_cases([case for case in FEW_CASES if not case.context_features and "none" not in case.costs])
@torch.no_grad()
def test_no_stale_score_in_pyro(case: Case) -> None:
    transform = case.build()
    if not list(transform.parameters()):
        pytest.skip("no weights")
    base = dist.Normal(torch.zeros(case.features, dtype=torch.float64), 1.0).to_event(1)
    flow = dist.TransformedDistribution(base, [transform])
    x = case.rows(8)
    # What a cache would remember: these tensor objects.
    y, before = transform(x), flow.log_prob(x)
    transform.log_abs_det_jacobian(x, y)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(9)
        perturb(transform)
    fresh = case.build(seed=8)
    fresh.load_state_dict(transform.state_dict())
    reference = dist.TransformedDistribution(base, [fresh])
    found, after = flow.log_prob(x), transform(x)
    assert torch.equal(found, reference.log_prob(x.clone()))
    expected, log_det = fresh.forward_and_log_det(x.clone())
    assert torch.equal(after, expected)
    assert torch.equal(transform.log_abs_det_jacobian(x, after), log_det)
    assert case.features == 1 or not torch.equal(found, before)
