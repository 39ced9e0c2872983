"""The continuous-time flow: its exact trace, its solutions, and what it does with fields that nobody can follow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flowcli.errors import ModelError
from flowcli.transforms.continuous import Continuous, Field

from .cases import perturb

ACTIVATIONS = ("tanh", "softplus")


def field(features: int, context_features: int, hidden: list[int], activation: str) -> Field:
    torch.manual_seed(0)
    built = Field(features, context_features, hidden, activation)
    perturb(built)
    return built.double()


def flow(features: int = 3, activation: str = "tanh", size: float = 1.0) -> Continuous:
    torch.manual_seed(0)
    built = Continuous(features, 0, hidden=[32, 32], activation=activation)
    perturb(built, size)
    return built.double()


def linear(matrix: Tensor) -> Continuous:
    """A field without hidden layers: ``matrix @ z`` where squashing does nothing yet."""
    built = Continuous(len(matrix), 0, hidden=[], activation="tanh").to(matrix.dtype)
    with torch.no_grad():
        built.field.output.weight[:, : len(matrix)] = matrix
    return built


def rows(n: int, features: int, spread: float = 2.0) -> Tensor:
    return torch.randn(n, features, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * spread


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [[], [8], [8, 8], [8, 5, 7]], ids=str)
@pytest.mark.parametrize(("features", "context_features"), [(1, 0), (4, 0), (4, 2)])
def test_the_divergence_is_the_jacobians_trace(features, context_features, hidden, activation):
    built = field(features, context_features, hidden, activation)
    time = torch.tensor(0.3, dtype=torch.float64)
    # Far out too, where squashing and softplus have other slopes than near zero.
    z = rows(6, features, spread=15.0)
    context = rows(6, context_features) if context_features else None
    _, divergence = built(time, z, context)
    jacobian = torch.autograd.functional.jacobian(lambda value: built(time, value, context)[0].sum(0), z)
    torch.testing.assert_close(divergence, torch.einsum("ini->n", jacobian), atol=1e-12, rtol=1e-12)


def test_the_field_starts_at_zero():
    velocity, divergence = Field(3, 2, [8], "tanh")(torch.tensor(0.5), torch.randn(4, 3), torch.randn(4, 2))
    assert not velocity.any()
    assert not divergence.any()


def test_a_linear_field_is_the_matrix_exponential():
    matrix = torch.tensor([[0.5, -2.0, 0.0], [2.0, 0.3, 1.0], [0.0, 0.4, -1.5]], dtype=torch.float64)
    z = rows(5, 3, spread=1e-3)
    x, log_det = linear(matrix).forward_and_log_det(z)
    # Squashing at 1e-3 is off by its cube over 300, and so the solver's tolerance is what is seen.
    torch.testing.assert_close(x, z @ torch.matrix_exp(matrix).mT, atol=1e-8, rtol=0)
    torch.testing.assert_close(log_det, matrix.trace().expand(5), atol=1e-6, rtol=0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_steep_fields_are_inverted(activation):
    transform = flow(activation=activation, size=2.0)
    z = rows(50, 3)
    with torch.inference_mode():
        x, log_det = transform.forward_and_log_det(z)
        back, back_log_det = transform.inverse_and_log_det(x)
    assert log_det.abs().max() > 1
    torch.testing.assert_close(back, z, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(back_log_det, -log_det, atol=1e-6, rtol=1e-6)


def test_a_row_does_not_hang_on_those_beside_it():
    transform = flow(size=2.0)
    z = rows(40, 3)
    with torch.inference_mode():
        together = transform.inverse_and_log_det(z)
        alone = [transform.inverse_and_log_det(row) for row in z]
    torch.testing.assert_close(torch.stack([value for value, _ in alone]), together[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.stack([log_det for _, log_det in alone]), together[1], atol=1e-6, rtol=0)


def test_single_precision_is_good_enough_to_train():
    transform, z = flow(), rows(50, 3)
    with torch.inference_mode():
        exact = transform.inverse_and_log_det(z)
        found = transform.float().inverse_and_log_det(z.float())
    for one, two in zip(exact, found, strict=True):
        torch.testing.assert_close(one.float(), two, atol=1e-3, rtol=1e-3)


def test_far_rows_move_no_further_than_near_ones():
    transform = flow()
    far = torch.tensor([[1e3, -1e6, 1e9]], dtype=torch.float64)
    with torch.inference_mode():
        x, log_det = transform.forward_and_log_det(far)
        near = transform.forward_and_log_det(rows(1000, 3, spread=10.0))[0] - rows(1000, 3, spread=10.0)
    assert (x - far).abs().max() < 10 * near.abs().max()
    # Squashing is flat there.
    torch.testing.assert_close(log_det, torch.zeros(1, dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
def test_a_row_that_is_not_finite_spoils_itself_alone(bad):
    transform, z = flow(), rows(5, 3)
    expected = transform.inverse_and_log_det(z[:4])
    z[4, 1] = bad
    value, log_det = transform.inverse_and_log_det(z)
    torch.testing.assert_close(value[:4], expected[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(log_det[:4], expected[1], atol=1e-6, rtol=0)
    assert value[4].isnan().all()
    assert log_det[4].isnan()


def test_fields_that_cannot_be_followed_say_so():
    spinning = linear(torch.tensor([[0.0, 1e5], [-1e5, 0.0]]))
    broken = linear(torch.full((2, 2), float("nan")))
    for transform in (spinning, broken):
        for direction in (transform.forward_and_log_det, transform.inverse_and_log_det):
            with pytest.raises(ModelError, match=r"ffjord.*too steep.*train\.learning_rate") as refused:
                direction(torch.ones(3, 2))
            assert "\n" not in str(refused.value)
