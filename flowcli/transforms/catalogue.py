"""The catalogue of transforms as plain data: no torch here.

Validation of configs, suggestions, ``flowcli transforms``, the JSON Schema and shell completion all come
from these entries. To add a transform, write its builder in a file of its own and one :class:`Entry`.

A builder is called as ``builder(features, context_features, **parameters)`` and returns a
:class:`flowcli.transforms.bijection.Bijection`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

# How columns can be ordered; a list holds their positions, each of 1..d once.
Order = Literal["natural", "reverse", "random"] | list[int]
# How columns can be split in two; a list holds names of columns.
Split = Literal["half", "alternate", "random"] | list[str]


class TransformerChoice:
    """The type of a parameter that names an elementwise entry, with that entry's own parameters."""


# What a direction costs, for d columns: passes of the networks; a root to find in each column, all at once
# or one column after the other; a differential equation to solve. From cheap to dear.
Cost = Literal["1 pass", "d passes", "root finding", "d root findings", "ODE solver", "none"]
COSTS: tuple[Cost, ...] = get_args(Cost)


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
    ``direction`` is set to ``sampling`` the two change places (:func:`.registry.costs`). ``min_features``
    is the smallest number of columns for which a config may use the transform. An elementwise entry names in
    ``transformer`` what makes its :class:`Transformer` of the parameters that are not :data:`CONDITIONER`'s,
    so that ``coupling`` and ``autoregressive`` can use it; ``affine`` marks one that leaves a normal column
    normal. ``log_det`` is the log-determinant of ``dx/dz`` where the formula gives x or z, else that of its ``f``.
    ``domain`` is where ``z`` may lie. ``skips_absent``: rows may lack some of the
    columns (:class:`.bijection.Skipping`). ``part`` is what the entry is: base distributions and discrete models
    are described in the same way (:mod:`flowcli.config.distributions`).
    """

    name: str
    summary: str
    formula: str
    reference: str
    builder: str
    part: Literal["transform", "base", "labels", "ordinals"] = "transform"
    log_det: str = ""
    parameters: tuple[Parameter, ...] = ()
    transformer: str = ""
    domain: Literal["real", "unit"] = "real"
    affine: bool = False
    scoring_cost: Cost = "1 pass"
    sampling_cost: Cost = "1 pass"
    takes_context: bool = False
    min_features: int = 1
    volume_preserving: bool = False
    starts_at_identity: bool = True
    skips_absent: bool = False


HIDDEN = Parameter("hidden", list[int], [64, 64], "widths of the network's hidden layers", minimum=1, maximum=8192)
ACTIVATION = Parameter("activation", Literal["relu", "tanh", "silu", "elu"], "relu", "what follows each hidden layer")
CONDITIONER = (HIDDEN, ACTIVATION)
TRANSFORMER = Parameter(
    "transformer", TransformerChoice, "affine", "an elementwise transform: its name, or 'name: {parameters}'"
)
FORMULA_WAY = Parameter(
    "direction",
    Literal["density", "sampling"],
    "density",
    "which way the formula goes: density (fast to score and train) or sampling (fast to sample)",
)
LOG_SCALE_BOUND = Parameter(
    "log_scale_bound", float, 3.0, "the log of the scale stays within plus and minus this, smoothly", 0.1, 20.0
)
SPLIT = Parameter(
    "split",
    Split,
    "alternate",
    "which columns are kept: the first half, every second one, half of them drawn once, or a list of names of columns "
    "(with no permute between the layer and the data)",
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
    "order of the columns: natural, reverse, random (the same for every seed), or a list of their positions from 1",
)
KIND = Parameter(
    "kind",
    Literal["rational_quadratic", "linear_rational", "linear"],
    "rational_quadratic",
    "form of the pieces; linear ones go on beyond the bounds",
)
BINS = Parameter("bins", int, 8, "number of bins between the bounds", 2, 256)
BOUND = Parameter(
    "bound", float, 5.0, "the spline acts within plus and minus this many standard deviations", 0.5, 1000.0
)
SIGMOIDS = Parameter("units", int, 16, "number of sigmoids", 1, 256)
LINE_BEYOND = "beyond plus and minus this many standard deviations the map is a straight line"
POLYNOMIALS = (
    Parameter("polynomials", int, 2, "number of polynomials whose squares are added; two can do what more do", 1, 16),
    Parameter("degree", int, 4, "degree of each polynomial", 0, 16),
    Parameter("bound", float, 3.0, LINE_BEYOND, 0.5, 1000.0),
)
POSITIVE_NETWORK = (
    Parameter("units", int, 8, "units of the network that is integrated", 1, 256),
    Parameter("bound", float, 5.0, LINE_BEYOND, 0.5, 1000.0),
)

ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="actnorm",
        summary="location and scale of each column, started so that the training rows have mean 0 and variance 1",
        formula="x_k = z_k exp(s_k) + t_k",
        log_det="sum of s_k",
        reference="Kingma & Dhariwal 2018, section 3.1",
        builder="flowcli.transforms.normalizing:ActNorm",
        skips_absent=True,
    ),
    Entry(
        name="additive_coupling",
        summary="NICE: one part of the columns is shifted, given the other; volume stays",
        formula="x_kept = z_kept; x_rest = z_rest + t(z_kept)",
        log_det="0",
        reference="Dinh, Krueger & Bengio 2015",
        builder="flowcli.transforms.coupling:additive_coupling",
        parameters=(*CONDITIONER, SPLIT),
        takes_context=True,
        min_features=2,
        volume_preserving=True,
        skips_absent=True,
    ),
    Entry(
        name="affine",
        summary="location and scale of each column, or of each column given the context",
        formula="x_k = z_k exp(s_k) + t_k",
        log_det="sum of s_k",
        reference="location-scale family",
        builder="flowcli.transforms.elementwise:affine",
        parameters=(LOG_SCALE_BOUND, *CONDITIONER),
        transformer="flowcli.transforms.affine:AffineTransformer",
        affine=True,
        takes_context=True,
        skips_absent=True,
    ),
    Entry(
        name="affine_autoregressive",
        summary="MAF (direction: density) or IAF (direction: sampling)",
        formula="density: z_k = (x_k - t_k(x_<k)) exp(-s_k(x_<k)); sampling: x_k = z_k exp(s_k(z_<k)) + t_k(z_<k)",
        log_det="sum of s_k",
        reference="Papamakarios, Pavlakou & Murray 2017 (MAF); Kingma et al. 2016 (IAF)",
        builder="flowcli.transforms.autoregressive:affine_autoregressive",
        parameters=(HIDDEN, ACTIVATION, DIRECTION, ORDER, LOG_SCALE_BOUND),
        sampling_cost="d passes",
        takes_context=True,
        min_features=2,
        skips_absent=True,
    ),
    Entry(
        name="affine_coupling",
        summary="Real NVP: one part of the columns is scaled and shifted, given the other",
        formula="x_kept = z_kept; x_rest = z_rest exp(s(z_kept)) + t(z_kept)",
        log_det="sum of s(z_kept)",
        reference="Dinh, Sohl-Dickstein & Bengio 2017",
        builder="flowcli.transforms.coupling:affine_coupling",
        parameters=(HIDDEN, ACTIVATION, SPLIT, LOG_SCALE_BOUND),
        takes_context=True,
        min_features=2,
        skips_absent=True,
    ),
    Entry(
        name="autoregressive",
        summary="each column by any elementwise transform that depends on the columns before it",
        formula="density: z_k = tau^-1(x_k; c_k(x_<k)); sampling: x_k = tau(z_k; c_k(z_<k))",
        log_det="sum of log tau'(z_k)",
        reference="Papamakarios et al. 2021, section 3.1",
        builder="flowcli.transforms.autoregressive:autoregressive",
        parameters=(TRANSFORMER, *CONDITIONER, DIRECTION, ORDER),
        sampling_cost="d passes",
        takes_context=True,
        skips_absent=True,
    ),
    Entry(
        name="batchnorm",
        summary="normalises each column by running statistics of the batches, then scales and shifts it",
        formula="z_k = (x_k - m_k) exp(g_k) / sqrt(v_k) + b_k, m and v running",
        log_det="sum of log(v_k) / 2 - g_k",
        reference="Dinh, Sohl-Dickstein & Bengio 2017, appendix E",
        builder="flowcli.transforms.normalizing:BatchNorm",
        parameters=(Parameter("momentum", float, 0.1, "weight of a batch in the running mean and variance", 0.0, 1.0),),
    ),
    Entry(
        name="block_neural_autoregressive",
        summary="one network of all columns, triangular in blocks and increasing in each column",
        formula="f(v) = (1 - g) v + g h(v), h with tanh layers; density: z = f(x), sampling: x = f(z)",
        log_det="of f: sum of log(1 - g + g dh_k/dv_k), dh_k/dv_k the product of the blocks on the diagonal",
        reference="De Cao, Aziz & Titov 2019",
        builder="flowcli.transforms.block_autoregressive:BlockNeuralAutoregressive",
        parameters=(
            FORMULA_WAY,
            Parameter("hidden_factor", int, 8, "units of each column in a hidden layer", 1, 256),
            Parameter("layers", int, 2, "number of hidden layers", 1, 16),
        ),
        sampling_cost="d root findings",
        takes_context=True,
        starts_at_identity=False,
    ),
    Entry(
        name="coupling",
        summary="one part of the columns by any elementwise transform that depends on the other",
        formula="x_kept = z_kept; x_rest = tau(z_rest; c(z_kept))",
        log_det="sum of log tau'(z_rest)",
        reference="Dinh, Sohl-Dickstein & Bengio 2017; Papamakarios et al. 2021, section 3.1",
        builder="flowcli.transforms.coupling:coupling",
        parameters=(TRANSFORMER, *CONDITIONER, SPLIT),
        takes_context=True,
        min_features=2,
        skips_absent=True,
    ),
    Entry(
        name="deep_sigmoid",
        summary="a sum of sigmoids of each column, seen through a logit, or given the context",
        formula="f(v) = logit(sum_i w_i sigmoid(a_i v + b_i)), a_i > 0; density: z = f(x), sampling: x = f(z)",
        log_det="of f: sum of log f'(v_k)",
        reference="Huang, Lacoste, Krueger & Courville 2018, equation 8",
        builder="flowcli.transforms.elementwise:deep_sigmoid",
        parameters=(SIGMOIDS, FORMULA_WAY, *CONDITIONER),
        transformer="flowcli.transforms.deep_sigmoid:DeepSigmoidTransformer",
        sampling_cost="root finding",
        takes_context=True,
        skips_absent=True,
    ),
    Entry(
        name="ffjord",
        summary="FFJORD: the columns move along a network's field of velocities from time 0 to 1",
        formula="dz/dt = f(z, t, context), x = z(1)",
        log_det="integral of tr(df/dz) over the time, exact at d network passes",
        reference="Grathwohl et al. 2019; Chen et al. 2018",
        builder="flowcli.transforms.continuous:Continuous",
        parameters=(
            HIDDEN,
            Parameter("activation", Literal["tanh", "softplus"], "tanh", "what follows each hidden layer; smooth"),
        ),
        scoring_cost="ODE solver",
        sampling_cost="ODE solver",
        takes_context=True,
    ),
    Entry(
        name="givens",
        summary="rotations of pairs of columns, all columns mixed in about log2(d) sparse layers",
        formula="in a layer, x_i = cos(a) z_i - sin(a) z_j and x_j = sin(a) z_i + cos(a) z_j",
        log_det="0",
        reference="Givens 1958; butterfly order as in the fast Fourier transform",
        builder="flowcli.transforms.linear:Givens",
        min_features=2,
        volume_preserving=True,
    ),
    Entry(
        name="householder",
        summary="mixes the columns by reflections; volume and distances stay",
        formula="x = H_K ... H_1 z with H_i = I - 2 u_i u_i' / |u_i|^2",
        log_det="0",
        reference="Tomczak & Welling 2016",
        builder="flowcli.transforms.pyro_adapter:householder",
        parameters=(Parameter("reflections", int, 2, "number of reflections", 1, 4096),),
        volume_preserving=True,
        starts_at_identity=False,
    ),
    Entry(
        name="logit",
        summary="from the unit cube to the real numbers; the first transform after the uniform base",
        formula="x_k = log(z_k / (1 - z_k))",
        log_det="-sum of (log z_k + log(1 - z_k))",
        reference="the logistic distribution's quantile function",
        builder="flowcli.transforms.logit:Logit",
        domain="unit",
        starts_at_identity=False,
    ),
    Entry(
        name="lu_linear",
        summary="any linear map with positive pivots, by its LU factors, and a shift",
        formula="x = L U z + b",
        log_det="sum of log U_kk",
        reference="Kingma & Dhariwal 2018, section 3.2",
        builder="flowcli.transforms.linear:LULinear",
    ),
    Entry(
        name="neural_autoregressive",
        summary="NAF: each column by a sum of sigmoids that depends on the columns before it",
        formula="density: z_k = f(x_k; theta(x_<k)); sampling: x_k = f(z_k; theta(z_<k)); f as in deep_sigmoid",
        log_det="of f: sum of log f'(v_k)",
        reference="Huang, Lacoste, Krueger & Courville 2018",
        builder="flowcli.transforms.autoregressive:neural_autoregressive",
        parameters=(HIDDEN, ACTIVATION, DIRECTION, ORDER, SIGMOIDS),
        sampling_cost="d root findings",
        takes_context=True,
        skips_absent=True,
    ),
    Entry(
        name="orthogonal",
        summary="a rotation, by the exponential of a skew matrix",
        formula="x = exp(A - A') z",
        log_det="0",
        reference="Golinski, Lezcano-Casado & Rainforth 2019",
        builder="flowcli.transforms.linear:Orthogonal",
        min_features=2,
        volume_preserving=True,
    ),
    Entry(
        name="permute",
        summary="reorders the columns",
        formula="x_i = z_order(i)",
        log_det="0",
        reference="Dinh, Sohl-Dickstein & Bengio 2017, section 3.5",
        builder="flowcli.transforms.permute:Permute",
        parameters=(Parameter("order", Order, "reverse", ORDER.doc),),
        volume_preserving=True,
        starts_at_identity=False,
        skips_absent=True,
    ),
    Entry(
        name="planar",
        summary="pushes along one direction where a plane is crossed",
        formula="f(v) = v + u tanh(w'v + b); density: z = f(x), sampling: x = f(z)",
        log_det="of f: log(1 + u'w (1 - tanh(w'v + b)^2))",
        reference="Rezende & Mohamed 2015, equation 10",
        builder="flowcli.transforms.classics:Planar",
        parameters=(FORMULA_WAY,),
        sampling_cost="root finding",
    ),
    Entry(
        name="polynomial_autoregressive",
        summary="each column by an increasing polynomial that depends on the columns before it",
        formula="density: z_k = f(x_k; theta(x_<k)); sampling: x_k = f(z_k; theta(z_<k)); f as in sum_of_squares",
        log_det="of f: sum of log f'(v_k)",
        reference="Jaini, Selby & Yu 2019",
        builder="flowcli.transforms.autoregressive:polynomial_autoregressive",
        parameters=(HIDDEN, ACTIVATION, DIRECTION, ORDER, *POLYNOMIALS),
        sampling_cost="d root findings",
        takes_context=True,
        skips_absent=True,
    ),
    Entry(
        name="radial",
        summary="pushes away from a centre, or towards it",
        formula="f(v) = v + beta (v - c) / (alpha + |v - c|); density: z = f(x), sampling: x = f(z)",
        log_det="of f: (d - 1) log(1 + beta h) + log(1 + beta h - beta h^2 |v - c|), h = 1 / (alpha + |v - c|)",
        reference="Rezende & Mohamed 2015, equation 14",
        builder="flowcli.transforms.classics:Radial",
        parameters=(FORMULA_WAY,),
    ),
    Entry(
        name="radial_spline",
        summary="the distance from the origin by a monotone spline; an affine map after it gives ellipses",
        formula="x = z f(r) / r, r = |z| / sqrt(d), f a spline on [0, bound], as the one of spline beyond",
        log_det="log f'(r) + (d - 1) log(f(r) / r)",
        reference="Lyu & Simoncelli 2009 (radial Gaussianization); the spline's as in spline",
        builder="flowcli.transforms.radial_spline:RadialSpline",
        parameters=(KIND, BINS, BOUND, *CONDITIONER),
        takes_context=True,
    ),
    Entry(
        name="sinh_arcsinh",
        summary="location, scale, skewness and tail weight of each column, or given the context",
        formula="x_k = t_k + exp(s_k) sinh((arcsinh(z_k) + epsilon_k) / delta_k), delta_k > 0",
        log_det="sum of s_k - log delta_k + log cosh((arcsinh(z_k) + epsilon_k) / delta_k) - log(1 + z_k^2) / 2",
        reference="Jones & Pewsey 2009",
        builder="flowcli.transforms.elementwise:sinh_arcsinh",
        parameters=CONDITIONER,
        transformer="flowcli.transforms.sinh_arcsinh:SinhArcsinhTransformer",
        takes_context=True,
        skips_absent=True,
    ),
    Entry(
        name="spline",
        summary="a monotone spline of each column, or of each column given the context",
        formula="x_k = spline_k(z_k) on [-bound, bound]; outside x_k = z_k, or kind linear's outer pieces go on",
        log_det="sum of log spline_k'(z_k)",
        reference="Durkan et al. 2019 (rational_quadratic); Dolatabadi, Erfani & Leckie 2020 (linear_rational)",
        builder="flowcli.transforms.elementwise:spline",
        parameters=(KIND, BINS, BOUND, *CONDITIONER),
        transformer="flowcli.transforms.splines:spline",
        takes_context=True,
        skips_absent=True,
    ),
    Entry(
        name="spline_autoregressive",
        summary="each column by a spline that depends on the columns before it",
        formula="density: z_k = spline^-1(x_k; theta(x_<k)); sampling: x_k = spline(z_k; theta(z_<k))",
        log_det="sum of log spline'(z_k)",
        reference="Durkan et al. 2019 (rational_quadratic); Dolatabadi, Erfani & Leckie 2020 (linear_rational)",
        builder="flowcli.transforms.autoregressive:spline_autoregressive",
        parameters=(HIDDEN, ACTIVATION, DIRECTION, ORDER, KIND, BINS, BOUND),
        sampling_cost="d passes",
        takes_context=True,
        skips_absent=True,
    ),
    Entry(
        name="spline_coupling",
        summary="one part of the columns by splines that depend on the other",
        formula="x_kept = z_kept; x_rest = spline(z_rest; theta(z_kept))",
        log_det="sum of log spline'(z_rest)",
        reference="Durkan et al. 2019 (rational_quadratic); Dolatabadi, Erfani & Leckie 2020 (linear_rational)",
        builder="flowcli.transforms.coupling:spline_coupling",
        parameters=(HIDDEN, ACTIVATION, SPLIT, KIND, BINS, BOUND),
        takes_context=True,
        min_features=2,
        skips_absent=True,
    ),
    Entry(
        name="sum_of_squares",
        summary="an increasing polynomial of each column, or of each column given the context",
        formula="f(v) = t + integral_0^v mean_k p_k(u)^2 du; density: z = f(x), sampling: x = f(z)",
        log_det="of f: sum of log f'(v_k)",
        reference="Jaini, Selby & Yu 2019",
        builder="flowcli.transforms.elementwise:sum_of_squares",
        parameters=(*POLYNOMIALS, FORMULA_WAY, *CONDITIONER),
        transformer="flowcli.transforms.sum_of_squares:SumOfSquaresTransformer",
        sampling_cost="root finding",
        takes_context=True,
        skips_absent=True,
    ),
    Entry(
        name="sylvester",
        summary="several planar pushes at once, with a triangular determinant",
        formula="f(v) = v + Q R tanh(S Q'v + b), R and S triangular; density: z = f(x), sampling: x = f(z)",
        log_det="of f: sum over i of log(1 + R_ii S_ii (1 - tanh(S Q'v + b)_i^2))",
        reference="van den Berg, Hasenclever, Tomczak & Welling 2018",
        builder="flowcli.transforms.classics:Sylvester",
        parameters=(FORMULA_WAY, Parameter("units", int, 1, "pushes; at most the number of columns", 1, 4096)),
        sampling_cost="root finding",
    ),
    Entry(
        name="triangular_affine",
        summary="with a normal base, any multivariate normal; starts at its maximum-likelihood values",
        formula="x = mu + A context + L z, L lower triangular",
        log_det="sum of log L_kk",
        reference="Cholesky factorisation; maximum likelihood in closed form",
        builder="flowcli.transforms.triangular:TriangularAffine",
        takes_context=True,
        skips_absent=True,
    ),
    Entry(
        name="unconstrained_monotonic",
        summary="the integral of a positive network of each column, or of each column given the context",
        formula="f(v) = t + integral_0^v exp(g(u)) du; density: z = f(x), sampling: x = f(z)",
        log_det="of f: sum of g(v_k)",
        reference="Wehenkel & Louppe 2019",
        builder="flowcli.transforms.elementwise:unconstrained_monotonic",
        parameters=(*POSITIVE_NETWORK, FORMULA_WAY, *CONDITIONER),
        transformer="flowcli.transforms.unconstrained_monotonic:UnconstrainedMonotonicTransformer",
        sampling_cost="root finding",
        takes_context=True,
        skips_absent=True,
    ),
    Entry(
        name="unconstrained_monotonic_autoregressive",
        summary="UMNN: each column by the integral of a positive network that depends on the columns before it",
        formula="as neural_autoregressive, f as in unconstrained_monotonic",
        log_det="of f: sum of g(v_k)",
        reference="Wehenkel & Louppe 2019",
        builder="flowcli.transforms.autoregressive:unconstrained_monotonic_autoregressive",
        parameters=(HIDDEN, ACTIVATION, DIRECTION, ORDER, *POSITIVE_NETWORK),
        sampling_cost="d root findings",
        takes_context=True,
        skips_absent=True,
    ),
)
