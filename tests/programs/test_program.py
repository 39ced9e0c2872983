"""A program from a stranger: used, or refused, in bounded time and memory."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import torch

from flowcli.programs.operations import OPERATIONS
from flowcli.programs.program import MOST_OPERATIONS, Program
from flowcli.programs.record import NotRecordableError, recorded
from flowcli.programs.stored import ProgramError, StoredPrograms

ROWS = 128


def run(*operations: list[Any], results: Any = None, tensors: Any = ("w",), **more: Any) -> list[np.ndarray]:
    """What operations give on an input, value 0, and a weight, value 1, both (128, 4)."""
    value = {"tensors": [*tensors], "operations": [*operations], "results": [2] if results is None else results, **more}
    program = Program.parse(value, 1)
    array = np.arange(4.0 * ROWS).reshape(ROWS, 4)
    return program.run([array.copy()], {"w": array.copy()})


def test_a_program() -> None:
    (found,) = run(["mul.Tensor", 0, 1], ["sum.dim_IntList", 2, [-1], False, None], results=[3])
    assert found.shape == (ROWS,)


FORGED = {
    "an unknown operation": [["eval", 0]],
    "one with no name": [[]],
    "no list": ["abs"],
    "a name that is none": [[["abs"], 0]],
    "too few arguments": [["mul.Tensor", 0]],
    "too many": [["abs", 0, 0]],
    "a value that is not there yet": [["abs", 2]],
    "a value below 0": [["abs", -1]],
    "no number of a value": [["abs", True]],
    "a text for a number": [["clamp_min", 0, "x"]],
    "a number for a list": [["view", 0, 3]],
    "a type": [["zeros", [3], "object"]],
    "a tensor for nothing": [["cat", [0, None], 0]],
    "shapes that do not fit": [["view", 0, [5, 5]]],
    "a dimension": [["sum.dim_IntList", 0, [7], False, None]],
    "matrices": [["mm", 0, 0]],
    "an index that is none": [["index_select", 0, 0, 0]],
    "a number beyond int64": [["add.Scalar", 0, 10**400, 1]],
    "a whole number beyond int64": [["full", [4], 2**70, None]],
    "work below 0": [["arange", -(2**40), "int64"], *([["zeros", [2**23], "float64"]] * 20)],
    "solutions of empty systems": [
        ["zeros", [0, 1, 1], "float64"],
        ["expand", 2, [0, 2**28, 2**28]],
        ["zeros", [0, 1, 2**28], "float64"],
        ["linalg_solve_triangular", 3, 4, True, False, False],
    ],
    "a write to the input": [["copy_", 0, 1]],
    "a write to a weight": [["add_.Tensor", 1, 0, 1]],
    "a write to a view of a weight": [["t", 1], ["zero_", 2]],
    "a division of whole numbers by 0": [["zeros", [3], "int64"], ["pow.Tensor_Scalar", 2, -1]],
    # Far too much.
    "zeros": [["zeros", [2**40], "float64"]],
    "zeros of many dimensions": [["zeros", [10] * 60, "float64"]],
    "a hundred times much": [["zeros", [2**20], "float64"]] * 100,
    "an outer product of sums": [["ones", [2**22], "float64"], ["unsqueeze", 2, 1], ["mul.Tensor", 2, 3]],
    "repeat": [["repeat", 0, [2**20, 2**20]]],
    "eye": [["eye", 2**20, "float64"]],
    "arange": [["arange", 10**12, "int64"]],
    "linspace": [["linspace", 0, 1, 10**12, "float64"]],
    "diag_embed": [["zeros", [2**16], "float64"], ["diag_embed", 2, 0, -2, -1]],
    "expand": [["unsqueeze", 0, 0], ["expand", 2, [2**30, ROWS, 4]], ["abs", 3]],
    "expand and unbind": [["unsqueeze", 0, 0], ["expand", 2, [2**30, ROWS, 4]], ["unbind.int", 3, 0]],
    "expand and split": [["unsqueeze", 0, 0], ["expand", 2, [2**30, ROWS, 4]], ["split.Tensor", 3, 1, 0]],
    "an outer sum": [["arange", 2**20, "int64"], ["unsqueeze", 2, 1], ["add.Tensor", 2, 3, 1]],
    "an outer product": [["ones", [2**14, 1], "float64"], ["t", 2], ["mm", 2, 3]],
    "a large product": [["ones", [2**11, 2**11], "float64"], ["mm", 2, 2]],
    "an index": [["zeros", [2**24], "int64"], ["index.Tensor", 0, [2, None]]],
    "gather": [["zeros", [2**20, 4], "int64"], ["expand", 2, [2**20, 4]], ["gather", 0, 0, 3]] + [["abs", 2]] * 30,
    "stack": [["stack", [0] * 10**6, 0]],
    "logarithms of the gamma function": [["zeros", [2**20], "float64"], ["lgamma", 2]],
    "triangular systems": [["ones", [2**10, 2**10], "float64"], ["linalg_solve_triangular", 2, 2, False, True, False]],
    "padding": [["constant_pad_nd", 0, [2**40, 0], 0]],
    "padding away": [["constant_pad_nd", 0, [-9, 0], 0]],
    "very many operations": [["abs", 0]] * (MOST_OPERATIONS + 1),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_program(name: str) -> None:
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ProgramError) as caught:
        run(*FORGED[name])
    assert time.monotonic() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # in KiB
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("results", [[9], [-1], [True], ["2"], [[0]], [None]])
def test_results_that_are_none(results: list[Any]) -> None:
    with pytest.raises(ProgramError):
        run(["abs", 0], results=results)


def test_parts_that_are_none() -> None:
    for more in ({"more": 1}, {"tensors": [1]}, {"results": 2}, {"operations": {}}):
        with pytest.raises(ProgramError):
            Program.parse({"tensors": [], "operations": [], "results": [0], **more}, 1)


SET = {"noise_features": 3, "functions": {}}


@pytest.mark.parametrize(
    "parts",
    [
        {"rows": 0},
        {"rows": 10**9},
        {"rows": 1.5},
        {"sets": []},
        {"sets": [SET, SET]},
        {"sets": [{**SET, "noise_features": 10**9}]},
        {"sets": [{**SET, "functions": []}]},
        {"sets": [{**SET, "functions": {"x": {}}}]},
        {"sets": [{**SET, "more": 1}]},
        {"members": [0, 1]},
        {"members": [-1]},
        {"members": [0.5]},
        {"members": [0] * 10_000},
        {"types": {"program.0": "object"}},
        {"types": {"program.0": 3}},
        {"more": 1},
    ],
    ids=lambda parts: str(parts)[:60],
)
def test_stored_programs_that_are_none(parts: dict[str, Any]) -> None:
    sound = {"rows": ROWS, "sets": [SET], "members": [], "types": {}}
    assert StoredPrograms.of(sound).rows == ROWS
    with pytest.raises(ProgramError):
        StoredPrograms.of({**sound, **parts})


def test_stored_programs_of_format_version_2() -> None:
    stored = StoredPrograms.of({"rows": ROWS, **SET, "types": {}})
    assert (stored.sets[0].noise_features, stored.members, stored.noise_features) == (3, [], 3)
    with pytest.raises(ProgramError):
        StoredPrograms.of({"rows": ROWS, **SET, "types": {}, "more": 1})


# --- what is recorded


def test_the_operations_are_atens() -> None:
    """Names and kinds of arguments are those of PyTorch's own schemas."""
    from flowcli.programs.record import _LEFT_OUT

    letters = {"Tensor": "t", "Optional[Tensor]": "x", "List[Tensor]": "T", "List[Optional[Tensor]]": "X"}
    letters |= {"number": "n", "Optional[number]": "N", "int": "i", "Optional[int]": "j", "List[int]": "I"}
    letters |= {"Optional[List[int]]": "J", "bool": "b", "Optional[bool]": "b", "float": "n", "Optional[float]": "N"}
    for name, operation in OPERATIONS.items():
        packet, _, overload = name.partition(".")
        schema = getattr(getattr(torch.ops.aten, packet), overload or "default")._schema
        wanted = [
            "d" if a.name == "dtype" else letters[str(a.type)] for a in schema.arguments if a.name not in _LEFT_OUT
        ]
        assert operation.kinds == "".join(wanted), name


