"""Every registered transform, in every named variant, as built and with perturbed weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin

import torch
from torch import Tensor, nn

from flowcli.flows.base import FreeOrConditional
from flowcli.transforms import registry
from flowcli.transforms.bijection import Bijection
from flowcli.transforms.catalogue import CONDITIONER, Entry, Parameter
from flowcli.transforms.elementwise import Elementwise

CONTEXT_FEATURES = 3
State = Literal["built", "perturbed", "trained"]
VARIED = ("kind", "direction", "split", "order", "transformer")
# What holds of networks holds of small ones.
HIDDEN = [16, 16]


@dataclass(frozen=True)
class Case:
    """A transform with its parameters, for so many columns and so much context."""

    entry: Entry = field(hash=False)
    parameters: Mapping[str, Any] = field(hash=False)
    features: int
    context_features: int = 0

    def __str__(self) -> str:
        chosen = [self._word(name) for name in VARIED if name in self.parameters]
        context = ["context"] if self.context_features else []
        return "-".join([self.entry.name, *chosen, f"d{self.features}", *context])

    def _word(self, name: str) -> str:
        value = self.parameters[name]
        return "".join(value) if isinstance(value, dict) else str(value)

    def build(
        self, seed: int = 0, dtype: torch.dtype = torch.float64, state: State = "perturbed", size: float = 1.0
    ) -> Bijection:
        """The transform, its start and its perturbation drawn from the seed."""
        with torch.random.fork_rng(devices=[]):
            # The CPU's alone: that of CUDA keeps a traceback of each call until there is a device.
            torch.default_generator.manual_seed(seed)
            transform = registry.build(self.entry.name, self.features, self.context_features, self.parameters)
            if state == "perturbed":
                perturb(transform, size)
            if state == "trained":
                transform.double().load_state_dict(_trained(self, seed))
        return transform.to(dtype).eval()

    def train(self, transform: Bijection) -> None:
        """A few steps of maximum likelihood, in the direction that is cheap."""
        value, context = self.rows(32, seed=7, spread=1.0)[:-1], self.context(31)
        transform.initialize(value, context)
        if not list(transform.parameters()):
            return
        optimizer = torch.optim.Adam(transform.parameters(), lr=0.02)
        cheap = self.costs[0] in ("1 pass", "ODE solver")
        direction = transform.inverse_and_log_det if cheap else transform.forward_and_log_det
        for _ in range(5):
            optimizer.zero_grad(set_to_none=True)
            result, log_det = direction(value, context)
            (0.5 * (result * result).sum(-1) - log_det).mean().backward()
            optimizer.step()

    def rows(self, rows: int, seed: int = 1, dtype: torch.dtype = torch.float64, spread: float = 2.0) -> Tensor:
        """Random inputs ``(rows, d)``; the last row is far outside a spline's bounds.

        Of a transform from the unit cube they all lie in it.
        """
        generator = torch.Generator().manual_seed(seed)
        values = torch.randn(rows, self.features, generator=generator, dtype=torch.float64) * spread
        values[-1] = values[-1].sign() * 20
        return (torch.sigmoid(values / 4) if self.entry.domain == "unit" else values).to(dtype)

    def context(self, *batch: int, seed: int = 2, dtype: torch.dtype = torch.float64) -> Tensor | None:
        """Random context ``(*batch, c)``, or ``None``."""
        if not self.context_features:
            return None
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(*batch, self.context_features, generator=generator, dtype=torch.float64).to(dtype)

    @property
    def costs(self) -> tuple[str, str]:
        """The costs of scoring and of sampling."""
        return registry.costs(self.entry.name, self.parameters)


# As many as follow each other in one test after the other.
@lru_cache(maxsize=4)
@torch.enable_grad()
def _trained(case: Case, seed: int) -> Mapping[str, Tensor]:
    """The weights of a transform built with the seed and trained a little."""
    transform = case.build(seed, state="built")
    case.train(transform)
    return transform.state_dict()


def choices(parameter: Parameter) -> tuple[Any, ...]:
    """The words a parameter may be set to; none for numbers."""
    branches = [parameter.type, *get_args(parameter.type)]
    return next((get_args(branch) for branch in branches if get_origin(branch) is Literal), ())


def variants(entry: Entry, varied: tuple[str, ...] = VARIED) -> Iterator[dict[str, Any]]:
    """The defaults with every combination of kind and direction; every split, order and transformer, one at a time.

    An order is the conditioner's business, whatever the transformer: of the entries with a network only the
    general one goes through all of them.
    """
    defaults = {p.name: HIDDEN if p.name == "hidden" else p.default for p in entry.parameters}
    named = {p.name: choices(p) for p in entry.parameters if p.name in varied and choices(p)}
    if "transformer" in defaults:
        # As a config resolves them: an elementwise entry's name with its own parameters.
        transformers = [
            {name: {p.name: p.default for p in other.parameters if p not in CONDITIONER}}
            for name, other in registry.entries().items()
            if other.transformer
        ]
        defaults["transformer"] = transformers[0]
        if "transformer" in varied:
            named["transformer"] = tuple(transformers)
    if entry.name != "autoregressive" and any(parameter in entry.parameters for parameter in CONDITIONER):
        named.pop("order", None)
    alone = {name: named.pop(name, ()) for name in ("split", "order", "transformer")}
    for chosen in itertools.product(*named.values()):
        yield {**defaults, **dict(zip(named, chosen, strict=True))}
    for name, values in alone.items():
        yield from ({**defaults, name: value} for value in values if value != defaults[name])


def all_cases(features: tuple[int, ...], varied: tuple[str, ...] = VARIED) -> list[Case]:
    """The registry's whole table."""
    return [
        Case(entry, parameters, d, context)
        for entry in registry.entries().values()
        for parameters in variants(entry, varied)
        for d in features
        if d >= registry.min_features(entry.name, parameters)
        for context in ((0, CONTEXT_FEATURES) if entry.takes_context else (0,))
    ]


@torch.no_grad()
def perturb(module: nn.Module, size: float = 1.0) -> None:
    """Add noise under which a transformer's raw parameters are roughly standard normal."""
    for part in module.modules():
        for parameter in part.parameters(recurse=False):
            if isinstance(part, (Elementwise, FreeOrConditional)):
                scale = 1.0  # the raw parameters themselves
            elif parameter.dim() > 1:
                scale = parameter.shape[-1] ** -0.5
            else:
                scale = 0.5
            parameter += size * scale * torch.randn_like(parameter)
