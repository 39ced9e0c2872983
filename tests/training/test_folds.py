"""Which rows each density of an ensemble leaves out, and that it learns nothing from them."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcli.training.ensemble import Ensemble
from flowcli.training.folds import Folds, folded_loss

from .cases import banana, density, rows

CPU = torch.device("cpu")


@st.composite
def partitions(draw: st.DrawFn) -> tuple[Folds, int]:
    n = draw(st.integers(2, 300))
    count = draw(st.integers(1, min(20, n)))
    numbers = draw(st.lists(st.integers(0, 25), min_size=1, max_size=8))
    return Folds.of(n, count, numbers, draw(st.integers(0, 2**63 - 1)), CPU), n


@given(partitions())
@settings(deadline=None, max_examples=60)
def test_every_row_is_in_one_part(case: tuple[Folds, int]) -> None:
    folds, n = case
    sizes = torch.bincount(folds.part, minlength=folds.count)
    assert len(folds.part) == n
    assert len(sizes) == folds.count
    assert int(sizes.max() - sizes.min()) <= 1
    # So many members leave out each row once.
    left_out = torch.cat([folds.left_out_by(member) for member in range(folds.count)])
    assert sorted(left_out.tolist()) == list(range(n))
    everywhere = folds.learns(torch.arange(n))
    assert everywhere.shape == (len(folds.numbers), n)
    for learns, member in zip(everywhere, folds.numbers.tolist(), strict=True):
        learned, rest = folds.learned_by(member), folds.left_out_by(member)
        assert sorted([*learned.tolist(), *rest.tolist()]) == list(range(n))
        assert learns.nonzero().squeeze(-1).tolist() == learned.tolist()
        assert rest.tolist() == folds.left_out_by(member % folds.count).tolist()


@given(partitions(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=30)
def test_places_in_any_order(case: tuple[Folds, int], dice) -> None:
    folds, n = case
    places = torch.tensor([dice.randrange(n) for _ in range(10)])
    assert torch.equal(folds.learns(places), folds.learns(torch.arange(n))[:, places])


@given(partitions())
@settings(deadline=None, max_examples=30)
def test_rows_that_are_left_out(case: tuple[Folds, int]) -> None:
    folds, n = case
    numbers = torch.arange(2.0 * n).reshape(n, 2)
    found = folds.left_out(rows(numbers, torch.arange(n).unsqueeze(-1)))
    fewest = min(len(folds.left_out_by(member)) for member in folds.numbers.tolist())
    assert found.numbers.shape == (len(folds.numbers), fewest, 2)
    assert found.labels.shape == (len(folds.numbers), fewest, 1)
    assert found.context.shape == (len(folds.numbers), fewest, 0)
    for member, own in zip(folds.numbers.tolist(), found.labels[..., 0], strict=True):
        assert {*own.tolist()} <= {*folds.left_out_by(member).tolist()}
        assert len({*own.tolist()}) == fewest
    assert torch.equal(found.numbers[..., 0], 2.0 * found.labels[..., 0])


def test_the_partition_is_the_seeds() -> None:
    one, other_members, other = (
        Folds.of(100, 5, numbers, seed, CPU) for numbers, seed in (([0, 1], 3), ([4], 3), ([0, 1], 4))
    )
    assert torch.equal(one.part, other_members.part)
    assert not torch.equal(one.part, other.part)


def gradients(ensemble: Ensemble, numbers: torch.Tensor, folds: Folds) -> list[torch.Tensor]:
    there, log_det = ensemble.on_real_line(rows(numbers))
    loss = folded_loss(ensemble.log_prob_there(there, log_det), folds.learns(torch.arange(len(numbers))))
    return [*torch.autograd.grad(loss, [*ensemble.parameters()])]


def test_a_gradient_does_not_depend_on_rows_that_are_left_out() -> None:
    table = banana(31, 0)
    folds = Folds.of(31, 3, [0, 1, 2, 4], 0, CPU)
    ensemble = Ensemble([density(table, seed=seed).double() for seed in range(4)])
    numbers = table.numbers.double()
    before = gradients(ensemble, numbers, folds)
    for part in range(3):
        changed = torch.where((folds.part == part).unsqueeze(-1), 3 - 2 * numbers, numbers)
        after = gradients(ensemble, changed, folds)
        for member, number in enumerate(folds.numbers.tolist()):
            same = all(torch.equal(one[member], two[member]) for one, two in zip(before, after, strict=True))
            assert same == (number % 3 == part), (part, number)
    # What it learns from counts as if there were nothing else.
    for member, number in enumerate(folds.numbers.tolist()):
        own = rows(numbers[folds.learned_by(number)])
        alone = density(table, seed=member).double()
        (-alone.log_prob(own).mean() / 4).backward()
        for (name, parameter), gradient in zip(alone.named_parameters(), before, strict=True):
            assert parameter.grad is not None, name
            torch.testing.assert_close(parameter.grad, gradient[member], rtol=1e-9, atol=1e-12)
