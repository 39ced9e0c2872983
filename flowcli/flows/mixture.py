"""A mixture of densities of whole rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from flowcli.flows.density import Density, TableDensity
from flowcli.flows.rows import Rows


class MixtureDensity(Density):
    """``p(row | context) = sum over k of w_k p_k(row | context)``.

    A row's latents are those of the member that is likeliest to have drawn it, whose number, from 1, stands behind.
    """

    weights: Tensor

    def __init__(self, members: Sequence[TableDensity]) -> None:
        """The members have the same columns; their weights are equal until they are set."""
        first = members[0]
        super().__init__(first.columns, first.cardinalities, first.supports, first.states)
        self.members = nn.ModuleList(members)
        self.register_buffer("weights", torch.full((len(members),), 1 / len(members)))

    def damage(self) -> str:
        """What is wrong with the weights, as loaded from a file: they are not negative, and sum to one."""
        sound = bool((self.weights >= 0).all()) and abs(float(self.weights.sum()) - 1) < 1e-3
        return "" if sound else "the weights of the mixture are none"

    def weighted(self) -> list[tuple[int, TableDensity]]:
        """The members that have a weight, with their numbers from 0."""
        return [(k, self.member(k)) for k, weight in enumerate(self.weights.tolist()) if weight > 0]

    def member(self, number: int) -> TableDensity:
        """One of them, by its number from 0."""
        return cast(TableDensity, self.members[number])

    @property
    def noise_features(self) -> int:
        return 1 + max(self.member(k).noise_features for k in range(len(self.members)))

    @property
    def components(self) -> int:
        return len(self.members)

    def log_prob_there(self, rows: Rows, log_det: Tensor) -> Tensor:
        return torch.logsumexp(self._each(rows, log_det), dim=-1)

    def _each(self, rows: Rows, log_det: Tensor) -> Tensor:
        """``log w_k p_k`` of the weighted members, ``(n, k)``.

        Sums over the members are along the last dimension: a row's then do not depend on how many rows there are.
        """
        weights = self.weights.to(log_det.dtype)
        # Float32 sums of weights are not quite one.
        log_weights = torch.log(weights / weights.sum())
        each = [log_weights[k] + member.log_prob_there(rows, log_det) for k, member in self.weighted()]
        return torch.stack(each, dim=-1)

    def responsible(self, rows: Rows, uniforms: Tensor | None = None) -> Tensor:
        """The number, from 0, of the member that is likeliest to have drawn each row, ``(n,)``.

        Args:
            uniforms: numbers in [0, 1), (n,), that draw it from its distribution given the row: where the rows are the
                mixture's own, the latents of each member then are exactly of its base.
        """
        each = self._each(*self.on_real_line(rows))
        numbers = torch.tensor([k for k, _ in self.weighted()], device=each.device)
        if uniforms is None:
            return numbers[each.argmax(-1)]
        below = torch.cumsum(torch.softmax(each, dim=-1), dim=-1) <= uniforms.unsqueeze(-1)
        return numbers[below.sum(-1).clamp_max(len(numbers) - 1)]

    def _by_member(self, number: Tensor, rows: Rows, function: Callable[[TableDensity, Rows], Tensor]) -> Tensor:
        """Numbers ``(n, d)``, those of each row from its own member."""
        numbers = rows.numbers.new_empty(len(number), self.columns[0])
        for k, places in _places(number):
            numbers[places] = function(self.member(k), rows.take(places))
        return numbers

    def encode(self, rows: Rows, number: Tensor | None = None) -> Tensor:
        """The latents, and the number of the member from 1, ``(n, d + 1)``; by the responsible one, if not told."""
        number = self.responsible(rows) if number is None else number
        latent = self._by_member(number, rows, lambda member, own: member.encode(own))
        return torch.cat([latent, (number + 1).to(latent.dtype).unsqueeze(-1)], dim=-1)

    def normal_latents(self, rows: Rows, noise: np.random.Generator) -> Tensor:
        number = self.responsible(rows, torch.from_numpy(noise.random(len(rows))).to(rows.numbers))
        return self._by_member(number, rows, lambda member, own: member.normal_latents(own, noise))

    def decode(self, rows: Rows) -> Tensor:
        number = (rows.numbers[..., -1].long() - 1).clamp(0, len(self.members) - 1)
        latent = replace(rows, numbers=rows.numbers[..., :-1].contiguous())
        return self._by_member(number, latent, lambda member, own: member.decode(own))

    def sample(
        self, uniforms: Tensor, context: Tensor, known: Rows | None = None, of_factors: Sequence[int] = ()
    ) -> Rows:
        cumulative = torch.cumsum(self.weights.to(uniforms.dtype), dim=0)
        number = torch.searchsorted(cumulative / cumulative[-1], uniforms[:, 0].contiguous(), right=True)
        numbers, labels, ordinals = self.columns
        rows = Rows(
            uniforms.new_empty(len(uniforms), numbers),
            torch.zeros(len(uniforms), labels, dtype=torch.long, device=uniforms.device),
            uniforms.new_empty(len(uniforms), ordinals),
            context,
        )
        for k, places in _places(number):
            member = self.member(k)
            drawn = member.sample(uniforms[places, 1 : 1 + member.noise_features], context[places])
            rows.numbers[places], rows.labels[places], rows.ordinals[places] = (
                drawn.numbers,
                drawn.labels,
                drawn.ordinals,
            )
        return rows


def _places(number: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The members that rows belong to, each with the places of its rows."""
    for k in sorted({*number.tolist()}):
        yield k, (number == k).nonzero().squeeze(-1)
