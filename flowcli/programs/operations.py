"""The operations of programs: PyTorch's ATen operations on NumPy arrays.

Names, and arguments in their order, are ATen's; arguments about devices and memory layouts are left out. Every
argument is given, defaults too. Views and operations in place share memory as PyTorch's do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowcli.programs.stored import TYPES

Array = np.ndarray[Any, Any]

DTYPES = {name: np.dtype(name) for name in TYPES}
# An element of what is computed one number at a time, in elements of other operations.
SLOW = 64


@dataclass(frozen=True)
class Operation:
    """One operation.

    ``kinds`` has a letter for each argument: ``t`` a tensor, or a number in its place; ``x`` a tensor or nothing;
    ``T`` tensors; ``X`` tensors or nothings; ``n`` a number, ``N`` a number or nothing; ``i`` and ``j`` a whole number,
    and one or nothing; ``I`` and ``J`` whole numbers, and some or nothing; ``b`` a truth value; ``d`` a type of
    numbers, or nothing. ``work`` says of the arguments, before the function runs, how many numbers it makes or looks
    at. The function's result is an array, several as a list or tuple, or ``None`` if it changes its first argument.
    """

    kinds: str
    function: Callable[..., Any]
    work: Callable[..., int]


# --- work


def _broadcast(*arguments: Any) -> int:
    arrays = [argument for argument in arguments if isinstance(argument, np.ndarray)]
    return np.broadcast(*arrays).size if len(arrays) > 1 else sum(array.size for array in arrays)


def _slow(array: Array, *_: Any) -> int:
    return SLOW * array.size


def _size(array: Array, *_: Any) -> int:
    return array.size


def _sizes(arrays: Sequence[Array], *_: Any) -> int:
    return sum(array.size for array in arrays) + SLOW * len(arrays)


def _one(*_: Any) -> int:
    return 1


def _asked(size: Sequence[int], *_: Any) -> int:
    return math.prod(size)


def _asked_new(_: Array, size: Sequence[int], *__: Any) -> int:
    return math.prod(size)


def _product(one: Array, other: Array, *_: Any) -> int:
    """Of a matrix product: its size, and its multiplications, 32 of which take the time of an element elsewhere."""
    columns = int(other.shape[-1]) if other.ndim > 1 else 1
    return int(one.size * columns // 32 + one.size // max(one.shape[-1], 1) * columns + one.size + other.size)


def _product_into(into: Array, one: Array, other: Array, *_: Any) -> int:
    return _product(one, other) + into.size


def _indexed(array: Array, indices: Sequence[Array | None], *_: Any) -> int:
    """The size of ``array[indices]``; masks are not taken."""
    given = [index for index in indices if index is not None]
    if any(index.dtype != np.int64 for index in given):
        raise TypeError("an index is not of whole numbers")
    rest = [size for at, size in enumerate(array.shape) if at >= len(indices) or indices[at] is None]
    return int(_broadcast(*given) * math.prod(rest))


def _selected(array: Array, dim: int, index: Array) -> int:
    return int(
        index.size * math.prod(size for at, size in enumerate(array.shape) if at != dim % array.ndim) + array.size
    )


# --- functions that NumPy has not


def _each(function: Callable[[float], float]) -> Callable[[Array], Array]:
    def of_array(array: Array) -> Array:
        return np.fromiter(map(function, array.ravel().tolist()), np.float64, array.size).reshape(array.shape)

    return of_array


def _normal_quantile(array: Array) -> Array:
    from statistics import NormalDist

    quantile = NormalDist().inv_cdf

    def of_number(u: float) -> float:
        if 0 < u < 1:
            return quantile(u)
        return -math.inf if u == 0 else math.inf if u == 1 else math.nan

    return _each(of_number)(array)


def _log_gamma(number: float) -> float:
    if number != number or number == -math.inf:
        return math.nan if number != number else math.inf
    return math.inf if number <= 0 and number == math.floor(number) else math.lgamma(number)


def _sigmoid(array: Array) -> Array:
    # Of the absolute value the exponential does not overflow.
    small = np.exp(-np.abs(array))
    return np.where(array >= 0, 1.0, small) / (1.0 + small)


def _log_sigmoid(array: Array) -> tuple[Array, Array]:
    return np.minimum(array, 0.0) - np.log1p(np.exp(-np.abs(array))), np.zeros(0)


def _softplus(array: Array, beta: float, threshold: float) -> Array:
    scaled = array * beta
    return np.where(scaled > threshold, array, np.log1p(np.exp(np.minimum(scaled, threshold))) / beta)


def _elu(array: Array, alpha: float, scale: float, input_scale: float) -> Array:
    curved = np.expm1(np.minimum(array, 0.0) * input_scale) * (alpha * scale)
    return np.where(array > 0, array * scale, curved)


def _leaky_relu(array: Array, slope: float) -> Array:
    return np.where(array > 0, array, array * slope)


def _log_sum_exp(array: Array, dim: Sequence[int], keepdim: bool) -> Any:
    axes = tuple(dim)
    largest = array.max(axis=axes, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    total = np.log(np.exp(array - largest).sum(axis=axes, keepdims=True)) + largest
    return total if keepdim else total.squeeze(axis=axes)


def _log_softmax(array: Array, dim: int) -> Any:
    away = array - array.max(axis=dim, keepdims=True)
    return away - np.log(np.exp(away).sum(axis=dim, keepdims=True))


def _softmax(array: Array, dim: int) -> Any:
    powers = np.exp(array - array.max(axis=dim, keepdims=True))
    return powers / powers.sum(axis=dim, keepdims=True)


def _logit(array: Array, eps: float | None) -> Array:
    inside = array if eps is None else array.clip(eps, 1.0 - eps)
    return np.log(inside / (1.0 - inside))


# --- shapes


def _flatten_dims(array: Array, dim: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if not dim else tuple(dim)


def _sum(array: Array, dim: Sequence[int] | None, keepdim: bool, dtype: Any) -> Any:
    return array.sum(axis=_flatten_dims(array, dim), keepdims=keepdim, dtype=dtype)


def _mean(array: Array, dim: Sequence[int] | None, keepdim: bool, dtype: Any) -> Any:
    return array.mean(axis=_flatten_dims(array, dim), keepdims=keepdim, dtype=dtype)


def _amax(array: Array, dim: Sequence[int], keepdim: bool) -> Any:
    return array.max(axis=_flatten_dims(array, dim), keepdims=keepdim)


def _amin(array: Array, dim: Sequence[int], keepdim: bool) -> Any:
    return array.min(axis=_flatten_dims(array, dim), keepdims=keepdim)


def _argmax(array: Array, dim: int | None, keepdim: bool) -> Any:
    return np.argmax(array, axis=dim, keepdims=keepdim)


def _squeeze(array: Array, dim: int) -> Array:
    return array.squeeze(dim) if array.ndim and array.shape[dim] == 1 else array[...]


def _expand(array: Array, size: Sequence[int]) -> Array:
    ahead = len(size) - array.ndim
    return np.broadcast_to(array, [array.shape[at - ahead] if n == -1 else n for at, n in enumerate(size)])


def _slice(array: Array, dim: int, start: int | None, end: int | None, step: int) -> Array:
    return array[(slice(None),) * (dim % array.ndim) + (slice(start, end, step),)]


def _select(array: Array, dim: int, index: int) -> Array:
    return array[(slice(None),) * (dim % array.ndim) + (index, ...)]


def _split(array: Array, sizes: Sequence[int], dim: int) -> list[Array]:
    ends = np.cumsum([0, *sizes]).tolist()
    return [_slice(array, dim, start, end, 1) for start, end in itertools.pairwise(ends)]


def _split_evenly(array: Array, size: int, dim: int) -> list[Array]:
    if size < 1:
        raise ValueError("pieces of no size")
    return [_slice(array, dim, start, start + size, 1) for start in range(0, array.shape[dim], size)]


def _permute(array: Array, dims: Sequence[int]) -> Array:
    return array.transpose(dims)


def _t(array: Array) -> Array:
    if array.ndim > 2:
        raise ValueError("not a matrix")
    return array.T


def _repeat(array: Array, repeats: Sequence[int]) -> Array:
    return np.tile(array, repeats)


def _diagonal(array: Array, offset: int, dim1: int, dim2: int) -> Array:
    return array.diagonal(offset, dim1, dim2)


def _diag_embed(array: Array, offset: int, dim1: int, dim2: int) -> Array:
    if (offset, dim1, dim2) != (0, -2, -1):
        raise ValueError("a diagonal elsewhere")
    return array[..., None] * np.eye(array.shape[-1])


def _pad(array: Array, pad: Sequence[int], value: float) -> Array:
    pairs = [(pad[at], pad[at + 1]) for at in range(0, len(pad), 2)]
    return np.pad(array, [(0, 0)] * (array.ndim - len(pairs)) + pairs[::-1], constant_values=value)


def _padded(array: Array, pad: Sequence[int], value: float) -> int:
    if len(pad) % 2 or len(pad) > 2 * array.ndim or min(pad, default=0) < 0:
        raise ValueError("not a padding")
    sizes = [*array.shape]
    for at in range(0, len(pad), 2):
        sizes[-1 - at // 2] += pad[at] + pad[at + 1]
    return math.prod(sizes)


# --- picking, and writing in place


def _gather(array: Array, dim: int, index: Array) -> Array:
    return np.take_along_axis(array, index, dim)


def _index(array: Array, indices: Sequence[Array | None]) -> Array:
    return array[tuple(slice(None) if index is None else index for index in indices)]


def _index_put(array: Array, indices: Sequence[Array | None], values: Array, accumulate: bool) -> None:
    if accumulate:
        raise ValueError("sums at an index")
    array[tuple(slice(None) if index is None else index for index in indices)] = values


def _index_put_work(array: Array, indices: Sequence[Array | None], values: Array, accumulate: bool) -> int:
    return _indexed(array, indices) + values.size


def _index_select(array: Array, dim: int, index: Array) -> Array:
    return array.take(index, axis=dim)


def _copy_into(array: Array, source: Array) -> None:
    array[...] = source


def _fill(array: Array, value: float) -> None:
    array[...] = value


def _in_place(function: Callable[..., Array]) -> Callable[..., None]:
    def into(array: Array, *others: Any) -> None:
        array[...] = function(array, *others)

    return into


# --- arithmetic with the factors that ATen has


def _add(one: Any, other: Any, alpha: float) -> Any:
    return one + other if alpha == 1 else one + alpha * other


def _subtract(one: Any, other: Any, alpha: float) -> Any:
    return one - other if alpha == 1 else one - alpha * other


def _reverse_subtract(one: Any, other: Any, alpha: float) -> Any:
    return _subtract(other, one, alpha)


def _addmm(into: Array, one: Array, other: Array, beta: float, alpha: float) -> Any:
    product = one @ other
    return product + into if beta == alpha == 1 else alpha * product + beta * into


def _clamp(array: Array, low: Any, high: Any) -> Array:
    array = array if low is None else np.maximum(array, low)
    return array[...] if high is None else np.minimum(array, high)


def _copy(array: Array) -> Array:
    return array.copy()


def _converted(array: Array, dtype: Any) -> Array:
    return array.astype(array.dtype if dtype is None else dtype)


def _matrix(array: Array, dimensions: int = 2) -> Array:
    if array.ndim != dimensions:
        raise ValueError("not matrices")
    return array


def _mm(one: Array, other: Array) -> Any:
    return _matrix(one) @ _matrix(other)


def _bmm(one: Array, other: Array) -> Any:
    return _matrix(one, 3) @ _matrix(other, 3)


def _mv(one: Array, other: Array) -> Any:
    return _matrix(one) @ _matrix(other, 1)


def _solve_triangular(matrix: Array, right: Array, upper: bool, left: bool, unitriangular: bool) -> Any:
    """Substitution, a row of all matrices after the other."""
    if not left:
        turned = _solve_triangular(matrix.swapaxes(-1, -2), right.swapaxes(-1, -2), not upper, True, unitriangular)
        return turned.swapaxes(-1, -2)
    size = matrix.shape[-1]
    batch = np.broadcast_shapes(matrix.shape[:-2], right.shape[:-2])
    found = np.zeros((*batch, *right.shape[-2:]))
    for row in reversed(range(size)) if upper else range(size):
        known = slice(row + 1, size) if upper else slice(0, row)
        rest = right[..., row, :] - (matrix[..., row, None, known] @ found[..., known, :])[..., 0, :]
        found[..., row, :] = rest if unitriangular else rest / matrix[..., row, row, None]
    return found


def _solve_work(matrix: Array, right: Array, *_: Any) -> int:
    batch = math.prod(np.broadcast_shapes(matrix.shape[:-2], right.shape[:-2]))
    rows, columns = right.shape[-2:]
    # Row by row, of empty matrices too.
    return int(batch * rows * columns * (matrix.shape[-1] + 4) + SLOW * (rows + columns + matrix.shape[-1]))


def _norm(array: Array, order: float, dim: Sequence[int] | None, keepdim: bool, dtype: Any) -> Any:
    if order != 2:
        raise ValueError("a norm of another order")
    return np.sqrt((array * array).sum(axis=_flatten_dims(array, dim), keepdims=keepdim, dtype=dtype))


def _sort(array: Array, dim: int, descending: bool) -> tuple[Array, Array]:
    order = np.argsort(-array if descending else array, axis=dim, kind="stable")
    return np.take_along_axis(array, order, dim), order


def _relu(array: Array) -> Array:
    return np.maximum(array, 0)


def _elementwise(kinds: str, function: Callable[..., Any]) -> Operation:
    return Operation(kinds, function, _broadcast)


def _view(kinds: str, function: Callable[..., Any]) -> Operation:
    return Operation(kinds, function, _one)


_UNARY: dict[str, Callable[..., Any]] = {
    "abs": np.abs, "acos": np.arccos, "asin": np.arcsin, "asinh": np.arcsinh, "atan": np.arctan, "atanh": np.arctanh,
    "acosh": np.arccosh, "bitwise_not": np.invert, "ceil": np.ceil, "cos": np.cos, "cosh": np.cosh, "exp": np.exp,
    "exp2": np.exp2, "expm1": np.expm1, "floor": np.floor, "isinf": np.isinf, "isnan": np.isnan, "log": np.log,
    "log10": np.log10, "log1p": np.log1p, "log2": np.log2, "logical_not": np.logical_not, "neg": np.negative,
    "reciprocal": np.reciprocal, "relu": _relu, "round": np.rint, "rsqrt": lambda array: 1.0 / np.sqrt(array),
    "sigmoid": _sigmoid, "sign": np.sign, "sgn": np.sign, "silu": lambda array: array * _sigmoid(array), "sin": np.sin,
    "sinh": np.sinh, "sqrt": np.sqrt, "tan": np.tan, "tanh": np.tanh, "trunc": np.trunc,
}  # fmt: skip
_BY_NUMBER: dict[str, Callable[[float], float]] = {
    "erf": math.erf, "erfc": math.erfc, "lgamma": _log_gamma,
}  # fmt: skip
# Of two tensors, or of one and a number.
_COMPARED: dict[str, Callable[..., Any]] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor,
    "remainder": np.remainder,
}  # fmt: skip
_BINARY: dict[str, Callable[..., Any]] = {
    "atan2": np.arctan2, "fmax": np.fmax, "fmin": np.fmin, "hypot": np.hypot, "logaddexp": np.logaddexp,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "maximum": np.maximum, "minimum": np.minimum,
    "nextafter": np.nextafter,
}  # fmt: skip

OPERATIONS: dict[str, Operation] = {
    **{name: _elementwise("t", function) for name, function in _UNARY.items()},
    **{name: Operation("t", _each(function), _slow) for name, function in _BY_NUMBER.items()},
    **{f"{name}.Tensor": _elementwise("tt", function) for name, function in _COMPARED.items()},
    **{f"{name}.Scalar": _elementwise("tn", function) for name, function in _COMPARED.items()},
    **{name: _elementwise("tt", function) for name, function in _BINARY.items()},
    "special_ndtri": Operation("t", _normal_quantile, _slow),
    # Arithmetic.
    "add.Tensor": _elementwise("ttn", _add),
    "add.Scalar": _elementwise("tnn", _add),
    "add_.Tensor": _elementwise("ttn", _in_place(_add)),
    "sub.Tensor": _elementwise("ttn", _subtract),
    "sub.Scalar": _elementwise("tnn", _subtract),
    "sub_.Tensor": _elementwise("ttn", _in_place(_subtract)),
    "rsub.Scalar": _elementwise("tnn", _reverse_subtract),
    "rsub.Tensor": _elementwise("ttn", _reverse_subtract),
    "mul.Tensor": _elementwise("tt", np.multiply),
    "mul.Scalar": _elementwise("tn", np.multiply),
    "mul_.Tensor": _elementwise("tt", _in_place(np.multiply)),
    "div.Tensor": _elementwise("tt", np.true_divide),
    "div.Scalar": _elementwise("tn", np.true_divide),
    "div_.Tensor": _elementwise("tt", _in_place(np.true_divide)),
    "floor_divide": _elementwise("tt", np.floor_divide),
    "addcmul": _elementwise("tttn", lambda array, one, other, value: array + value * one * other),
    "addcdiv": _elementwise("tttn", lambda array, one, other, value: array + value * one / other),
    "lerp.Tensor": _elementwise("ttt", lambda one, other, weight: one + weight * (other - one)),
    "lerp.Scalar": _elementwise("ttn", lambda one, other, weight: one + weight * (other - one)),
    "pow.Tensor_Scalar": _elementwise("tn", np.power),
    "pow.Tensor_Tensor": _elementwise("tt", np.power),
    "pow.Scalar": _elementwise("nt", np.power),
    "square": _elementwise("t", np.square),
    "where.self": _elementwise("ttt", np.where),
    "clamp": _elementwise("tNN", _clamp),
    "clamp.Tensor": _elementwise("txx", _clamp),
    "clamp_min": _elementwise("tn", np.maximum),
    "clamp_max": _elementwise("tn", np.minimum),
    "clamp_min.Tensor": _elementwise("tt", np.maximum),
    "clamp_max.Tensor": _elementwise("tt", np.minimum),
    "hardtanh": _elementwise("tnn", _clamp),
    "elu": _elementwise("tnnn", _elu),
    "leaky_relu": _elementwise("tn", _leaky_relu),
    "softplus": _elementwise("tnn", _softplus),
    "log_sigmoid_forward": _elementwise("t", _log_sigmoid),
    "logit": _elementwise("tN", _logit),
    "nan_to_num": _elementwise("tNNN", lambda array, nan, high, low: np.nan_to_num(array, True, nan or 0.0, high, low)),
    "masked_fill.Scalar": _elementwise("ttn", lambda array, mask, value: np.where(mask, value, array)),
    "masked_fill.Tensor": _elementwise("ttt", lambda array, mask, value: np.where(mask, value, array)),
    "relu_": _elementwise("t", _in_place(_relu)),
    "tanh_": _elementwise("t", _in_place(np.tanh)),
    "sigmoid_": _elementwise("t", _in_place(_sigmoid)),
    "silu_": _elementwise("t", _in_place(lambda array: array * _sigmoid(array))),
    "exp_": _elementwise("t", _in_place(np.exp)),
    "neg_": _elementwise("t", _in_place(np.negative)),
    "reciprocal_": _elementwise("t", _in_place(np.reciprocal)),
    "elu_": _elementwise("tnnn", _in_place(_elu)),
    "clamp_": _elementwise("tNN", _in_place(_clamp)),
    "clamp_min_": _elementwise("tn", _in_place(np.maximum)),
    "clamp_max_": _elementwise("tn", _in_place(np.minimum)),
    # Along dimensions.
    "sum": Operation("td", lambda array, dtype: array.sum(dtype=dtype), _size),
    "sum.dim_IntList": Operation("tJbd", _sum, _size),
    "mean": Operation("td", lambda array, dtype: array.mean(dtype=dtype), _size),
    "mean.dim": Operation("tJbd", _mean, _size),
    "prod": Operation("td", lambda array, dtype: array.prod(dtype=dtype), _size),
    "prod.dim_int": Operation("tibd", lambda a, dim, keepdim, dtype: a.prod(axis=dim, keepdims=keepdim, dtype=dtype),
                              _size),
    "amax": Operation("tIb", _amax, _size),
    "amin": Operation("tIb", _amin, _size),
    "max": Operation("t", lambda array: array.max(), _size),
    "min": Operation("t", lambda array: array.min(), _size),
    "any": Operation("t", lambda array: array.any(), _size),
    "any.dim": Operation("tib", lambda array, dim, keepdim: array.any(axis=dim, keepdims=keepdim), _size),
    "all": Operation("t", lambda array: array.all(), _size),
    "all.dim": Operation("tib", lambda array, dim, keepdim: array.all(axis=dim, keepdims=keepdim), _size),
    "argmax": Operation("tjb", _argmax, _size),
    "argmin": Operation("tjb", lambda array, dim, keepdim: np.argmin(array, axis=dim, keepdims=keepdim), _size),
    "cumsum": Operation("tid", lambda array, dim, dtype: array.cumsum(axis=dim, dtype=dtype), _size),
    "cumprod": Operation("tid", lambda array, dim, dtype: array.cumprod(axis=dim, dtype=dtype), _size),
    "flip": Operation("tI", lambda array, dims: np.flip(array, tuple(dims)), _size),
    "sort": Operation("tib", _sort, lambda array, *_: 8 * array.size),
    "logsumexp": Operation("tIb", _log_sum_exp, _size),
    "_log_softmax": Operation("ti", _log_softmax, _size),
    "_softmax": Operation("ti", _softmax, _size),
    "linalg_vector_norm": Operation("tnJbd", _norm, _size),
    # Matrices.
    "mm": Operation("tt", _mm, _product),
    "bmm": Operation("tt", _bmm, _product),
    "mv": Operation("tt", _mv, _product),
    "dot": Operation("tt", lambda one, other: _matrix(one, 1) @ _matrix(other, 1), _product),
    "addmm": Operation("tttnn", _addmm, _product_into),
    "addmm_": Operation("tttnn", _in_place(_addmm), _product_into),
    "baddbmm": Operation("tttnn", _addmm, _product_into),
    "linalg_solve_triangular": Operation("ttbbb", _solve_triangular, _solve_work),
    "tril": Operation("ti", np.tril, _size),
    "triu": Operation("ti", np.triu, _size),
    # Views.
    "t": _view("t", _t),
    "numpy_T": _view("t", lambda array: array.T),
    "transpose.int": _view("tii", np.swapaxes),
    "permute": _view("tI", _permute),
    "expand": _view("tI", _expand),
    "unsqueeze": _view("ti", np.expand_dims),
    "squeeze": _view("t", np.squeeze),
    "squeeze.dim": _view("ti", _squeeze),
    "select.int": _view("tii", _select),
    "slice.Tensor": _view("tijji", _slice),
    "diagonal": _view("tiii", _diagonal),
    "unbind.int": Operation("ti", lambda array, dim: [_select(array, dim, at) for at in range(array.shape[dim])],
                            lambda array, dim: SLOW * array.shape[dim]),
    "split.Tensor": Operation("tii", _split_evenly, lambda array, size, dim: SLOW * array.shape[dim]),
    "split_with_sizes": Operation("tIi", _split, lambda array, sizes, dim: SLOW * len(sizes)),
    # NumPy may have to copy.
    "view": Operation("tI", lambda array, size: array.reshape(size), _size),
    "_unsafe_view": Operation("tI", lambda array, size: array.reshape(size), _size),
    # Copies, and arrays made of nothing.
    "clone": Operation("t", _copy, _size),
    "_to_copy": Operation("td", _converted, _size),
    "cat": Operation("Ti", lambda arrays, dim: np.concatenate(arrays, axis=dim), _sizes),
    "stack": Operation("Ti", lambda arrays, dim: np.stack(arrays, axis=dim), _sizes),
    "repeat": Operation("tI", _repeat, lambda array, repeats: array.size * math.prod(repeats)),
    "diag_embed": Operation("tiii", _diag_embed, lambda array, *_: array.size * array.shape[-1] + array.shape[-1] ** 2),
    "constant_pad_nd": Operation("tIn", _pad, _padded),
    "zeros_like": Operation("td", lambda array, dtype: np.zeros(array.shape, dtype or array.dtype), _size),
    "ones_like": Operation("td", lambda array, dtype: np.ones(array.shape, dtype or array.dtype), _size),
    "empty_like": Operation("td", lambda array, dtype: np.zeros(array.shape, dtype or array.dtype), _size),
    "full_like": Operation("tnd", lambda array, value, dtype: np.full(array.shape, value, dtype or array.dtype), _size),
    "new_zeros": Operation("tId", lambda array, size, dtype: np.zeros(size, dtype or array.dtype), _asked_new),
    "new_ones": Operation("tId", lambda array, size, dtype: np.ones(size, dtype or array.dtype), _asked_new),
    "new_empty": Operation("tId", lambda array, size, dtype: np.zeros(size, dtype or array.dtype), _asked_new),
    "new_full": Operation("tInd", lambda a, size, value, dtype: np.full(size, value, dtype or a.dtype), _asked_new),
    "zeros": Operation("Id", lambda size, dtype: np.zeros(size, dtype or np.float32), _asked),
    "ones": Operation("Id", lambda size, dtype: np.ones(size, dtype or np.float32), _asked),
    "empty.memory_format": Operation("Id", lambda size, dtype: np.zeros(size, dtype or np.float32), _asked),
    "full": Operation("Ind", lambda size, value, dtype: np.full(size, value, dtype), _asked),
    "scalar_tensor": Operation("nd", lambda value, dtype: np.asarray(value, dtype or np.float32), _one),
    "eye": Operation("id", lambda size, dtype: np.eye(size, dtype=dtype or np.float32), lambda size, dtype: size**2),
    "arange": Operation("nd", lambda end, dtype: np.arange(end, dtype=dtype), lambda end, dtype: math.ceil(end)),
    "arange.start": Operation("nnd", lambda start, end, dtype: np.arange(start, end, dtype=dtype),
                              lambda start, end, dtype: math.ceil(end - start)),
    "linspace": Operation("nnid", lambda start, end, steps, dtype: np.linspace(start, end, steps, dtype=dtype),
                          lambda start, end, steps, dtype: steps),
    # Picking and writing.
    "gather": Operation("tit", _gather, lambda array, dim, index: index.size),
    "index.Tensor": Operation("tX", _index, _indexed),
    "index_select": Operation("tit", _index_select, _selected),
    "index_put_": Operation("tXtb", _index_put, _index_put_work),
    "copy_": Operation("tt", _copy_into, _broadcast),
    "fill_.Scalar": Operation("tn", _fill, _size),
    "zero_": Operation("t", lambda array: _fill(array, 0), _size),
}  # fmt: skip
