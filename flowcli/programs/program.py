"""A program: one function of a density, as operations in a row; read from a file, checked, and run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowcli.programs.operations import DTYPES, OPERATIONS, SLOW, Operation
from flowcli.programs.stored import ProgramError, UnknownOperationError

Array = np.ndarray

MOST_OPERATIONS = 20_000
# Of the numbers that one run makes or looks at, and one of its operations.
MOST_WORK = 1 << 26
MOST_WORK_AT_ONCE = 1 << 23
LARGEST_INTEGER = 2**63 - 1
_DTYPES = frozenset(DTYPES.values())
# Of an operation, in a message.
LONGEST_NAME = 100
_NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


@dataclass(frozen=True)
class _Step:
    """An operation with its arguments; those that are tensors are filled in from the values so far.

    ``tensors``: where in the arguments each goes; ``lists``: the same of lists, where ``None`` is nothing. ``done``:
    the values that no later step needs.
    """

    operation: Operation
    arguments: list[Any]
    tensors: list[tuple[int, int]]
    lists: list[tuple[int, list[int | None]]]
    done: list[int]


@dataclass(frozen=True)
class Program:
    """A function of ``rows`` rows at a time.

    Values are numbered: the inputs, the tensors of the model file that it uses, then what its operations make, one
    after the other. In JSON an operation is a list of its name and its arguments, as ``Operation.kinds`` has them;
    tensors are numbers of values, and a number in the place of one stands in a list. Numbers that are not finite are
    words.
    """

    inputs: int
    tensors: list[str]
    steps: list[_Step]
    results: list[int]
    kept: frozenset[int]

    @classmethod
    def parse(cls, value: Any, inputs: int) -> Program:
        """A program from its JSON.

        Raises:
            ProgramError: it is none.
        """
        match value:
            case {"tensors": list(tensors), "operations": list(operations), "results": list(results), **more}:
                sound = not more and all(type(name) is str for name in tensors)
            case _:
                sound = False
        if not sound:
            raise ProgramError("its parts are not those of a program")
        if len(operations) > MOST_OPERATIONS:
            raise ProgramError("too many operations")
        first = inputs + len(tensors)
        last_use = dict.fromkeys(_each_value(results), len(operations))
        parsed = []
        for at in reversed(range(len(operations))):
            operation, arguments, numbers, lists = _parsed(operations[at])
            done = []
            for number in {*(n for _, n in numbers), *(n for _, many in lists for n in many if n is not None)}:
                if number not in last_use:
                    last_use[number] = at
                    done.append(number)
            parsed.append(_Step(operation, arguments, numbers, lists, done))
        return cls(inputs, tensors, parsed[::-1], results, frozenset(n for n in last_use if n >= first))

    def run(self, inputs: Sequence[Array], tensors: Mapping[str, Array]) -> list[Array]:
        """The results for inputs of as many rows as the program was made for. Inputs and tensors are not changed.

        Raises:
            ProgramError: the operations do not fit together, or are more work than they may be.
        """
        try:
            with np.errstate(all="ignore"):
                return self._run(inputs, tensors)
        except ProgramError:
            raise
        except Exception as error:  # whatever NumPy says of arguments that do not fit
            raise ProgramError(f"an operation fails: {type(error).__name__}") from None

    def _run(self, inputs: Sequence[Array], tensors: Mapping[str, Array]) -> list[Array]:
        values: dict[int, Array] = {}
        for number, array in enumerate([*inputs, *(tensors[name] for name in self.tensors)]):
            values[number] = array[...]
            values[number].flags.writeable = False
        following, work = len(values), 0
        for step in self.steps:
            arguments = step.arguments.copy()
            for place, number in step.tensors:
                arguments[place] = values[number]
            for place, numbers in step.lists:
                arguments[place] = [None if number is None else values[number] for number in numbers]
            its_work = max(step.operation.work(*arguments), SLOW)
            work += its_work
            if its_work > MOST_WORK_AT_ONCE or work > MOST_WORK:
                raise ProgramError("too much work")
            made = step.operation.function(*arguments)
            if made is not None:
                for array in map(np.asarray, made if isinstance(made, (list, tuple)) else (made,)):
                    if array.dtype not in _DTYPES:
                        raise ProgramError("an operation gives what is no number")
                    if following in self.kept:
                        values[following] = array
                    following += 1
            for number in step.done:
                del values[number]
        return [values[number] for number in self.results]


def _each_value(numbers: list[Any]) -> list[int]:
    for number in numbers:
        if type(number) is not int or number < 0:
            raise ProgramError("a value has no number")
    return numbers


def _parsed(value: Any) -> tuple[Operation, list[Any], list[tuple[int, int]], list[tuple[int, list[int | None]]]]:
    """An operation, its arguments, and which of these are tensors, and lists of them."""
    if type(value) is not list or not value or type(value[0]) is not str:
        raise ProgramError("an operation has no name")
    if value[0] not in OPERATIONS:
        raise UnknownOperationError(f"an unknown operation: {value[0][:LONGEST_NAME]}")
    operation = OPERATIONS[value[0]]
    arguments = value[1:]
    if len(arguments) != len(operation.kinds):
        raise ProgramError("too few arguments, or too many")
    tensors: list[tuple[int, int]] = []
    lists: list[tuple[int, list[int | None]]] = []
    for place, (kind, argument) in enumerate(zip(operation.kinds, arguments, strict=True)):
        if kind in "tx" and type(argument) is int and argument >= 0:
            tensors.append((place, argument))
        elif kind in "TX" and type(argument) is list:
            if kind == "T" and None in argument:
                raise ProgramError("an argument of another kind")
            _each_value([number for number in argument if number is not None])
            lists.append((place, argument))
        else:
            arguments[place] = _plain(kind, argument)
    return operation, arguments, tensors, lists


def _plain(kind: str, argument: Any) -> Any:
    """An argument that is no tensor."""
    if argument is None and kind in "xNjJd":
        return None
    if kind == "t" and type(argument) is list and len(argument) == 1:
        return _number(argument[0])
    if kind in "nN":
        return _number(argument)
    if kind in "ij" and type(argument) is int and abs(argument) <= LARGEST_INTEGER:
        return argument
    if kind in "IJ" and type(argument) is list and all(type(_plain("i", item)) is int for item in argument):
        return argument
    if kind == "b" and type(argument) is bool:
        return argument
    if kind == "d" and type(argument) is str and argument in DTYPES:
        return DTYPES[argument]
    raise ProgramError("an argument of another kind")


def _number(value: Any) -> float:
    if type(value) in (float, bool) or (type(value) is int and abs(value) <= LARGEST_INTEGER):
        return value  # type: ignore[no-any-return]
    if type(value) is str and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    raise ProgramError("an argument of another kind")
