"""Log-densities in training as CUDA graphs: the same numbers and gradients, and no graph where there can be none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from flows.cases import layout
from torch import Tensor, nn

from flowcli.config.schema import FlowConfig
from flowcli.flows.build import build_density
from flowcli.flows.density import Density
from flowcli.flows.rows import Rows
from flowcli.training.cuda_graph import MOST_SHAPES, GraphedFunction, can_be_graphed, graphed_log_prob
from flowcli.training.ensemble import Ensemble
from flowcli.training.trainer import Training
from flowcli.transforms import registry

from .cases import banana, density, train_config

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

TRANSFORMS = [name for name, entry in registry.entries().items() if entry.domain == "real"]
# What fits of many steps are made of.
CAPTURED = {
    *("affine", "affine_autoregressive", "affine_coupling", "spline_autoregressive", "spline_coupling"),
    *("triangular_affine", "permute", "sinh_arcsinh", "householder"),
}


def some_rows(n: int, seed: int, labels: int = 0) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    numbers, context = (torch.randn(n, width, generator=generator) for width in (4, 2))
    codes = torch.randint(3, (n, labels), generator=generator)
    return Rows(numbers, codes, torch.empty(n, 0), context).to(torch.device("cuda"))


def told_and_gradients(log_prob: Any, of: Density, rows: Rows) -> list[Tensor]:
    value = log_prob(rows, torch.zeros(len(rows), device="cuda"))
    trained = [parameter for parameter in of.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(value.mean(), trained, allow_unused=True)
    return [value.detach().clone(), *(each.clone() for each in gradients if each is not None)]


def build(flow: dict[str, Any], labels: int = 0) -> Density:
    return build_density(FlowConfig.model_validate(flow), layout(4, [3] * labels, 2), 0).to("cuda")


def compare(built: Density, labels: int = 0) -> list[str]:
    """Graphed and plain log-densities of rows that were not captured, with weights that were not; what was told."""
    said: list[str] = []
    graphed = graphed_log_prob(built, said.append)
    for seed, n in enumerate((50, 50, 51, 50)):
        rows = some_rows(n, seed, labels)
        ours, plain = (told_and_gradients(each, built, rows) for each in (graphed, built.log_prob_there))
        assert len(ours) == len(plain)
        for one, other in zip(ours, plain, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            for parameter in built.parameters():
                parameter.add_(0.01)
    return said


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform(name: str) -> None:
    built = build({"transforms": [name, "affine"]})
    if can_be_graphed(built, torch.device("cuda")):
        said = compare(built)
        print(name, said)
        assert not (said and name in CAPTURED), said


@pytest.mark.parametrize("base", ["normal", "student_t", "gaussian_mixture"])
@pytest.mark.parametrize("labels", [0, 2])
def test_bases_and_labels(base: str, labels: int) -> None:
    assert compare(build({"base": base, "transforms": ["affine"]}, labels), labels) == []


def test_an_ensemble() -> None:
    members = [build_density(FlowConfig(transforms=["spline_coupling"]), layout(4, [], 2), k) for k in range(3)]
    assert compare(Ensemble(members).to("cuda")) == []  # type: ignore[arg-type]


def test_batches_of_two_sizes_train_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    place, said, weights = torch.device("cuda"), [], []  # type: ignore[var-annotated]
    for graphs in (True, False):
        if not graphs:
            monkeypatch.setattr("flowcli.training.trainer.can_be_graphed", lambda *_: False)
        config = train_config(epochs=4, batch_size=35)
        training = Training(density(banana(103, 0)).to(place), banana(103, 0), banana(30, 1).to(place), config, 0)
        training.run(on_detail=said.append)
        weights.append(training.best_weights)
    assert said == []
    for one, other in zip(*(each.values() for each in weights), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


class Doubled(nn.Module):
    """``x`` times a weight that is 2."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0, device="cuda"))
        self.calls = 0

    def plain(self, x: Tensor) -> Tensor:
        return x * self.weight

    def looks(self, x: Tensor) -> Tensor:
        return x * self.weight if float(x.sum()) > 0 else -x * self.weight

    def counts(self, x: Tensor) -> Tensor:
        """What a graph would have as it was."""
        self.calls += 1
        return x * self.weight * self.calls


@pytest.mark.parametrize(("which", "why"), [("looks", "Error"), ("counts", "off by")])
def test_what_cannot_be_captured_is_told_once_and_computed_as_it_is(which: str, why: str) -> None:
    said: list[str] = []
    module = Doubled()
    graphed = GraphedFunction(module, getattr(module, which), said.append)
    for n in (3, 4, 5):
        x = torch.arange(n, device="cuda").float()
        result = graphed(x)
        if which == "looks":
            torch.testing.assert_close(result, 2 * x)
    assert len(said) == 1
    assert said[0].startswith("training goes on without a CUDA graph: ")
    assert why in said[0]
    # And what can be is captured afterwards.
    x = torch.arange(7, device="cuda").float()
    torch.testing.assert_close(GraphedFunction(module, module.plain, said.append)(x), 2 * x)
    assert len(said) == 1


def test_more_shapes_than_are_kept() -> None:
    said: list[str] = []
    module = Doubled()
    graphed = GraphedFunction(module, module.plain, said.append)
    for n in [*range(1, MOST_SHAPES + 3), 1, 2]:
        x = torch.randn(n, device="cuda")
        torch.testing.assert_close(graphed(x), 2 * x)
    assert said == []
