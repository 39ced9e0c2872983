"""The density of whole rows: a product of factors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from flowcli.flows.factor import Factor, are_present
from flowcli.flows.rows import Rows
from flowcli.transforms.bijection import Bijection, only, sum_features
from flowcli.transforms.support import Support
from flowcli.transforms.supports import Supports


@dataclass(frozen=True)
class Place:
    """Where a factor's columns stand among all columns of their kind."""

    numbers: tuple[int, ...]
    labels: tuple[int, ...]
    ordinals: tuple[int, ...]
    # Of the parents: their place among the columns of their kind, and the features of the context.
    parent_numbers: tuple[int, ...] = ()
    parent_labels: tuple[int, ...] = ()
    parent_ordinals: tuple[int, ...] = ()
    context: tuple[int, ...] = ()


class Density(nn.Module):
    """A density of whole rows, given their context, ``p(row | context)``.

    Log-densities are in nats, in the data's own units. The numbers of rows are as the encoder gives them, and 0 where a
    row has none.
    """

    # Whether all columns are modelled at once, given the whole context.
    whole = True

    def __init__(
        self,
        columns: tuple[int, int, int],
        cardinalities: Sequence[int],
        supports: Supports,
        states: Sequence[int | None],
    ) -> None:
        """``columns``: how many numbers, labels and ordinals a row has."""
        super().__init__()
        self.columns = columns
        self.cardinalities = list(cardinalities)
        self.supports = supports
        self.states = list(states)

    @property
    def noise_features(self) -> int:
        """How many uniform numbers a row is drawn from."""
        raise NotImplementedError

    @property
    def components(self) -> int:
        """Of a mixture, how many there are; the number of a row's, from 1, then stands behind its latents."""
        return 0

    def on_real_line(
        self, rows: Rows, uniforms: Tensor | None = None, normals: Tensor | None = None
    ) -> tuple[Rows, Tensor]:
        """The rows with their numbers on the real line, and the log-determinant of the way there, ``(n,)``.

        Args:
            uniforms: numbers in [0, 1), (n, d), that spread the rows' numbers over the steps of their grids.
            normals: noise, (n, d), that then moves them on the real line.
        """
        numbers = rows.numbers if uniforms is None else self.supports.spread_over_steps(rows.numbers, uniforms)
        real, log_slopes = self.supports.to_real(numbers)
        present = are_present(rows.labels, self.states)
        moved = real if normals is None else real + normals
        return replace(rows, numbers=only(moved, present)), sum_features(log_slopes, present)

    def log_prob(self, rows: Rows) -> Tensor:
        """Log-density of each row, ``(n,)``."""
        return self.log_prob_there(*self.on_real_line(rows))

    def log_prob_there(self, rows: Rows, log_det: Tensor) -> Tensor:
        """Log-density of each row, from what :meth:`on_real_line` gives."""
        raise NotImplementedError

    def encode(self, rows: Rows) -> Tensor:
        """The latents of the numbers, ``(n, d)``, of a mixture ``(n, d + 1)``; NaN where a row has none."""
        raise NotImplementedError

    def decode(self, rows: Rows) -> Tensor:
        """The numbers whose latents stand in the place of the rows' numbers, ``(n, d)``."""
        raise NotImplementedError

    def normal_latents(self, rows: Rows, noise: np.random.Generator) -> Tensor:
        """Numbers ``(n, d)`` that are independent standard normals if rows come from this density, for tests of fit.

        What the density mixes over is drawn from its posterior given the row, with ``noise``; NaN where a row has no
        number.
        """
        raise NotImplementedError

    def factors_of(self, numbers: set[int], labels: set[int], ordinals: set[int]) -> list[int]:
        """The factors all of whose columns are among these, by their positions."""
        return []

    def sample(
        self, uniforms: Tensor, context: Tensor, known: Rows | None = None, of_factors: Sequence[int] = ()
    ) -> Rows:
        """Rows from uniform numbers in [0, 1), ``(n, noise_features)``, given their context.

        Args:
            known: rows ``(n)`` that the columns of these factors are taken from rather than drawn.
        """
        raise NotImplementedError


