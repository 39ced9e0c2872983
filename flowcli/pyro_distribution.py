"""A fitted density as a distribution of Pyro, for models that have it as a part."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from flowcli.errors import ModelError
from flowcli.flows.density import Density
from flowcli.flows.rows import Rows
from flowcli.preprocess.numbers import NEXT_TO_BOUND
from flowcli.tables.columns import Column
from flowcli.transforms.support import DOMAINS, PLACEHOLDER

# How constraints are made has no types in torch.
_make: Any = constraints


class FlowDistribution(TorchDistribution):
    """A density over ``(d,)`` number columns, in the data's own units, its weights fixed.

    Own units, as a model that has the data's columns in it speaks of them, and as its figures are then those of
    ``Model.log_prob``. ``columns`` names them in order. A value off a column's grid has the density there, and samples
    are not brought onto the grid; what is beyond a bound has none. Values may be of any float type, and what comes back
    is of theirs; samples are of torch's default type. Computed in float64.

    ``log_prob`` is differentiable in the value. Samples depend on no parameter, so that they count as reparametrised.
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012 - the base class has it so
    has_rsample = True

    def __init__(
        self, columns: Sequence[Column], density: Density, context: Tensor, validate_args: bool | None = None
    ) -> None:
        """``density``: of these columns, in float64; ``context``: its features, ``(..., c)``, one row for each batch.

        See :func:`of_columns` for what columns can be taken.
        """
        self.columns = tuple(column.name for column in columns)
        self._kinds = tuple(columns)
        self._density = density
        self._context = context
        self._mean = context.new_tensor([column.mean for column in columns])
        self._scale = context.new_tensor([column.scale for column in columns])
        self._above_zero, self._below_one = (
            torch.tensor([DOMAINS[column.map][side] for column in columns], device=context.device) for side in (0, 1)
        )
        super().__init__(context.shape[:-1], torch.Size([len(columns)]), validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        """Where there is a density; real vectors where no column has a bound."""
        if not bool(self._above_zero.any()):
            return constraints.real_vector
        each = [_constraint(column) for column in self._kinds]
        return cast(Constraint, _make.independent(_make.cat(each, dim=-1, lengths=[1] * len(each)), 1))

    def expand(self, batch_shape: Any, _instance: FlowDistribution | None = None) -> FlowDistribution:
        """The same distribution, over a larger batch."""
        new: FlowDistribution = self._get_checked_instance(FlowDistribution, _instance)  # type: ignore[no-untyped-call]
        context = self._context.expand(torch.Size(batch_shape) + self._context.shape[-1:])
        FlowDistribution.__init__(new, self._kinds, self._density, context, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats, ``sample_shape + batch_shape``; minus infinity beyond a bound."""
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)  # type: ignore[no-untyped-call]
        u = (value.double() - self._mean) / self._scale
        beyond = (self._above_zero & (u < 0) | self._below_one & (u > 1)).any(-1)
        u = torch.where(self._above_zero & (u <= 0), NEXT_TO_BOUND, u)
        u = torch.where(self._below_one & (u >= 1), 1 - NEXT_TO_BOUND, u)
        u = torch.where(beyond.unsqueeze(-1), PLACEHOLDER, u)
        log_prob = self._density.log_prob(self._rows(u.expand(*shape, -1), shape)).reshape(shape)
        return torch.where(beyond, -torch.inf, log_prob).to(value.dtype)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008 - immutable, and torch's own default
        """Samples ``sample_shape + batch_shape + (d,)``, by torch's global generator."""
        shape = torch.Size(sample_shape) + self.batch_shape
        noise = torch.rand(
            shape.numel(), self._density.noise_features, dtype=torch.float64, device=self._context.device
        )
        context = self._context.expand(*shape, -1).reshape(shape.numel(), -1)
        with torch.no_grad():
            numbers = self._density.sample(noise, context).numbers
        return (numbers * self._scale + self._mean).reshape(*shape, -1).to(torch.get_default_dtype())

    def _rows(self, u: Tensor, shape: torch.Size) -> Rows:
        """Numbers ``(..., d)`` and the context as rows."""
        count = shape.numel()
        none = u.new_empty(count, 0)
        context = self._context.expand(*shape, -1).reshape(count, self._context.shape[-1])
        return Rows(u.reshape(count, u.shape[-1]), none.long(), none, context)


def of_columns(columns: Sequence[Column], density: Density, device: torch.device, context: Any) -> FlowDistribution:
    """The distribution of a model with these columns.

    Args:
        density: in float64; a copy of it, with fixed weights, is taken.
        context: the encoded context, ``(c,)`` or ``(m, c)``.

    Raises:
        ModelError: a column that is modelled is no number, or may be missing or on a spike.
    """
    modelled = [column for column in columns if column.kind not in ("constant", "identifier") and not column.context]
    wrong = [f"{column.name!r} ({_obstacle(column)})" for column in modelled if _obstacle(column)]
    if wrong:
        raise ModelError(
            f"a Pyro distribution is over numbers that every row has, which these columns are not: {', '.join(wrong)}; "
            "fit without them, or with them as data.context"
        )
    fixed = copy.deepcopy(density).requires_grad_(False)
    return FlowDistribution(modelled, fixed, torch.as_tensor(context, dtype=torch.float64, device=device))


def _obstacle(column: Column) -> str:
    if column.kind != "number":
        return column.kind
    return " and ".join(word for word, so in (("spikes", bool(column.spikes)), ("missing cells", column.missing)) if so)


def _constraint(column: Column) -> Constraint:
    """Where a column has a density: from where to where its map is defined."""
    above_zero, below_one = DOMAINS[column.map]
    if below_one:
        return cast(Constraint, _make.interval(*sorted((column.mean, column.mean + column.scale))))
    if above_zero:
        return cast(Constraint, (_make.greater_than_eq if column.scale > 0 else _make.less_than)(column.mean))
    return constraints.real
