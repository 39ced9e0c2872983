"""From a config to an untrained density."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from flowcli.config.schema import Chain as ChainConfig
from flowcli.config.schema import FlowConfig
from flowcli.flows.base import StandardNormal
from flowcli.flows.density import TableDensity
from flowcli.flows.flow import Flow
from flowcli.flows.labels import LabelModel
from flowcli.transforms import registry
from flowcli.transforms.bijection import Bijection, Chain


def build_density(
    config: FlowConfig, features: int, cardinalities: Sequence[int], context_features: int, seed: int = 0
) -> TableDensity:
    """The density of a table with ``features`` numbers, labels of these cardinalities, and this much context.

    Weights and random orders come from ``seed``; torch's global generator is left as it was.

    Raises:
        ConfigError: a transform does not fit the number of columns.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        labels = LabelModel(cardinalities, context_features)
        if not features:
            return TableDensity(None, labels)
        chain = _build_chain(config, features, context_features + sum(cardinalities))
        return TableDensity(Flow(StandardNormal(), chain), labels)


def _build_chain(config: FlowConfig | ChainConfig, features: int, context_features: int) -> Chain:
    parts: list[Bijection] = []
    for _ in range(config.repeat):
        for transform in config.transforms:
            if isinstance(transform.parameters, ChainConfig):
                parts.append(_build_chain(transform.parameters, features, context_features))
            else:
                parameters = transform.parameters.model_dump()
                parts.append(registry.build(transform.name, features, context_features, parameters))
    return Chain(parts)