class TableDensity(Density):
    """``p(row | context) = product over factors of p(columns | parents)``, the factors in an order of descent.

    Most densities have one factor, over all columns and given the whole context. The factors see the numbers on the
    real line.
    """

    def __init__(
        self,
        factors: Sequence[Factor],
        places: Sequence[Place],
        cardinalities: Sequence[int],
        whole: bool,
        supports: Sequence[Support] = (),
        states: Sequence[int | None] = (),
    ) -> None:
        """``whole``: the one factor has all columns in the table's order, and is given the whole context."""
        numbers = sum(len(place.numbers) for place in places)
        ordinals = sum(len(place.ordinals) for place in places)
        super().__init__(
            (numbers, len(cardinalities), ordinals),
            cardinalities,
            Supports(supports or [Support()] * numbers),
            states,
        )
        self.whole = whole
        self.factors = nn.ModuleList(factors)
        self.places = list(places)
        # Which factor holds an ordinal, and where there: its own units are known to that factor.
        self.ordinal_home = {
            column: (factor, at) for factor, place in enumerate(places) for at, column in enumerate(place.ordinals)
        }

    def _each(self) -> list[tuple[Factor, Place]]:
        return [(factor, place) for factor, place in zip(self.factors, self.places, strict=True)]  # type: ignore[misc]

    @property
    def noise_features(self) -> int:
        return sum(sum(factor.noise_features) for factor, _ in self._each())

    def _own(self, rows: Rows, place: Place) -> Rows:
        """The columns of one factor, with what it is given as their context."""
        if self.whole:
            return rows
        return Rows(
            rows.numbers[..., list(place.numbers)],
            rows.labels[..., list(place.labels)],
            rows.ordinals[..., list(place.ordinals)],
            self._given(rows, place),
        )

    def _given(self, rows: Rows, place: Place) -> Tensor:
        parts = [rows.numbers[..., list(place.parent_numbers)]]
        for column in place.parent_labels:
            categories = torch.arange(self.cardinalities[column], device=rows.labels.device)
            parts.append((rows.labels[..., column : column + 1] == categories).to(rows.numbers.dtype))
        for column in place.parent_ordinals:
            home, at = self.ordinal_home[column]
            ordinals = self._each()[home][0].ordinals
            assert ordinals is not None
            its_own = rows.ordinals[..., list(self.places[home].ordinals)]
            parts.append(ordinals.standardized(its_own)[..., at : at + 1])
        return torch.cat([*parts, rows.context[..., list(place.context)]], dim=-1)

    def log_prob_there(self, rows: Rows, log_det: Tensor) -> Tensor:
        total = log_det
        for factor, place in self._each():
            total = total + factor.log_prob(self._own(rows, place))
        return total

    def encode(self, rows: Rows) -> Tensor:
        rows = self.on_real_line(rows)[0]
        if self.whole:
            return self._each()[0][0].encode(rows)
        latent = torch.empty_like(rows.numbers)
        for factor, place in self._each():
            latent[..., list(place.numbers)] = factor.encode(self._own(rows, place))
        return latent

    def normal_latents(self, rows: Rows, noise: np.random.Generator) -> Tensor:
        latent, rows = self.encode(rows), self.on_real_line(rows)[0]
        found = torch.empty_like(latent)
        for factor, place in self._each():
            own = list(place.numbers)
            found[..., own] = factor.to_normal(latent[..., own], self._own(rows, place), noise)
        return found

    def walk(self, rows: Rows, factor: int) -> Iterator[tuple[Bijection, Tensor, Tensor | None]]:
        """The way from data to base of a factor's numbers, for rows :meth:`on_real_line`.

        Each transform of its flow, what that makes the factor's rows of, ``(n, d)`` of the factor, and which of these
        are there, ``None`` for all.
        """
        which, place = self._each()[factor]
        yield from which.walk(self._own(rows, place))

    def decode(self, rows: Rows) -> Tensor:
        if self.whole:
            return self.supports.from_real(self._each()[0][0].decode(rows))
        numbers = torch.empty_like(rows.numbers)
        for factor, place in self._each():
            own = self._own(Rows(numbers, rows.labels, rows.ordinals, rows.context), place)
            latent = rows.numbers[..., list(place.numbers)]
            numbers[..., list(place.numbers)] = factor.decode(Rows(latent, own.labels, own.ordinals, own.context))
        return self.supports.from_real(numbers)

    def factors_of(self, numbers: set[int], labels: set[int], ordinals: set[int]) -> list[int]:
        return [
            number
            for number, place in enumerate(self.places)
            if {*place.numbers} <= numbers and {*place.labels} <= labels and {*place.ordinals} <= ordinals
        ]

    def sample(
        self, uniforms: Tensor, context: Tensor, known: Rows | None = None, of_factors: Sequence[int] = ()
    ) -> Rows:
        known = None if known is None else self.on_real_line(known)[0]
        numbers, labels, ordinals = self.columns
        rows = Rows(
            uniforms.new_empty(uniforms.shape[0], numbers),
            torch.zeros(uniforms.shape[0], labels, dtype=torch.long, device=uniforms.device),
            uniforms.new_empty(uniforms.shape[0], ordinals),
            context,
        )
        noise = torch.split(uniforms, [sum(factor.noise_features) for factor, _ in self._each()], dim=-1)
        for number, ((factor, place), its_noise) in enumerate(zip(self._each(), noise, strict=True)):
            if known is not None and number in of_factors:
                drawn = self._own(known, place)
            else:
                drawn = factor.sample(its_noise, self._own(rows, place).context)
            if self.whole:
                rows = drawn
                break
            rows.numbers[:, list(place.numbers)] = drawn.numbers
            rows.labels[:, list(place.labels)] = drawn.labels
            rows.ordinals[:, list(place.ordinals)] = drawn.ordinals
        return replace(rows, numbers=self.supports.from_real(rows.numbers))

    @torch.no_grad()
    def initialize(self, rows: Rows) -> None:
        """Take the start from training rows on the real line."""
        for factor, place in self._each():
            factor.initialize(self._own(rows, place))
