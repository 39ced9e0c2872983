"""The triangular affine map: with a normal base, any multivariate normal."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowcli.transforms.bijection import Bijection, ValueAndLogDet

# The smallest standard deviation of a column given the others, in units of its own or of 1, the larger:
# columns that determine each other exactly have no density.
SMALLEST_RESIDUAL_SCALE = 1e-4


class TriangularAffine(Bijection):
    """``x = mu + A context + L z`` with ``L`` lower triangular, its diagonal positive.

    Before training, ``mu``, ``A`` and ``L`` are set to their maximum-likelihood values: the regression
    of the rows on the context, and the Cholesky factor of the residuals' covariance.
    """

    decays_to_zero = False

    def __init__(self, features: int, context_features: int) -> None:
        super().__init__()
        self.location = nn.Parameter(torch.zeros(features))
        self.log_diagonal = nn.Parameter(torch.zeros(features))
        self.below_diagonal = nn.Parameter(torch.zeros(features, features))
        self.context_weight = nn.Parameter(torch.zeros(features, context_features)) if context_features else None

    def _location(self, context: Tensor | None) -> Tensor:
        if self.context_weight is None or context is None:
            return self.location
        return self.location + context @ self.context_weight.mT

    def _factor(self) -> Tensor:
        return torch.tril(self.below_diagonal, diagonal=-1) + torch.diag(torch.exp(self.log_diagonal))

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        log_det = self.log_diagonal.sum().expand(z.shape[:-1])
        return z @ self._factor().mT + self._location(context), log_det

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        centred = x - self._location(context)
        z = torch.linalg.solve_triangular(self._factor().mT, centred.reshape(-1, x.shape[-1]), upper=True, left=False)
        return z.reshape(x.shape), -self.log_diagonal.sum().expand(x.shape[:-1])

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        rows = x.double()
        mean = rows.mean(0)
        residual = rows - mean
        if self.context_weight is not None and context is not None:
            inputs = context.double()
            # The smallest-norm solution: one-hot columns sum to one, so that the regression has no unique one.
            weight = torch.linalg.pinv(inputs - inputs.mean(0), rtol=1e-6) @ residual
            residual = residual - (inputs - inputs.mean(0)) @ weight
            mean = mean - inputs.mean(0) @ weight
            self.context_weight.copy_(weight.mT)
        covariance = residual.mT @ residual / len(rows)
        variance = rows.var(0, correction=0)
        floor = SMALLEST_RESIDUAL_SCALE**2 * variance.clamp_min(1)
        # A column that a map nearer to the data has brought down to nothing is left alone: to stretch it
        # again would raise the density in its direction with every layer.
        shrunk = variance <= SMALLEST_RESIDUAL_SCALE**2
        covariance = torch.where(shrunk | shrunk.unsqueeze(1), torch.diag(shrunk.to(rows.dtype)), covariance)
        factor = torch.linalg.cholesky(covariance + torch.diag(torch.where(shrunk, 0.0, floor)))
        self.location.copy_(mean)
        self.log_diagonal.copy_(torch.log(torch.diagonal(factor)))
        self.below_diagonal.copy_(torch.tril(factor, diagonal=-1))
