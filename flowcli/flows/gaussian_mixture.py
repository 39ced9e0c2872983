"""The mixture base: normals with full covariances."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from flowcli.flows.base import LOG_SCALE_BOUND, Base, FreeOrConditional, log_normal, normal_quantile
from flowcli.flows.labels import choose
from flowcli.transforms.bijection import only, sum_features
from flowcli.transforms.transformer import soft_clip

# A mixture can be far narrower than the whole, so that its scales have twice the room, in logarithms.
BOUND = 2 * LOG_SCALE_BOUND
# How a mixture takes its start from the rows: from at most so many, by k-means and then by expectation-maximisation.
MOST_ROWS = 20_000
CLUSTERING_ROUNDS = 10
LIKELIHOOD_ROUNDS = 100
# In nats a row: a round that gains less is the last.
SMALLEST_GAIN = 1e-3
# Half a row's worth of a part of the spread within all clusters is added to each covariance, so that a cluster of a few
# rows does not shrink to them.
PRIOR_ROWS = 0.5
PRIOR_PART = 0.01
# A component of fewer, or its column, would be these rows, kept in the model; it starts again from all rows.
FEWEST_ROWS = 5
# So many numbers at once.
BLOCK = 4_000_000


class GaussianMixture(Base):
    """``p(z) = sum_k w_k N(z; m_k, C_k)``; with a context, a network of it adds to all parameters.

    A covariance is held by its modified Cholesky factors (Pourahmadi 1999): ``(I + B) (z - m)`` has independent
    columns of scale ``exp(s)``, ``B`` strictly lower triangular. Scoring needs no solve, and ``B`` no bound.
    """

    starts_from_rows = True

    def __init__(
        self,
        features: int,
        context_features: int = 0,
        *,
        components: int,
        hidden: list[int] | None = None,
        activation: str = "relu",
    ) -> None:
        super().__init__(features)
        self.noise_features = features + 1
        self.components = components
        # In the row of a component: its log-weight, its location, its log-scales, and B row by row.
        self.sizes = [1, features, features, features * (features - 1) // 2]
        self.parameters_of = FreeOrConditional((components, sum(self.sizes)), context_features, hidden, activation)
        nn.init.normal_(self.parameters_of.free[:, 1 : 1 + features])
        # Where the search for clusters begins.
        self.seed = int(torch.randint(2**31, (), device="cpu"))
        below = torch.tril_indices(features, features, -1)
        self.register_buffer("below", below, persistent=False)
        # Which of B's entries, with a zero behind them, is at each place of the matrix, row by row.
        places = torch.full((features, features), below.shape[1])
        places[below[0], below[1]] = torch.arange(below.shape[1])
        self.register_buffer("places", places.flatten(), persistent=False)

    below: Tensor
    places: Tensor

    def _resolved(self, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log-weights ``(..., k)``, locations and log-scales ``(..., k, d)``, and ``B`` ``(..., k, d, d)``."""
        weights, locations, scales, entries = torch.split(self.parameters_of.given(context), self.sizes, dim=-1)
        # Not put in place, so that members of a mixture can be trained side by side.
        factor = torch.index_select(nn.functional.pad(entries, (0, 1)), -1, self.places)
        factor = factor.reshape(*entries.shape[:-1], self.features, self.features)
        return torch.log_softmax(weights.squeeze(-1), dim=-1), locations, soft_clip(scales, BOUND), factor

    def _each(self, z: Tensor, context: Tensor | None, present: Tensor | None) -> tuple[Tensor, Tensor]:
        """Of each component, ``z`` standardised, ``(..., k, d)``, and the log of its share of the density."""
        log_weights, locations, log_scales, factor = self._resolved(context)
        there = None if present is None else present.unsqueeze(-2)
        away = only(z.unsqueeze(-2) - locations, there)
        standard = only((away + (factor @ away.unsqueeze(-1)).squeeze(-1)) * torch.exp(-log_scales), there)
        return standard, log_weights + (log_normal(standard, there) - sum_features(log_scales, there))

    def log_prob(self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        return torch.logsumexp(self._each(z, context, present)[1], dim=-1)

    def to_normal(self, z: Tensor, context: Tensor | None, noise: np.random.Generator) -> Tensor:
        present = ~torch.isnan(z)
        standard, log_shares = self._each(only(z, present), context, present)
        uniforms = torch.from_numpy(noise.random(z.shape[:-1])).to(z)
        component = choose(uniforms, torch.log_softmax(log_shares, dim=-1))
        return torch.where(present, standard.take_along_dim(component[..., None, None], -2).squeeze(-2), torch.nan)

    def sample(self, uniforms: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        log_weights, locations, log_scales, factor = self._resolved(context)
        component = choose(uniforms[..., 0], log_weights)

        def of_component(values: Tensor, dimensions: int) -> Tensor:
            values = values.expand(*component.shape, *values.shape[-1 - dimensions :])
            index = component.reshape(*component.shape, *[1] * (dimensions + 1))
            index = index.expand(*component.shape, 1, *values.shape[values.dim() - dimensions :])
            return values.gather(component.dim(), index).squeeze(component.dim())

        independent = torch.exp(of_component(log_scales, 1)) * normal_quantile(uniforms[..., 1:])
        slopes = only(of_component(factor, 2), None if present is None else present.unsqueeze(-1))
        away = torch.linalg.solve_triangular(
            slopes, only(independent, present).unsqueeze(-1), upper=False, unitriangular=True
        )
        z: Tensor = of_component(locations, 1) + away.squeeze(-1)
        return z

    @torch.no_grad()
    def initialize(self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> None:
        """The likeliest mixture of the rows, as far as expectation-maximisation from clusters finds it."""
        if z.is_meta:
            return  # there are no values to start from
        rows = z.detach().cpu().double()
        there = torch.ones_like(rows, dtype=torch.bool) if present is None else present.cpu()
        every = -(-len(rows) // MOST_ROWS)
        weights, locations, log_scales, factor = _mixture_of(rows[::every], there[::every], self.components, self.seed)
        log_scales = log_scales.clamp(-0.999 * BOUND, 0.999 * BOUND)
        raw = log_scales / (1 - log_scales.abs() / BOUND)  # soft_clip's inverse
        entries = factor[:, self.below[0].cpu(), self.below[1].cpu()]
        self.parameters_of.free.copy_(torch.cat([torch.log(weights).unsqueeze(-1), locations, raw, entries], dim=-1))


def _mixture_of(rows: Tensor, present: Tensor, components: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of a mixture of rows ``(n, d)`` that have the columns where ``present`` is true.

    Weights ``(k,)``, locations and log-scales ``(k, d)``, and ``I + B`` ``(k, d, d)`` as :class:`GaussianMixture` has
    them.
    """
    held = present.to(rows.dtype)
    where = None if present.all() else present
    mean = only(rows, where).sum(0) / held.sum(0).clamp_min(1)
    filled = torch.where(present, rows, mean)
    means, nearest = _clusters(filled, components, seed)
    within = ((filled - means[nearest]).square() * held).sum(0) / held.sum(0).clamp_min(1)
    prior = torch.maximum(PRIOR_PART * within, 1e-6 * filled.var(0, correction=0)).clamp_min(1e-8)
    # For what starts again; the prior has the same part in it whatever the number of rows.
    everyone = rows.new_ones(1, len(rows))
    whole = _likeliest(only(filled - mean, where), everyone, held, PRIOR_ROWS * len(rows) * prior)
    share, before = torch.nn.functional.one_hot(nearest, components).to(rows.dtype).mT, -torch.inf
    size = max(1, BLOCK // rows.numel())
    for _ in range(LIKELIHOOD_ROUNDS):
        weights = (share.sum(-1) + 1 / components) / (len(rows) + 1)
        counted = share @ held
        lonely = counted < FEWEST_ROWS
        means = torch.where(lonely, mean, share @ only(rows, where) / counted.clamp_min(FEWEST_ROWS))
        found = []
        for its_share, its_means, alone in zip(
            *(torch.split(part, size) for part in (share, means, lonely)), strict=True
        ):
            away = only(filled - its_means.unsqueeze(-2), where)
            log_scales, factor = _likeliest(away, its_share, held, PRIOR_ROWS * prior)
            log_scales = torch.where(alone, whole[0], log_scales)
            factor = torch.where(alone.unsqueeze(-1), whole[1], factor)
            standard = only(away @ (factor * torch.exp(-log_scales).unsqueeze(-1)).mT, where)
            found.append((log_scales, factor, standard.square().sum(-1)))
        log_scales, factor, distances = (torch.cat(parts) for parts in zip(*found, strict=True))
        joint = torch.log(weights).unsqueeze(-1) - log_scales @ held.mT - 0.5 * distances
        total = torch.logsumexp(joint, dim=0)
        share = torch.exp(joint - total)
        mean_total = float(total.mean())
        if mean_total - before < SMALLEST_GAIN:
            break
        before = mean_total
    return weights, means, log_scales, factor


def _likeliest(away: Tensor, share: Tensor, held: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
    """Log-scales ``(k, d)`` and ``I + B`` ``(k, d, d)`` of components with these shares ``(k, n)`` of the rows.

    ``away``: how far the rows are from each one's means, ``(k, n, d)``, and 0 where ``held`` ``(n, d)`` is 0. ``prior``
    ``(d,)`` is added to the sums of squares.
    """
    log_scales = away.new_empty(len(share), away.shape[-1])
    factor = away.new_empty(*log_scales.shape, away.shape[-1])
    unit = torch.eye(away.shape[-1], dtype=away.dtype)
    # A column is regressed on those before it in the rows that have it: at once for those that the same rows have.
    patterns, pattern_of = torch.unique(held.mT, dim=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        own, its_share = pattern_of == number, share * pattern
        scatter = (away * its_share.unsqueeze(-1)).mT @ away + torch.diag(prior)
        cholesky = torch.linalg.cholesky(scatter / (its_share.sum(-1) + PRIOR_ROWS)[:, None, None])
        scales = torch.diagonal(cholesky, dim1=-2, dim2=-1)
        inverse = torch.linalg.solve_triangular(cholesky / scales.unsqueeze(-2), unit, upper=False, unitriangular=True)
        log_scales[:, own], factor[:, own] = torch.log(scales)[:, own], inverse[:, own]
    return log_scales, factor


def _clusters(rows: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Means ``(k, d)`` by k-means, and which of them each row ``(n,)`` is nearest to."""
    means = _spread_out(rows, count, seed)
    for _ in range(CLUSTERING_ROUNDS):
        nearest = torch.cdist(rows, means).argmin(-1)
        member = torch.nn.functional.one_hot(nearest, count).to(rows.dtype)
        size = member.sum(0).unsqueeze(-1)
        means = torch.where(size > 0, member.mT @ rows / size.clamp_min(1), means)
    return means, nearest


def _spread_out(rows: Tensor, count: int, seed: int) -> Tensor:
    """``count`` rows, drawn with a chance that grows with the distance to those drawn (k-means++)."""
    generator = torch.Generator().manual_seed(seed)
    chosen = rows[torch.randint(len(rows), (1,), generator=generator)]
    distance = (rows - chosen).square().sum(-1)
    for _ in range(count - 1):
        # Where no row is left that differs, any will do.
        drawn = rows[torch.multinomial(distance + 1e-12, 1, generator=generator)]
        distance = torch.minimum(distance, (rows - drawn).square().sum(-1))
        chosen = torch.cat([chosen, drawn])
    return chosen
