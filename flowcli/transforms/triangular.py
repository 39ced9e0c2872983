"""The triangular affine map: with a normal base, any multivariate normal."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowcli.transforms.bijection import Skipping, ValueAndLogDet, only, sum_features

# The smallest standard deviation of a column given the others, in units of its own or of 1, the larger:
# columns that determine each other exactly have no density.
SMALLEST_RESIDUAL_SCALE = 1e-4


class TriangularAffine(Skipping):
    """``x = mu + A context + L z`` with ``L`` lower triangular, its diagonal positive.

    Before training, ``mu``, ``A`` and ``L`` are set to their maximum-likelihood values: the regression
    of the rows on the context, and the Cholesky factor of the residuals' covariance.
    """

    decays_to_zero = False

    compiles = True

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

    def forward_and_log_det(
        self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        x = z @ self._factor().mT + self._location(context)
        return only(x, present), sum_features(self.log_diagonal.expand(z.shape), present)

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        centred = x - self._location(context)
        if present is not None:
            return self._row_by_row(centred, present), -sum_features(self.log_diagonal.expand(x.shape), present)
        z = torch.linalg.solve_triangular(self._factor().mT, centred.reshape(-1, x.shape[-1]), upper=True, left=False)
        return z.reshape(x.shape), -self.log_diagonal.sum().expand(x.shape[:-1])

    def _row_by_row(self, centred: Tensor, present: Tensor) -> Tensor:
        """The solve by forward substitution, in which an absent column's ``z`` is 0."""
        factor = self._factor()
        columns: list[Tensor] = []
        for k, value in enumerate(centred.unbind(-1)):
            if columns:
                value = value - torch.stack(columns, dim=-1) @ factor[k, :k]
            columns.append(only(value / factor[k, k], present[..., k]))
        return torch.stack(columns, dim=-1)

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> None:
        if present is not None:
            self._regress_each(x.double(), context, present)
            return
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

    def _regress_each(self, x: Tensor, context: Tensor | None, present: Tensor) -> None:
        """A start where columns can be absent: one regression for each column, in order.

        Column ``k`` is regressed on the context and on the ``z`` of those before it, over the rows that have it.
        A column that few rows have keeps the identity.
        """
        z = torch.zeros_like(x)
        given = x.new_zeros(len(x), 0) if context is None or self.context_weight is None else context.double()
        for k in range(x.shape[-1]):
            there = present[:, k]
            inputs = torch.cat([x.new_ones(len(x), 1), given, z[:, :k]], dim=-1)
            if int(there.sum()) < 2 * inputs.shape[-1]:
                z[:, k] = only(x[:, k], there)
                continue
            design, wanted = inputs[there], x[there, k]
            means = design[:, 1:].mean(0)
            slopes = torch.linalg.pinv(design[:, 1:] - means, rtol=1e-6) @ (wanted - wanted.mean())
            intercept = wanted.mean() - means @ slopes
            residual = x[:, k] - intercept - inputs[:, 1:] @ slopes
            variance = residual[there].square().mean() + SMALLEST_RESIDUAL_SCALE**2 * wanted.var(
                correction=0
            ).clamp_min(1)
            self.location[k] = intercept
            if self.context_weight is not None:
                self.context_weight[k] = slopes[: given.shape[-1]]
            self.below_diagonal[k, :k] = slopes[given.shape[-1] :]
            self.log_diagonal[k] = torch.log(variance) / 2
            z[:, k] = only(residual / torch.sqrt(variance), there)
