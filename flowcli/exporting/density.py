"""A density in the form that can be exported: nothing in it depends on how many rows there are, or on their values."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from flowcli.flows.density import Density, TableDensity
from flowcli.flows.mixture import MixtureDensity
from flowcli.flows.rows import Rows


class FixedMixture(nn.Module):
    """A :class:`MixtureDensity` whose weights stand.

    Each row is drawn by every member, and the one that its number falls on is taken: a program has no rows of its own
    for each member.
    """

    log_weights: Tensor
    cumulative: Tensor

    def __init__(self, mixture: MixtureDensity) -> None:
        super().__init__()
        weighted = mixture.weighted()
        weights = mixture.weights.double()[[k for k, _ in weighted]]
        cumulative = torch.cumsum(weights, dim=0)
        self.register_buffer("log_weights", torch.log(weights / weights.sum()))
        self.register_buffer("cumulative", cumulative / cumulative[-1])
        self.members = nn.ModuleList(member for _, member in weighted)

    def _each(self) -> list[TableDensity]:
        return [cast(TableDensity, member) for member in self.members]

    def log_prob(self, rows: Rows) -> Tensor:
        real, log_det = self._each()[0].on_real_line(rows)
        each = [self.log_weights[k] + member.log_prob_there(real, log_det) for k, member in enumerate(self._each())]
        return torch.logsumexp(torch.stack(each), dim=0)

    def sample(self, uniforms: Tensor, context: Tensor) -> Rows:
        first, *others = self._each()
        number = torch.searchsorted(self.cumulative, uniforms[:, 0].contiguous(), right=True).unsqueeze(1)
        rows = first.sample(uniforms[:, 1 : 1 + first.noise_features], context)
        for k, member in enumerate(others, 1):
            drawn = member.sample(uniforms[:, 1 : 1 + member.noise_features], context)
            rows = Rows(
                torch.where(number == k, drawn.numbers, rows.numbers),
                torch.where(number == k, drawn.labels, rows.labels),
                torch.where(number == k, drawn.ordinals, rows.ordinals),
                context,
            )
        return rows


def fixed(density: Density) -> TableDensity | FixedMixture:
    """What has the density's ``log_prob`` and ``sample`` and can be exported."""
    return FixedMixture(density) if isinstance(density, MixtureDensity) else cast(TableDensity, density)
