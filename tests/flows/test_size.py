"""What a fit has built can be built again under the limits of its file."""

from __future__ import annotations

import pytest

from flowcli.config.schema import FlowConfig
from flowcli.flows.build import assemble
from flowcli.flows.size import Limited, facts_of

from .cases import layout


@pytest.mark.parametrize(
    "transform",
    [
        {"block_neural_autoregressive": {"hidden_factor": 1}},
        {"block_neural_autoregressive": {"hidden_factor": 1, "layers": 1}},
        "lu_linear",
        "orthogonal",
        "triangular_affine",
        "sylvester",
        {"affine_autoregressive": {"hidden": [2]}},
        {"affine_coupling": {"hidden": [1]}},
    ],
    ids=str,
)
def test_wide_tables(transform: object) -> None:
    config = FlowConfig.model_validate({"transforms": [transform]})
    built = assemble(config, layout(800), Limited())
    facts = [facts_of(tensor) for tensor in built.state_dict().values()]
    assemble(config, layout(800), Limited.to(facts))
