"""Between a table's own numbers and label codes and the rows of a density, on torch.

As :class:`flowcli.preprocess.encoder.TableEncoder` on Arrow; the tests hold the two together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowcli.flows.rows import Rows
from flowcli.preprocess.encoder import LARGEST_DEVIATION, NUMBER, UNSEEN, TableEncoder
from flowcli.preprocess.numbers import NEXT_TO_BOUND
from flowcli.tables.columns import LARGEST_WHOLE, Column
from flowcli.transforms.support import DOMAINS, PLACEHOLDER


def in_order(encoder: TableEncoder, *, label: bool, context: bool | None) -> list[Column]:
    """The label columns, or those of numbers (ordinals and dates too), that take part, in the table's order.

    ``context``: those that are given, those that are modelled, or by ``None`` both.
    """
    return [
        column
        for column in encoder.columns
        if column.kind not in ("constant", "identifier")
        and (column.kind == "label") == label
        and context in (None, column.context)
    ]


class _Numbers(nn.Module):
    """Some of the number columns: their values, holes filled, and the state of each (a number, a spike, missing)."""

    places: Tensor
    fill: Tensor
    missing_state: Tensor

    def __init__(self, columns: Sequence[Column], among: Sequence[Column], fill: Sequence[float]) -> None:
        """``among``: the columns of the input, in order."""
        super().__init__()
        self.register_buffer("places", torch.tensor([among.index(column) for column in columns], dtype=torch.long))
        self.register_buffer("fill", torch.tensor([*fill], dtype=torch.float64))
        missing = [column.states - 1 if column.missing else -1 for column in columns]
        self.register_buffer("missing_state", torch.tensor(missing, dtype=torch.long))
        self.spiked = [place for place, column in enumerate(columns) if column.spikes]
        for place in self.spiked:
            spikes = torch.tensor(columns[place].spikes, dtype=torch.float64)
            self.register_buffer(f"spikes_{place}", spikes)

    def forward(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values and states ``(n, d)``, and whether a cell is none that the column can have."""
        values = numbers.index_select(1, self.places)
        missing = torch.isnan(values)
        values = torch.where(missing, self.fill, values)
        states = torch.zeros_like(values, dtype=torch.long)
        if self.spiked:
            columns = list(states.unbind(1))
            for place in self.spiked:
                spikes = self.get_buffer(f"spikes_{place}")
                away = (values[:, place].unsqueeze(1) - spikes).abs()
                hit = away <= 1e-9 * spikes.abs().clamp_min(1e-300)
                columns[place] = (hit.long() * torch.arange(1, spikes.shape[0] + 1)).amax(1)
            states = torch.stack(columns, dim=1)
        hole = missing & (self.missing_state >= 0)
        return values, torch.where(hole, self.missing_state, states), ~torch.isfinite(values) & ~hole


