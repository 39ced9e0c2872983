"""Normalising layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowcli.transforms.bijection import Bijection, ValueAndLogDet


class ActNorm(Bijection):
    """``x = z exp(s) + t``, started so that the training rows have mean 0 and variance 1 on the base's side.

    Kingma & Dhariwal 2018, section 3.1.
    """

    decays_to_zero = False

    def __init__(self, features: int, context_features: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(features))
        self.log_scale = nn.Parameter(torch.zeros(features))

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        return z * torch.exp(self.log_scale) + self.shift, self.log_scale.sum().expand(z.shape[:-1])

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        return (x - self.shift) * torch.exp(-self.log_scale), -self.log_scale.sum().expand(x.shape[:-1])

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        rows = x.double()
        self.shift.copy_(rows.mean(0))
        self.log_scale.copy_(torch.log(rows.std(0, correction=0).clamp_min(1e-6)))