X = torch.linspace(-3.0, 3.0, 4 * ROWS, dtype=torch.float64).reshape(ROWS, 4)
P = X.abs() / 4 + 0.05
K = (torch.arange(ROWS) % 4).unsqueeze(-1)

# Beside those of flowcli's own transforms, those that another package's may need.
MORE = {
    "angles": lambda: X.clamp(-1, 1).acos() + X.clamp(-1, 1).asin() + X.atan() + P.atanh() + (P + 1).acosh() + P.tan(),
    "powers": lambda: X.exp2() + P.log2() + P.log10() + X.square() + P.pow(0.5) + 2**X + X.cosh(),
    "rounding": lambda: X.ceil() + X.floor() + X.trunc() + X.sign() + X.sgn() + X.floor_divide(0.7),
    "tests": lambda: (X.isnan() | X.isinf()).logical_not().logical_and(X > 0).logical_or(X < -1).double(),
    "exclusive or": lambda: ((X > 0) ^ (X > 1)).double(),
    "error functions": lambda: X.erf() + X.erfc() + P.lgamma(),
    "activations": lambda: torch.nn.functional.leaky_relu(X, 0.1) + torch.nn.functional.hardtanh(X),
    "two": lambda: torch.atan2(X, P) + torch.fmax(X, P) + torch.fmin(X, P) + torch.lerp(X, P, 0.3),
    "fused": lambda: torch.addcmul(X, X, P, value=2) + torch.addcdiv(X, X, P, value=3) + torch.rsub(X, 1, alpha=2),
    "filled": lambda: X.masked_fill(X > 0, 7.0) + torch.nan_to_num(X / (X - X), nan=1, posinf=2, neginf=3),
    "clamped": lambda: X.clamp(min=P - 1, max=P) + X.clamp_min(P) + X.clamp_max(P),
    "along": lambda: X.prod(-1, keepdim=True) + X.amin(-1, keepdim=True) + X.cumprod(-1) + X.flip(-1) + X.sum(),
    "sorted": lambda: X.sort(-1, descending=True)[0] + X.argmin(-1, keepdim=True) + X.max(),
    "matrices": lambda: torch.baddbmm(X[None], X[None], X[None, :4])[0] + X[0] @ X[1],
    "in place": lambda: X.relu().mul_(P).add_(X).sub_(P).div_(P).tanh_().exp_().neg_().sigmoid_().clamp_(0.1, 1),
    "picked": lambda: X.gather(-1, K) + X.new_full((4,), 2.0) + X.new_ones(4) + X.unsqueeze(0).squeeze(),
    "swapped": lambda: torch.nn.functional.silu(X.T.contiguous(), inplace=True).T + torch.arange(2, 6),
}  # fmt: skip


