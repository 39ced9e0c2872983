"""Gradients that are added up by torch; several real processes are in ``tests/cli/test_processes.py``."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import distributed

from flowcli.config.schema import FlowConfig
from flowcli.flows.build import build_density
from flowcli.flows.density import Density
from flowcli.flows.layout import Layout
from flowcli.flows.rows import Rows
from flowcli.training.compiling import plain_loss
from flowcli.training.shared_step import SharedStep


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of one process."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.fixture
def density() -> Density:
    flow = FlowConfig.model_validate({"transforms": [{"affine_autoregressive": {"hidden": [8]}}, "triangular_affine"]})
    return build_density(flow, Layout(numbers=("a", "b")))


def gradients(density: Density) -> list[torch.Tensor | None]:
    return [parameter.grad for parameter in density.parameters()]


@pytest.mark.usefixtures("alone")
def test_gradients_and_notes(density: Density, capfd: pytest.CaptureFixture[str]) -> None:
    empty = torch.empty(5, 0)
    rows, log_det = Rows(torch.randn(5, 2), empty.long(), empty, empty), torch.zeros(5)
    loss = plain_loss(density.log_prob_there)
    value = loss(rows, log_det)
    expected = torch.autograd.grad(value, list(density.parameters()))
    step = SharedStep(list(density.parameters()), notes=2, processes=1)
    for seconds in (0.5, 1.5):  # the gradients of a step begin anew
        told = step.differentiate(lambda: loss(rows, log_det), [1.0, seconds])
        torch.testing.assert_close(told, torch.tensor([value.item(), 1.0, seconds]), rtol=1e-6, atol=0)
        for found, wanted in zip(gradients(density), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("value", [0.0, math.nan])
def test_a_loss_that_depends_on_no_parameter(density: Density, value: float) -> None:
    """A part of a batch without rows, or one that could not be computed."""
    told = SharedStep(list(density.parameters()), notes=1, processes=1).differentiate(
        lambda: torch.tensor(value), [0.0]
    )
    torch.testing.assert_close(told, torch.tensor([value, 0.0]), equal_nan=True)
    assert all(gradient is None or not gradient.any() for gradient in gradients(density))
