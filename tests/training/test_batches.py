"""Every row once an epoch, in an order of its own, also where rows are read in blocks."""

from __future__ import annotations

import itertools

import pytest
import torch

import flowcli.training.batches as batches
from flowcli.flows.rows import Rows
from flowcli.training.batches import Batches
from flowcli.training.shared_rows import some_of

from .cases import rows

CPU = torch.device("cpu")


def numbered(n: int) -> Rows:
    return rows(torch.arange(float(n)).unsqueeze(-1))


def seen(source: Batches, epoch: int, first: int = 0) -> list[list[int]]:
    return [batch.rows.numbers[:, 0].long().tolist() for batch in source.of(epoch, first)]


@pytest.fixture(params=[False, True], ids=["kept", "in blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a hundred rows are a large table."""
    if request.param:
        monkeypatch.setattr(batches, "BLOCK_ROWS", 7)
        monkeypatch.setattr(batches, "BLOCKS_MIXED", 4)
    return bool(request.param)


@pytest.mark.parametrize("n", [1, 5, 27, 28, 29, 103, 112])
def test_every_row_is_seen_once_an_epoch(blocks: bool, n: int) -> None:
    source = Batches(numbered(n), 25, 0, CPU)
    epochs = [seen(source, epoch) for epoch in (1, 2, 3)]
    for epoch in epochs:
        assert sorted(itertools.chain.from_iterable(epoch)) == list(range(n))
        assert len(epoch) == source.steps
        assert max(map(len, epoch)) <= 25
    if n > 5:
        assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("n", [5, 28, 29, 103, 112])
def test_places_are_those_in_the_table(blocks: bool, n: int) -> None:
    table = numbered(n)
    for epoch in (1, 2):
        for batch in Batches(table, 10, 0, CPU).of(epoch):
            assert torch.equal(batch.rows.numbers, table.numbers[batch.places])


def test_an_epoch_goes_on_from_any_step(blocks: bool) -> None:
    source = Batches(numbered(103), 10, 0, CPU)
    whole = seen(source, 4)
    for first in range(source.steps + 1):
        assert seen(Batches(numbered(103), 10, 0, CPU), 4, first) == whole[first:]


def test_the_order_is_the_seeds(blocks: bool) -> None:
    one, same, other = (seen(Batches(numbered(103), 10, seed, CPU), 1) for seed in (0, 0, 1))
    assert one == same != other


def test_blocks_come_from_all_over_a_sorted_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BLOCK_ROWS", 10)
    monkeypatch.setattr(batches, "BLOCKS_MIXED", 25)
    source = Batches(numbered(100_000), 100, 0, CPU)
    means = torch.tensor([float(batch.rows.numbers.mean()) for batch in source.of(1)])
    # A batch has rows of 25 blocks: its mean has a standard error of 100,000 / sqrt(12 * 25) at the most.
    assert (means - 50_000).abs().max() < 5 * 100_000 / (12 * 25) ** 0.5
    # Batches of neighbouring blocks would be anywhere.
    assert means.std() < 1.5 * 100_000 / (12 * 25) ** 0.5


def test_rows_spread_evenly() -> None:
    assert some_of(numbered(10), 3).numbers[:, 0].tolist() == [0, 4, 8]
    assert some_of(numbered(3), 10).numbers[:, 0].tolist() == [0, 1, 2]
