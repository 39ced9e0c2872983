"""Devices by name, and a whole density on one that is not the CPU."""

from __future__ import annotations

import pytest
import torch
from flows.cases import layout

from flowcli.config.schema import FlowConfig
from flowcli.errors import FlowcliError, UsageError
from flowcli.flows.build import build_density
from flowcli.flows.default import default_chain
from flowcli.flows.rows import Rows
from flowcli.training.devices import resolve_device
from flowcli.transforms import registry

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def test_the_cpu() -> None:
    assert resolve_device("cpu") == torch.device("cpu")


@no_gpu
def test_auto_without_a_gpu() -> None:
    assert resolve_device("auto") == torch.device("cpu")


@gpu
def test_with_a_gpu() -> None:
    assert resolve_device("auto").type == "cuda"
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(FlowcliError, match="no CUDA device 99"):
        resolve_device("cuda:99")


@pytest.mark.parametrize("name", ["", "gpu", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:1.5", "meta", "mps"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="auto, cpu, cuda or cuda:N") as refused:
        resolve_device(name)
    assert "\n" not in str(refused.value)


@no_gpu
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_a_missing_gpu_is_said_in_one_line(name: str) -> None:
    with pytest.raises(FlowcliError, match=r"no CUDA device.*--device cpu") as refused:
        resolve_device(name)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 1


def every_transform() -> FlowConfig:
    names = [name for name, entry in registry.entries().items() if entry.domain == "real"]
    return FlowConfig.model_validate({"transforms": names})


OTHERS = {
    "base student_t": {"base": "student_t", "transforms": ["affine"]},
    "base gaussian_mixture": {"base": "gaussian_mixture", "transforms": ["affine"]},
    "base uniform": {"base": "uniform", "transforms": ["logit", "affine"]},
    "modular_flow": {"labels": "modular_flow", "transforms": ["affine"]},
}
FLOWS = {
    "every transform": every_transform(),
    "default": FlowConfig.model_validate(default_chain(1000, 4)),
    **{name: FlowConfig.model_validate(flow) for name, flow in OTHERS.items()},
}


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
@pytest.mark.parametrize("context_features", [0, 2])
@pytest.mark.parametrize("cardinalities", [[], [3, 2]], ids=str)
def test_nothing_stays_on_the_cpu(flow: FlowConfig, context_features: int, cardinalities: list[int]) -> None:
    # The meta device stands for any other: a tensor left on the CPU cannot be mixed with its own.
    density = build_density(flow, layout(4, cardinalities, context_features, [2.0, 3.0])).to("meta")
    for tensor in [*density.parameters(), *density.buffers()]:
        assert tensor.device.type == "meta"
    with torch.device("meta"):
        numbers = torch.empty(8, 4)
        labels = torch.empty(8, len(cardinalities), dtype=torch.long)
        rows = Rows(numbers, labels, torch.empty(8, 2), torch.empty(8, context_features))
        uniforms = torch.empty(8, density.noise_features)
    log_prob = density.log_prob(rows)
    assert (log_prob.device.type, log_prob.shape) == ("meta", (8,))
    (-log_prob.mean()).backward()
    for name, parameter in density.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.device.type == "meta"
    sampled = density.sample(uniforms, rows.context)
    for result in (density.encode(rows), density.decode(rows), sampled.numbers, sampled.labels, sampled.ordinals):
        assert result.device.type == "meta"
    density.initialize(rows)
