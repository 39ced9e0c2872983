"""The deep sigmoidal transformer of neural autoregressive flows."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from flowcli.transforms.one_way import Curve, OneWayTransformer
from flowcli.transforms.transformer import soft_clip

# Units are at most this many times as steep, or as flat, as a plain sigmoid.
LARGEST_SLOPE = 50.0
# The largest ratio between two units' weights.
LARGEST_RATIO = 1000.0
# No slope is smaller than this part of 1: between steep units that are far apart, the sum alone is so flat
# that no digit of the value comes back.
SMALLEST_SLOPE = 1e-3


class DeepSigmoidTransformer(OneWayTransformer):
    """``f(v) = logit(sum_i w_i sigmoid(a_i v + b_i))``, ``a_i > 0``, ``w`` in the simplex.

    Huang, Lacoste, Krueger & Courville 2018, equations 8 and 9, with one layer of units. Both the sum and
    what it lacks to 1 are held as logarithms, so that far out, where the sum rounds to 0 or 1, ``f`` goes on
    as the straight line that it is. A small part of the identity is mixed in. Parameters are ``log a_i``,
    ``b_i`` and the logits of ``w_i``.
    """

    def __init__(self, *, units: int, direction: str) -> None:
        super().__init__(direction)
        self.units = units
        self.parameter_count = 3 * units

    def curve(self, parameters: Tensor) -> Curve:
        raw_slopes, raw_offsets, raw_weights = torch.split(parameters, self.units, dim=-1)
        # With all parameters zero the units coincide, which makes the identity; gains of their own are what
        # lets training move them apart.
        offsets = raw_offsets * torch.linspace(0.5, 2.0, self.units, dtype=parameters.dtype, device=parameters.device)
        log_slopes = soft_clip(raw_slopes, math.log(LARGEST_SLOPE))
        slopes = torch.exp(log_slopes)
        log_weights = torch.log_softmax(soft_clip(raw_weights, math.log(LARGEST_RATIO) / 2), dim=-1)
        log_steepness = log_slopes - log_weights

        def evaluate(value: Tensor) -> tuple[Tensor, Tensor]:
            inner = value.unsqueeze(-1) * slopes + offsets
            # Not one from the other: their difference has lost the digits of the smaller.
            log_parts, log_rests = log_weights + logsigmoid(inner), log_weights + logsigmoid(-inner)
            log_sum, log_rest = (torch.logsumexp(parts, -1, keepdim=True) for parts in (log_parts, log_rests))
            # A unit's shares in the sum and in the rest: small differences, taken before anything is added up.
            shares = (log_parts - log_sum) + (log_rests - log_rest)
            logit, log_slope = (log_sum - log_rest).squeeze(-1), torch.logsumexp(shares + log_steepness, -1)
            least = torch.full_like(log_slope, math.log(SMALLEST_SLOPE))
            return (
                (logit + SMALLEST_SLOPE * value) / (1 + SMALLEST_SLOPE),
                torch.logaddexp(log_slope, least) - math.log1p(SMALLEST_SLOPE),
            )

        return evaluate
