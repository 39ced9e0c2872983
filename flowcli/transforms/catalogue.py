"""The catalogue of transforms as plain data: no torch here.

Validation of configs, suggestions, ``flowcli transforms``, the JSON Schema and shell completion all come
from these entries. To add a transform, write its builder in a file of its own and one :class:`Entry`.

A builder is called as ``builder(features, context_features, **parameters)`` and returns a
:class:`flowcli.transforms.bijection.Bijection`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

# How columns can be ordered; a list holds their positions, each of 1..d once.
Order = Literal["natural", "reverse", "random"] | list[int]

Cost = Literal["1 pass", "d passes", "root finding", "none"]


@dataclass(frozen=True)
class Parameter:
    """One YAML key of a transform. ``minimum`` and ``maximum`` hold for each item of a list."""

    name: str
    type: Any
    default: Any
    doc: str
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Entry:
    """What is known of a transform without building it.

    ``scoring_cost`` and ``sampling_cost`` are those with default parameters; where a parameter
    ``direction`` is set to ``sampling`` the two change places (:meth:`costs`). ``min_features`` is the
    smallest number of columns for which the transform can do more than its elementwise part.
    """

    name: str
    summary: str
    formula: str
    reference: str
    builder: str
    parameters: tuple[Parameter, ...] = ()
    scoring_cost: Cost = "1 pass"
    sampling_cost: Cost = "1 pass"
    takes_context: bool = False
    min_features: int = 1
    volume_preserving: bool = False
    starts_at_identity: bool = True

    def costs(self, parameters: Mapping[str, Any]) -> tuple[Cost, Cost]:
        """The cost of scoring and of sampling with these parameters."""
        if parameters.get("direction") == "sampling":
            return self.sampling_cost, self.scoring_cost
        return self.scoring_cost, self.sampling_cost


HIDDEN = Parameter("hidden", list[int], [64, 64], "widths of the network's hidden layers", minimum=1, maximum=8192)
ACTIVATION = Parameter("activation", Literal["relu", "tanh", "silu", "elu"], "relu", "what follows each hidden layer")
LOG_SCALE_BOUND = Parameter(
    "log_scale_bound", float, 3.0, "the log of the scale stays within plus and minus this, smoothly", 0.1, 20.0
)
SPLIT = Parameter(
    "split",
    Literal["half", "alternate", "random"],
    "alternate",
    "which columns are kept: the first half, every second one, or half of them drawn once",
)
DIRECTION = Parameter(
    "direction",
    Literal["density", "sampling"],
    "density",
    "the one-pass direction: density (fast to score and train) or sampling (fast to sample)",
)
ORDER = Parameter(
    "order",
    Order,
    "natural",
    "order of the columns: natural, reverse, random, or a list of their positions from 1",
)
KIND = Parameter("kind", Literal["rational_quadratic", "linear_rational"], "rational_quadratic", "form of the pieces")
BINS = Parameter("bins", int, 8, "number of bins between the bounds", 2, 256)
BOUND = Parameter(
    "bound", float, 5.0, "the spline acts within plus and minus this many standard deviations", 0.5, 1000.0
)

ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="affine",
        summary="location and scale of each column, or of each column given the context",
        formula="x_k = z_k exp(s_k) + t_k; log|det| = sum of s_k",
        reference="location-scale family",
        builder="flowcli.transforms.elementwise:affine",
        parameters=(LOG_SCALE_BOUND, HIDDEN, ACTIVATION),
        takes_context=True,
    ),
    Entry(
        name="affine_autoregressive",
        summary="MAF (direction: density) or IAF (direction: sampling)",
        formula="density: z_k = (x_k - t_k(x_<k)) exp(-s_k(x_<k)); sampling: x_k = z_k exp(s_k(z_<k)) + t_k(z_<k)",
        reference="Papamakarios, Pavlakou & Murray 2017 (MAF); Kingma et al. 2016 (IAF)",
        builder="flowcli.transforms.autoregressive:affine_autoregressive",
        parameters=(HIDDEN, ACTIVATION, DIRECTION, ORDER, LOG_SCALE_BOUND),
        sampling_cost="d passes",
        takes_context=True,
        min_features=2,
    ),
    Entry(
        name="affine_coupling",
        summary="Real NVP: one part of the columns is scaled and shifted, given the other",
        formula="x_kept = z_kept; x_rest = z_rest exp(s(z_kept)) + t(z_kept)",
        reference="Dinh, Sohl-Dickstein & Bengio 2017",
        builder="flowcli.transforms.coupling:affine_coupling",
        parameters=(HIDDEN, ACTIVATION, SPLIT, LOG_SCALE_BOUND),
        takes_context=True,
        min_features=2,
    ),
    Entry(
        name="householder",
        summary="mixes the columns by reflections; volume and distances stay",
        formula="x = H_K ... H_1 z with H_i = I - 2 u_i u_i' / |u_i|^2; log|det| = 0",
        reference="Tomczak & Welling 2016",
        builder="flowcli.transforms.pyro_adapter:householder",
        parameters=(Parameter("reflections", int, 2, "number of reflections", 1, 4096),),
        min_features=2,
        volume_preserving=True,
        starts_at_identity=False,
    ),
    Entry(
        name="permute",
        summary="reorders the columns",
        formula="x_i = z_order(i); log|det| = 0",
        reference="Dinh, Sohl-Dickstein & Bengio 2017, section 3.5",
        builder="flowcli.transforms.permute:Permute",
        parameters=(Parameter("order", Order, "reverse", ORDER.doc),),
        min_features=2,
        volume_preserving=True,
        starts_at_identity=False,
    ),
    Entry(
        name="spline",
        summary="a monotone spline of each column, or of each column given the context",
        formula="x_k = spline_k(z_k) on [-bound, bound], x_k = z_k outside",
        reference="Durkan et al. 2019 (rational_quadratic); Dolatabadi, Erfani & Leckie 2020 (linear_rational)",
        builder="flowcli.transforms.elementwise:spline",
        parameters=(KIND, BINS, BOUND, HIDDEN, ACTIVATION),
        takes_context=True,
    ),
    Entry(
        name="spline_autoregressive",
        summary="each column by a spline that depends on the columns before it",
        formula="density: z_k = spline^-1(x_k; theta(x_<k)); sampling: x_k = spline(z_k; theta(z_<k))",
        reference="Durkan et al. 2019 (rational_quadratic); Dolatabadi, Erfani & Leckie 2020 (linear_rational)",
        builder="flowcli.transforms.autoregressive:spline_autoregressive",
        parameters=(HIDDEN, ACTIVATION, DIRECTION, ORDER, KIND, BINS, BOUND),
        sampling_cost="d passes",
        takes_context=True,
    ),
    Entry(
        name="spline_coupling",
        summary="one part of the columns by splines that depend on the other",
        formula="x_kept = z_kept; x_rest = spline(z_rest; theta(z_kept))",
        reference="Durkan et al. 2019 (rational_quadratic); Dolatabadi, Erfani & Leckie 2020 (linear_rational)",
        builder="flowcli.transforms.coupling:spline_coupling",
        parameters=(HIDDEN, ACTIVATION, SPLIT, KIND, BINS, BOUND),
        takes_context=True,
        min_features=2,
    ),
    Entry(
        name="triangular_affine",
        summary="with a normal base, any multivariate normal; starts at its maximum-likelihood values",
        formula="x = mu + A context + L z, L lower triangular; log|det| = sum of log L_kk",
        reference="Cholesky factorisation; maximum likelihood in closed form",
        builder="flowcli.transforms.triangular:TriangularAffine",
        takes_context=True,
    ),
)
