"""Recording what a density's function does with tensors, as a program."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from flowcli.programs.operations import OPERATIONS
from flowcli.programs.program import MOST_OPERATIONS

# Where tensors lie and how they are laid out is NumPy's own affair.
_LEFT_OUT = {
    "device", "layout", "pin_memory", "non_blocking", "memory_format", "implicit", "sparse_grad", "half_to_float",
}  # fmt: skip
_SAME_TENSOR = {"aten.lift_fresh.default", "aten.detach.default", "aten.alias.default", "aten.lift.default"}
# The attribute of a tensor that says which value it is.
_MARK = "_flowcli_value"
_DTYPES = {torch.float64: "float64", torch.float32: "float32", torch.int64: "int64", torch.bool: "bool"}


class NotRecordableError(Exception):
    """A function does something that a program cannot: it looks at values, or needs an operation that is not there."""


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the operations of what runs within; afterwards :meth:`program` makes a program of them.

    What depends on the weights alone may look at values, and use operations that there are not: its results are then
    constants of the program.
    """

    def __init__(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._operations: list[tuple[str, list[Any], list[int], str]] = []
        self._inputs = len(inputs)
        self._names: dict[int, str] = {}
        self._constants: dict[int, np.ndarray] = {}
        self._count = 0
        # Tensors from outside that are neither.
        self.met: list[Tensor] = []
        for tensor in inputs:
            self._number_of_new(tensor, fixed=False)
        for name, tensor in weights.items():
            self._names[self._number_of_new(tensor, fixed=True)] = name

    def _number_of_new(self, tensor: Tensor, fixed: bool) -> int:
        number = self._count
        self._mark(tensor, number, fixed)
        self._count += 1
        return number

    def _mark(self, tensor: Tensor, number: int, fixed: bool) -> None:
        """Remember a tensor's number, and whether the inputs have no part in it: a mark lives as long as its tensor."""
        setattr(tensor, _MARK, (self, number, fixed))

    def _number_of(self, tensor: Tensor) -> tuple[int, bool]:
        mark = getattr(tensor, _MARK, None)
        if mark is None or mark[0] is not self:
            self.met.append(tensor)
            number = self._number_of_new(tensor, fixed=True)
            self._constants[number] = tensor.detach().numpy().copy()
            return number, True
        return mark[1], mark[2]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Else torch would import its compiler, which takes seconds, to leave this out of it.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kind = _kind_of(func)
        given = kind.arguments_of(args, kwargs or {})
        tensors = [tensor for argument in given for tensor in _tensors(argument)]
        before = [self._number_of(tensor) for tensor in tensors]
        fixed = all(is_fixed for _, is_fixed in before)
        if not kind.same_tensor and kind.name not in OPERATIONS and not (fixed and not kind.mutable):
            raise NotRecordableError(kind.name)
        result = func(*args, **(kwargs or {}))
        if kind.same_tensor:
            self._mark(result, *before[0])
        elif kind.name in OPERATIONS:
            self._record(kind, given, result, fixed)
        return result

    def _record(self, kind: _Kind, given: list[Any], result: Any, fixed: bool) -> None:
        if len(self._operations) >= 2 * MOST_OPERATIONS:
            raise NotRecordableError("too many operations")
        arguments = [self._written(argument) for argument in given]
        if len(arguments) != len(OPERATIONS[kind.name].kinds):
            raise NotRecordableError(f"{kind.name} with other arguments")
        if kind.mutable:
            self._operations.append((kind.name, arguments, [], "write"))
            if not fixed:
                self._mark(given[0], self._number_of(given[0])[0], False)
            return
        results = [result] if isinstance(result, Tensor) else list(result)
        numbers = [self._number_of_new(tensor, fixed) for tensor in results]
        self._operations.append((kind.name, arguments, numbers, "view" if kind.views else "new"))

    def _written(self, argument: Any) -> Any:
        """An argument as JSON has it; a tensor as a reference."""
        if isinstance(argument, Tensor):
            return _Reference(self._number_of(argument)[0])
        if isinstance(argument, (list, tuple)):
            return [self._written(item) for item in argument]
        if isinstance(argument, torch.dtype):
            if argument not in _DTYPES:
                raise NotRecordableError(str(argument))
            return _DTYPES[argument]
        if isinstance(argument, float) and not math.isfinite(argument):
            return str(argument)
        if argument is None or isinstance(argument, (bool, int, float, str)):
            return argument
        raise NotRecordableError(type(argument).__name__)

    def program(self, results: Iterable[Tensor]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The program of these results, as JSON, and its constants, by the names that it has for them.

        Operations that no result needs are left out.
        """
        wanted = [self._number_of(tensor)[0] for tensor in results]
        kept = self._needed(wanted)
        numbers = {number: number for number in range(self._inputs)}
        used = sorted({n for _, arguments, _, _ in kept for n in _references(arguments)} | {*wanted})
        tensors: list[str] = []
        constants: dict[str, np.ndarray] = {}
        for number in used:
            if number in self._names:
                tensors.append(self._names[number])
            elif number in self._constants:
                tensors.append(f"constant {len(constants)}")
                constants[tensors[-1]] = self._constants[number]
            else:
                continue
            numbers[number] = self._inputs + len(tensors) - 1
        following = self._inputs + len(tensors)
        operations = []
        for name, arguments, made, _ in kept:
            kinds = OPERATIONS[name].kinds
            operations.append([name, *(_renumbered(a, k, numbers) for a, k in zip(arguments, kinds, strict=True))])
            for number in made:
                numbers[number] = following
                following += 1
        value = {"tensors": tensors, "operations": operations, "results": [numbers[n] for n in wanted]}
        return value, constants

    def _needed(self, wanted: list[int]) -> list[tuple[str, list[Any], list[int], str]]:
        """The operations that these values need, of those in place the ones into memory that is read later."""
        memory: dict[int, int] = {}
        for _, arguments, made, kind in self._operations:
            for number in made:
                memory[number] = _memory(memory, _references(arguments)[0]) if kind == "view" else number
        needed, read, kept = {*wanted}, {_memory(memory, number) for number in wanted}, []
        for operation in reversed(self._operations):
            _, arguments, made, kind = operation
            references = _references(arguments)
            target = _memory(memory, references[0]) in read if kind == "write" else bool(needed.intersection(made))
            if target:
                kept.append(operation)
                needed.update(references)
                read.update(_memory(memory, number) for number in references)
        return kept[::-1]


class _Reference(int):
    """The number of a value."""


def _memory(memory: Mapping[int, int], number: int) -> int:
    """The value whose memory a value is, or is a view of."""
    return memory.get(number, number)


def _references(arguments: Any) -> list[int]:
    if isinstance(arguments, _Reference):
        return [arguments]
    return [n for argument in arguments for n in _references(argument)] if isinstance(arguments, list) else []


def _renumbered(argument: Any, kind: str, numbers: Mapping[int, int]) -> Any:
    if isinstance(argument, _Reference):
        return numbers[argument]
    if kind in "TX":
        return [None if item is None else _renumbered(item, "x", numbers) for item in argument]
    return [argument] if kind == "t" else argument


@dataclass(frozen=True)
class _Kind:
    """What is known of an operation of torch: places, names and defaults of its arguments, what it does to tensors."""

    name: str
    arguments: list[tuple[int, str, Any]]
    same_tensor: bool
    mutable: bool
    views: bool

    def arguments_of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """All arguments in the schema's order, defaults filled in."""
        return [
            args[place] if place < len(args) else kwargs.get(name, default) for place, name, default in self.arguments
        ]


@functools.cache
def _kind_of(func: Any) -> _Kind:
    schema, name = func._schema, str(func)
    arguments = [
        (place, argument.name, argument.default_value)
        for place, argument in enumerate(schema.arguments)
        if argument.name not in _LEFT_OUT
    ]
    views = any(each.alias_info is not None for each in schema.returns)
    own = name.removeprefix("aten.").removesuffix(".default")
    return _Kind(own, arguments, name in _SAME_TENSOR, schema.is_mutable, views)


def _tensors(argument: Any) -> list[Tensor]:
    if isinstance(argument, Tensor):
        return [argument]
    return [t for item in argument for t in _tensors(item)] if isinstance(argument, (list, tuple)) else []


def recorded(
    function: Callable[[Sequence[Tensor]], Sequence[Tensor]], inputs: Sequence[Tensor], weights: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The program of a function of the inputs, as JSON, and its constants.

    Raises:
        NotRecordableError: the function cannot be a program.
    """
    recording = Recording(inputs, weights)
    try:
        with torch.no_grad(), recording:
            results = function(inputs)
        return recording.program(results)
    finally:
        for tensor in (*inputs, *weights.values(), *recording.met):
            delattr(tensor, _MARK)
