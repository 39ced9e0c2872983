"""Base distributions: where the latent ``z`` comes from."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from flowcli.transforms.bijection import sum_features
from flowcli.transforms.networks import Conditioner
from flowcli.transforms.transformer import soft_clip

LOG_SCALE_BOUND = 3.0
# Degrees of freedom lie within e^3 of this on either side: from 0.5 to 200.
TYPICAL_DEGREES_OF_FREEDOM = 10.0
LOG_DEGREES_BOUND = 3.0


class Base(nn.Module):
    """A distribution of ``z`` ``(..., d)``, given the context ``(..., c)`` where it is a conditional one.

    ``present`` ``(..., d)``, where it is given, says which columns of ``z`` a row has; the density is over these, and
    the others stand as 0.

    Sampling is a function of ``noise_features`` uniform numbers a row, so that a seed means the same on
    every device.
    """

    # Whether ``initialize`` has something to do.
    starts_from_rows = False

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.noise_features = features

    def log_prob(self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        """Log-density in nats, ``(...)``."""
        raise NotImplementedError

    def sample(self, uniforms: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        """``z`` ``(..., d)`` from independent uniform numbers in [0, 1), ``(..., noise_features)``."""
        raise NotImplementedError

    def to_normal(self, z: Tensor, context: Tensor | None, noise: np.random.Generator) -> Tensor:
        """Numbers ``(n, d)`` that are independent standard normals if ``z`` comes from this base, for tests of fit.

        What the base mixes over, a component or a scale, is drawn from its posterior given ``z``, with ``noise``.
        """
        raise NotImplementedError

    def initialize(self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> None:
        """Set parameters from the latents ``(n, d)`` of the training rows; the default leaves them alone."""


class FreeOrConditional(nn.Module):
    """Numbers ``(..., *shape)``: free parameters, plus a network of the context where there is one.

    The network starts at zero. Without ``hidden`` there is none.
    """

    # Of its own parameters; a network's decay all the same.
    decays_to_zero = False

    def __init__(
        self, shape: tuple[int, ...], context_features: int, hidden: list[int] | None, activation: str = "relu"
    ) -> None:
        super().__init__()
        self.free = nn.Parameter(torch.zeros(shape))
        self.conditioner = (
            None if hidden is None else Conditioner(context_features, math.prod(shape), hidden, activation)
        )

    def given(self, context: Tensor | None) -> Tensor:
        """The numbers for a context."""
        if self.conditioner is None:
            return cast(Tensor, self.free)
        assert context is not None
        return cast(Tensor, self.free + self.conditioner(context).unflatten(-1, self.free.shape))


class Normal(Base):
    """Independent normals: standard ones, or with location and scale from a network of the context."""

    def __init__(
        self, features: int, context_features: int = 0, *, hidden: list[int] | None = None, activation: str = "relu"
    ) -> None:
        super().__init__(features)
        self.conditional = hidden is not None
        if self.conditional:
            self.parameters_of = FreeOrConditional((2, features), context_features, hidden, activation)

    def log_prob(self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        if not self.conditional:
            return log_normal(z, present)
        location, raw = self.parameters_of.given(context).unbind(-2)
        log_scale = soft_clip(raw, LOG_SCALE_BOUND)
        return log_normal((z - location) * torch.exp(-log_scale), present) - sum_features(log_scale, present)

    def sample(self, uniforms: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        z = normal_quantile(uniforms)
        if not self.conditional:
            return z
        location, raw = self.parameters_of.given(context).unbind(-2)
        return location + z * torch.exp(soft_clip(raw, LOG_SCALE_BOUND))

    def to_normal(self, z: Tensor, context: Tensor | None, noise: np.random.Generator) -> Tensor:
        if not self.conditional:
            return z
        location, raw = self.parameters_of.given(context).unbind(-2)
        return (z - location) * torch.exp(-soft_clip(raw, LOG_SCALE_BOUND))


class StudentT(Base):
    """Independent Student-t variables of scale 1 with learned degrees of freedom, one for each column.

    With a context, degrees of freedom, location and scale come from a network of it.
    """

    def __init__(
        self, features: int, context_features: int = 0, *, hidden: list[int] | None = None, activation: str = "relu"
    ) -> None:
        super().__init__(features)
        self.noise_features = 2 * features
        self.conditional = hidden is not None
        self.parameters_of = FreeOrConditional(
            (3 if self.conditional else 1, features), context_features, hidden, activation
        )

    def _resolved(self, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Degrees of freedom, location and log-scale."""
        raw, *rest = self.parameters_of.given(context).unbind(-2)
        degrees = TYPICAL_DEGREES_OF_FREEDOM * torch.exp(soft_clip(raw, LOG_DEGREES_BOUND))
        if not self.conditional:
            return degrees, torch.zeros_like(degrees), torch.zeros_like(degrees)
        return degrees, rest[0], soft_clip(rest[1], LOG_SCALE_BOUND)

    def log_prob(self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        degrees, location, log_scale = self._resolved(context)
        value = (z - location) * torch.exp(-log_scale)
        half = degrees / 2
        constant = torch.lgamma(half + 0.5) - torch.lgamma(half) - 0.5 * torch.log(math.pi * degrees)
        # For far values the square overflows float32 long before its logarithm does.
        log_term = 2 * _log_hypotenuse(value, torch.sqrt(degrees)) - torch.log(degrees)
        return sum_features(constant - (half + 0.5) * log_term - log_scale, present)

    def sample(self, uniforms: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        """Bailey 1994, "Polar generation of random variates with the t-distribution"."""
        degrees, location, log_scale = self._resolved(context)
        radius, angle = uniforms.chunk(2, dim=-1)
        spread = torch.sqrt(degrees * torch.expm1(-2 / degrees * torch.log1p(-radius)))
        return location + torch.exp(log_scale) * spread * torch.cos(2 * math.pi * angle)

    def to_normal(self, z: Tensor, context: Tensor | None, noise: np.random.Generator) -> Tensor:
        """Student's t is a normal whose precision is drawn from ``Gamma(degrees / 2, degrees / 2)``."""
        degrees, location, log_scale = self._resolved(context)
        value = (z - location) * torch.exp(-log_scale)
        shape = ((degrees + 1) / 2).expand(value.shape).cpu().numpy()
        gamma = torch.from_numpy(noise.standard_gamma(shape)).to(value)
        return value / torch.hypot(value, torch.sqrt(degrees)) * torch.sqrt(2 * gamma)


class Uniform(Base):
    """Uniform on the unit cube, its faces included: rounding to 1 keeps a density, and what is absent stands inside."""

    def __init__(self, features: int, context_features: int = 0) -> None:
        super().__init__(features)

    def log_prob(self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        inside = ((z >= 0) & (z <= 1)).all(-1)
        return torch.where(inside, torch.zeros_like(z[..., 0]), -torch.inf)

    def sample(self, uniforms: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        return inside_unit(uniforms)

    def to_normal(self, z: Tensor, context: Tensor | None, noise: np.random.Generator) -> Tensor:
        # A z outside the cube is as far out as can be.
        return normal_quantile(z.clamp_max(1 - 2.0**-53))


def inside_unit(uniforms: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) moved off 0, whose quantile is infinite."""
    return uniforms.clamp_min(2.0**-54)


def normal_quantile(uniforms: Tensor) -> Tensor:
    """Standard normal numbers from uniform ones, of the same shape."""
    normals: Tensor = torch.special.ndtri(inside_unit(uniforms))
    return normals


def log_normal(z: Tensor, present: Tensor | None = None) -> Tensor:
    """Log-density of independent standard normals, summed over the columns that are present."""
    if present is None:
        return -0.5 * (z * z).sum(-1) - 0.5 * math.log(2 * math.pi) * z.shape[-1]
    return sum_features(-0.5 * z * z - 0.5 * math.log(2 * math.pi), present)


def _log_hypotenuse(one: Tensor, other: Tensor) -> Tensor:
    """``log sqrt(one^2 + other^2)`` without the squares."""
    return torch.log(torch.hypot(one, other))