@pytest.mark.parametrize("name", MORE)
def test_operations_of_others(name: str) -> None:
    value, constants = recorded(lambda _: [MORE[name]()], [X, P, K], {})
    assert value["operations"]
    (found,) = Program.parse(value, 3).run([X.numpy(), P.numpy(), K.numpy()], constants)
    np.testing.assert_allclose(found, MORE[name]().numpy(), rtol=1e-12, atol=1e-12)


def test_extremes() -> None:
    far = torch.tensor([-torch.inf, -1e300, -800.0, -1.0, -0.0, 0.0, 2.0**-54, 0.5, 1 - 2.0**-53, 1.0, 800.0, 1e300])
    far = torch.cat([far.double(), torch.tensor([torch.inf, torch.nan], dtype=torch.float64)])

    def every(inputs: Any) -> list[torch.Tensor]:
        (x,) = inputs
        f = torch.nn.functional
        return [torch.special.ndtri(x), x.lgamma(), x.sigmoid(), f.logsigmoid(x), f.softplus(x), f.elu(x), f.silu(x)]

    value, constants = recorded(every, [far], {})
    for found, wanted in zip(Program.parse(value, 1).run([far.numpy()], constants), every([far]), strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-13)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * x.sum().item(),
        lambda x: x if (x > 0).any() else -x,
        lambda x: torch.special.i0(x),
        lambda x: x + torch.rand_like(x),
    ],
)
def test_what_cannot_be_recorded(function: Any) -> None:
    with pytest.raises(NotRecordableError):
        recorded(lambda inputs: [function(inputs[0])], [X], {})


def test_what_depends_on_weights_alone_is_a_constant() -> None:
    weight = torch.eye(4, dtype=torch.float64)
    value, constants = recorded(lambda inputs: [inputs[0] @ torch.linalg.matrix_exp(weight)], [X], {"w": weight})
    assert [operation[0] for operation in value["operations"]] == ["mm"]
    assert len(constants) == 1


def test_recording_does_without_the_compiler() -> None:
    """Which torch imports, in seconds, for modes that it is to keep out of."""
    code = "import sys, torch\nfrom flowcli.programs.record import recorded\nx = torch.ones(3)\n"
    code += "recorded(lambda inputs: [inputs[0] * 2], [x], {})\nassert 'torch._dynamo' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
