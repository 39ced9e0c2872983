"""Normalising layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowcli.transforms.bijection import Bijection, Skipping, ValueAndLogDet, only, sum_features

# Added to a batch's variance, so that columns that do not vary can be divided by it.
VARIANCE_FLOOR = 1e-5


class ActNorm(Skipping):
    """``x = z exp(s) + t``, started so that the training rows have mean 0 and variance 1 on the base's side.

    Kingma & Dhariwal 2018, section 3.1.
    """

    decays_to_zero = False

    compiles = True

    def __init__(self, features: int, context_features: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(features))
        self.log_scale = nn.Parameter(torch.zeros(features))

    def forward_and_log_det(
        self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        x = z * torch.exp(self.log_scale) + self.shift
        return only(x, present), sum_features(self.log_scale.expand(z.shape), present)

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        z = (x - self.shift) * torch.exp(-self.log_scale)
        return only(z, present), -sum_features(self.log_scale.expand(x.shape), present)

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> None:
        rows = x.double()
        there = torch.ones_like(rows) if present is None else present.double()
        count = there.sum(0).clamp_min(1)
        mean = (rows * there).sum(0) / count
        variance = ((rows - mean).square() * there).sum(0) / count
        self.shift.copy_(mean)
        # A column that no row has keeps its scale.
        self.log_scale.copy_(torch.where(there.sum(0) > 0, torch.log(variance.sqrt().clamp_min(1e-6)), 0.0))


class BatchNorm(Bijection):
    """``z = (x - m) exp(g) / sqrt(v) + b`` with running statistics ``m`` and ``v``, as in batch normalisation.

    Dinh, Sohl-Dickstein & Bengio 2017, appendix E, but that gradients take the statistics as constants. In
    training mode the density's direction first moves them towards the batch's; the map is then the same affine
    one for every row, both ways. In evaluation mode they stand still, as they do when sampling.
    """

    decays_to_zero = False
    mean: Tensor
    variance: Tensor

    def __init__(self, features: int, context_features: int, *, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        # Set while the statistics are to be those of the one batch that passes.
        self.measuring = False
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))
        self.shift = nn.Parameter(torch.zeros(features))
        self.log_scale = nn.Parameter(torch.zeros(features))

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        x = (z - self.shift) * torch.exp(-self.log_scale) * torch.sqrt(self.variance) + self.mean
        return x, -self._log_slope().expand(z.shape[:-1])

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        if self.measuring:
            self._follow(x.detach().reshape(-1, x.shape[-1]), 1.0)
        elif self.training:
            self._follow(x.detach().reshape(-1, x.shape[-1]), self.momentum)
        z = (x - self.mean) * torch.exp(self.log_scale) * torch.rsqrt(self.variance) + self.shift
        return z, self._log_slope().expand(x.shape[:-1])

    def damage(self) -> str:
        return "" if bool((self.variance > 0).all()) else "a variance is not above zero"

    def _log_slope(self) -> Tensor:
        """``log|det dz/dx|``."""
        return (self.log_scale - torch.log(self.variance) / 2).sum()

    @torch.no_grad()
    def _follow(self, rows: Tensor, share: float) -> None:
        """Mix the batch into the statistics, unless they would no longer be finite."""
        away = rows.mean(0) - self.mean
        mean = self.mean + share * away
        # The variance of the mixture of what was seen before and the batch: its second part lets batches of one
        # row, which have no variance of their own, tell it too.
        within = torch.lerp(self.variance, rows.var(0, correction=0) + VARIANCE_FLOOR, share)
        variance = within + share * (1 - share) * away * away
        sound = (mean.isfinite() & variance.isfinite()).all()
        self.mean.copy_(torch.where(sound, mean, self.mean))
        self.variance.copy_(torch.where(sound, variance, self.variance))

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        rows = x.double()
        self.mean.copy_(rows.mean(0))
        self.variance.copy_(rows.var(0, correction=0) + VARIANCE_FLOOR)
