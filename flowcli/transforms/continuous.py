"""The continuous-time flow: columns that move along a field of velocities, by a differential equation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchdiffeq import odeint

from flowcli.errors import ModelError
from flowcli.transforms.bijection import Bijection, ValueAndLogDet
from flowcli.transforms.networks import INPUT_BOUND, squash


@dataclass(frozen=True)
class _Solver:
    """A Runge-Kutta method with the local error, absolute and relative, that its steps are chosen for."""

    method: str
    tolerance: float
    most_steps: int


# Training is in single precision; scores, latents and samples are in double, where a field that training could
# follow must not fail for want of steps.
_SINGLE = _Solver("dopri5", 1e-5, 500)
_DOUBLE = _Solver("dopri8", 1e-8, 2000)
# The first step tried. Fixed, as a guess from the rows would hang on which rows there are.
_FIRST_STEP = 0.1


def _tanh(inputs: Tensor) -> tuple[Tensor, Tensor]:
    height = torch.tanh(inputs)
    return height, 1 - height * height


def _softplus(inputs: Tensor) -> tuple[Tensor, Tensor]:
    # Not torch's softplus, which is a straight line from 20 on, where its slope jumps.
    return -functional.logsigmoid(-inputs), torch.sigmoid(inputs)


# Smooth, as the solver's order asks for, with their slopes.
_ACTIVATIONS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {"tanh": _tanh, "softplus": _softplus}


class Field(nn.Module):
    """A multilayer perceptron's velocity ``f(z, t, context)`` and its divergence ``tr(df/dz)``; starts at zero.

    The divergence is exact: the ``d`` unit vectors are pushed through the layers beside the values, at the
    cost of ``d`` more passes. Like a conditioner, the network sees its inputs squashed: far outside the
    data the field is bounded and flattens.
    """

    def __init__(self, features: int, context_features: int, hidden: list[int], activation: str) -> None:
        super().__init__()
        widths = [features + context_features + 1, *hidden]
        self.activation = activation
        self.hidden = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))
        self.output = nn.Linear(widths[-1], features)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, time: Tensor, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Velocities ``(n, d)`` and divergences ``(n,)``, for a time ``()`` and a squashed context."""
        seen = squash(z)
        given = [] if context is None else [context]
        first, *rest = [cast(nn.Linear, layer) for layer in (*self.hidden, self.output)]
        values = first(torch.cat([seen, *given, time.expand(len(z), 1)], dim=-1))
        # What has become of the unit vector of each squashed column, (d, width) and then (n, d, width).
        tangents = first.weight[:, : z.shape[-1]].mT
        for layer in rest:
            values, slopes = _ACTIVATIONS[self.activation](values)
            values = layer(values)
            tangents = (tangents * slopes.unsqueeze(-2)) @ layer.weight.mT
        squash_slopes = 1 - (seen / INPUT_BOUND) ** 2
        return values, (tangents.diagonal(dim1=-2, dim2=-1) * squash_slopes).sum(-1)


class Continuous(Bijection):
    """``x`` is where ``dz/dt = f(z, t, context)`` takes ``z`` from time 0 to 1; ``dlog|det|/dt = tr(df/dz)``.

    Chen, Rubanova, Bettencourt & Duvenaud 2018, theorem 1; Grathwohl et al. 2019 (FFJORD), equation 4, here
    with the exact trace. Back in time is the inverse. The steps adapt to the largest error of any row, so
    that a row moves by no more than the tolerance with the rows that share its batch. Gradients go through the
    solver's steps, whose activations are all kept: memory grows with the number of steps, times the columns.

    A row with a value that is not finite becomes NaN, and does not touch the others.

    Raises:
        ModelError: the field is too steep to be followed (in either direction).
    """

    def __init__(self, features: int, context_features: int, *, hidden: list[int], activation: str) -> None:
        super().__init__()
        self.field = Field(features, context_features, hidden, activation)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        return self._moved(z, context, 0.0, 1.0)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        return self._moved(x, context, 1.0, 0.0)

    def _moved(self, value: Tensor, context: Tensor | None, start: float, end: float) -> ValueAndLogDet:
        rows = value.reshape(-1, value.shape[-1])
        given = None if context is None else squash(context.reshape(-1, context.shape[-1]))
        sound = rows.isfinite().all(-1, keepdim=True)
        if given is not None:
            sound = sound & given.isfinite().all(-1, keepdim=True)
            given = torch.where(sound, given, 0.0)
        state = functional.pad(torch.where(sound, rows, 0.0), (0, 1))

        def derivative(time: Tensor, state: Tensor) -> Tensor:
            velocity, divergence = self.field(time, state[:, :-1], given)
            return torch.cat([velocity, divergence.unsqueeze(-1)], dim=-1)

        state = torch.where(sound, _integrated(derivative, state, start, end), torch.nan)
        return state[:, :-1].reshape(value.shape), state[:, -1].reshape(value.shape[:-1])


def _integrated(derivative: Callable[[Tensor, Tensor], Tensor], state: Tensor, start: float, end: float) -> Tensor:
    """The state (n, k) at the end time."""
    times = torch.tensor([start, end], dtype=torch.float64, device=state.device)
    if state.is_meta or not len(state):
        # Nothing to choose steps by: one of any size has the shapes.
        return state + derivative(times[0].to(state.dtype), state)
    solver = _DOUBLE if state.dtype == torch.float64 else _SINGLE
    options = {
        "norm": lambda errors: errors.abs().max(),
        "first_step": _FIRST_STEP,
        # Ends on the end, which would be interpolated else, at a lower order than the steps'.
        "step_t": times[1:],
        "max_num_steps": solver.most_steps,
    }
    tolerance = solver.tolerance
    try:
        solution: Tensor = odeint(
            derivative, state, times, rtol=tolerance, atol=tolerance, method=solver.method, options=options
        )
    except AssertionError:
        # How the solver says that steps became too small or too many.
        raise ModelError(
            "ffjord: its field is too steep to follow; fit again with a lower train.learning_rate or a higher "
            "train.weight_decay"
        ) from None
    return solution[-1]
