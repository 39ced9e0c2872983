"""A density's functions as CUDA graphs: the CPU's numbers, whatever rows come; no graph where there can be none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli.config.schema import FlowConfig
from flowcli.flows.build import build_density
from flowcli.flows.cuda_graph import GraphedInference
from flowcli.flows.engine import TorchEngine
from flowcli.preprocess.encoder import Encoded

from .cases import layout

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

FEATURES, CONTEXT = 4, 2


def encoded(n: int, seed: int) -> Encoded:
    random = np.random.default_rng(seed)
    none = np.empty((n, 0))
    numbers, context = (random.normal(size=(n, width)) for width in (FEATURES, CONTEXT))
    return Encoded(numbers, none.astype(np.int64), none, context, np.zeros(n, dtype=bool), {})


@pytest.mark.parametrize(
    "name", ["affine_autoregressive", "affine_coupling", "spline_autoregressive", "spline_coupling"]
)
def test_as_on_the_cpu(name: str) -> None:
    flow = FlowConfig.model_validate({"transforms": [name, "triangular_affine", "permute"], "repeat": 2})
    here, there = (
        TorchEngine(build_density(flow, layout(FEATURES, [], CONTEXT), 0), torch.device(place))
        for place in ("cpu", "cuda")
    )
    # Chunks of one size, which are captured, and one of another.
    n = 3 * there.chunk + 100
    for seed in (1, 2):
        rows = encoded(n, seed)
        for function in ("log_prob", "encode", "decode"):
            one, other = (getattr(engine, function)(rows) for engine in (here, there))
            np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-8)
        uniforms = np.random.default_rng(seed).random((there.chunk, here.noise_features))
        for _ in range(3):
            one, other = (engine.sample(uniforms, rows.context[: there.chunk]).numbers for engine in (here, there))
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
            uniforms = np.roll(uniforms, 1)
    for function in (there._log_prob, there._encode, there._decode, there._sample):
        assert isinstance(function, GraphedInference)
        assert function._graph is not None


def looks(x: Tensor) -> tuple[Tensor]:
    return (x if float(x.sum()) > 0 else -x,)


def remembers(x: Tensor) -> tuple[Tensor]:
    calls.append(1)
    return (x + len(calls),)


calls: list[int] = []


@pytest.mark.parametrize("function", [looks, remembers])
def test_what_cannot_be_captured_is_computed_as_it_is(function: object) -> None:
    graphed = GraphedInference(function)  # type: ignore[arg-type]
    for _ in range(4):
        x = torch.randn(5, device="cuda")
        before = len(calls)
        (result,) = graphed(x)
        if function is looks:
            torch.testing.assert_close(result, x if x.sum() > 0 else -x)
        else:
            torch.testing.assert_close(result, x + before + 1)
    # And what can be is captured afterwards.
    doubled = GraphedInference(lambda x: (2 * x,))
    for _ in range(4):
        x = torch.randn(5, device="cuda")
        torch.testing.assert_close(doubled(x)[0], 2 * x)
    assert doubled._graph is not None