class ToRows(nn.Module):
    """Rows of a table, as ``numbers`` ``(n, a)`` and ``labels`` ``(n, b)``, to the rows of a density.

    ``numbers`` holds the columns of numbers, ordinals and dates, ``labels`` the codes of the labels, both as
    :func:`in_order` has them; NaN is a missing number, and a code that there is not a label that training had not.
    """

    mean: Tensor
    scale: Tensor
    lower: Tensor
    upper: Tensor
    above_zero: Tensor
    below_one: Tensor
    label_places: Tensor
    codes: Tensor

    def __init__(self, encoder: TableEncoder, fills: dict[str, float], *, context_only: bool) -> None:
        """``fills``: what stands for a missing number, by column; ``context_only``: there are no other columns."""
        super().__init__()
        among = in_order(encoder, label=False, context=True if context_only else None)
        self.label_columns = in_order(encoder, label=True, context=True if context_only else None)
        modelled = [] if context_only else encoder.numbers
        self.ordinal_columns = [] if context_only else encoder.ordinals
        self.labels_modelled = [] if context_only else encoder.labels
        self.context = encoder.context
        self.partial = [place for place, column in enumerate(modelled) if column.partial]

        def numbers(columns: Sequence[Column]) -> _Numbers:
            return _Numbers(columns, among, [fills.get(column.name, math.nan) for column in columns])

        self.numbers = numbers(modelled)
        self.ordinals = numbers(self.ordinal_columns)
        self.given_columns = [column for column in self.context if column.kind != "label"]
        self.given = numbers(self.given_columns)
        for name, values in (
            ("mean", [column.mean for column in modelled]),
            ("scale", [column.scale for column in modelled]),
            ("lower", [-math.inf if column.lower is None else column.lower for column in modelled]),
            ("upper", [math.inf if column.upper is None else column.upper for column in modelled]),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))
        for name, side in (("above_zero", 0), ("below_one", 1)):
            bounded = [DOMAINS[column.map][side] for column in modelled]
            self.register_buffer(name, torch.tensor(bounded, dtype=torch.bool))
        places = [self.label_columns.index(column) for column in self.labels_modelled]
        self.register_buffer("label_places", torch.tensor(places, dtype=torch.long))
        self.register_buffer("codes", torch.tensor([c.codes for c in self.labels_modelled], dtype=torch.long))

    def forward(self, numbers: Tensor, labels: Tensor) -> tuple[Rows, Tensor, Tensor]:
        """The rows, whether each is beyond a column's bounds, and whether it is none of the table's, both ``(n,)``."""
        values, states, wrong = self.numbers(numbers)
        held = (states == NUMBER) & torch.isfinite(values)
        beyond = (values < self.lower) | (values > self.upper)
        beyond = beyond | ((values - self.mean).abs() > LARGEST_DEVIATION * self.scale.abs())
        outside = (beyond & (states == NUMBER)).any(1)
        u = (values - self.mean) / self.scale
        u = torch.where(self.above_zero & (u <= 0), NEXT_TO_BOUND, u)
        u = torch.where(self.below_one & (u >= 1), 1 - NEXT_TO_BOUND, u)
        # What is outside its bounds has no place on the real line.
        u = torch.where(held & ~outside.unsqueeze(1), u, PLACEHOLDER)
        codes = _known(labels.index_select(1, self.label_places), self.codes)
        ordinals, _, not_whole = self._whole(self.ordinals, numbers, self.ordinal_columns)
        context, bad = self._context(numbers, labels)
        bad = bad | wrong.any(1) | not_whole.any(1)
        all_labels = torch.cat([codes, *(states[:, place : place + 1] for place in self.partial)], dim=1)
        return Rows(u, all_labels, ordinals, context), outside, bad

    @staticmethod
    def _whole(part: nn.Module, numbers: Tensor, columns: Sequence[Column]) -> tuple[Tensor, Tensor, Tensor]:
        """Whole numbers from each column's middle, the states, and whether a cell holds none."""
        values, states, wrong = part(numbers)
        wrong = wrong | (torch.round(values) != values) | (values.abs() > LARGEST_WHOLE)
        middle = torch.tensor([float(round(column.mean)) for column in columns], dtype=values.dtype)
        return torch.where(wrong, 0.0, values - middle), states, wrong

    def _context(self, numbers: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The features of the context ``(n, c)``, and whether a row's is none that can be given."""
        values, states, wrong = self.given(numbers)
        bad = wrong.any(1)
        features = [values.new_empty(values.shape[0], 0)]
        for column in self.context:
            if column.kind == "label":
                code = labels[:, self.label_columns.index(column)].unsqueeze(1)
                features.append((code == torch.arange(column.codes)).to(values.dtype))
                bad = bad | (features[-1].sum(1) == 0)
                continue
            at = self.given_columns.index(column)
            value, state = values[:, at : at + 1], states[:, at : at + 1]
            if column.kind == "ordinal":
                bad = bad | ((torch.round(value) != value) | (value.abs() > LARGEST_WHOLE)).squeeze(1)
                features.append((value - round(column.mean)) / column.scale)
                continue
            there = torch.isfinite(value) & (state == NUMBER)
            features.append(torch.where(there, (value - column.mean) / column.scale, 0.0))
            if column.missing:
                features.append((state != NUMBER).to(values.dtype))
        # What cannot be given must not be computed with.
        return torch.where(bad.unsqueeze(1), 0.0, torch.cat(features, dim=1)), bad


def _known(codes: Tensor, counts: Tensor) -> Tensor:
    return torch.where((codes >= 0) & (codes < counts), codes, UNSEEN)


class FromRows(nn.Module):
    """Rows that a density has drawn to ``numbers`` and ``labels`` of the modelled columns, as :class:`ToRows` has them.

    Numbers are brought onto their grids, and into their bounds.
    """

    order: Tensor

    def __init__(self, encoder: TableEncoder) -> None:
        super().__init__()
        self.columns = encoder.numbers
        self.partial = encoder.partial
        self.labels = len(encoder.labels)
        self.middles = [float(round(column.mean)) for column in encoder.ordinals]
        drawn = [*encoder.numbers, *encoder.ordinals]
        order = [drawn.index(column) for column in in_order(encoder, label=False, context=False)]
        self.register_buffer("order", torch.tensor(order, dtype=torch.long))

    def forward(self, rows: Rows) -> tuple[Tensor, Tensor]:
        each = [self._values(rows.numbers[:, place], rows.labels, column) for place, column in enumerate(self.columns)]
        each += [rows.ordinals[:, place] + middle for place, middle in enumerate(self.middles)]
        numbers = torch.stack(each, dim=1) if each else rows.numbers
        return numbers.index_select(1, self.order), rows.labels[:, : self.labels]

    def _values(self, u: Tensor, labels: Tensor, column: Column) -> Tensor:
        values = u * column.scale + column.mean
        if column.step is not None:
            values = column.origin + column.step * torch.round((values - column.origin) / column.step)
        if column.decimals is not None:
            values = torch.round(values, decimals=column.decimals)
        if column.lower is not None or column.upper is not None:
            values = values.clamp(column.lower, column.upper)
        if not column.partial:
            return values
        instead = torch.tensor([math.nan, *column.spikes, *([math.nan] if column.missing else [])], dtype=u.dtype)
        state = labels[:, self.labels + self.partial.index(column)]
        return torch.where(state == NUMBER, values, instead[state])
