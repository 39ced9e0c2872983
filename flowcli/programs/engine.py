"""A density from its programs, on NumPy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flowcli.chunks import CHUNK
from flowcli.errors import ModelError
from flowcli.flows.drawn import Drawn
from flowcli.preprocess.encoder import Encoded
from flowcli.programs.program import Program
from flowcli.programs.stored import FUNCTIONS, ProgramError, ProgramSet, UnknownOperationError

Floats = npt.NDArray[np.float64]

# So many operations take about as long as importing torch. With more of them to do, torch is faster all in all.
MOST_STEPS = 100_000


class ProgramEngine:
    """The functions of a density that have a program. Arrays are as :class:`flowcli.flows.engine.Engine` has them.

    Several threads may call it at once.
    """

    chunk = sampling_chunk = CHUNK

    def __init__(
        self,
        source: str,
        programs: ProgramSet,
        rows: int,
        tensors: Mapping[str, np.ndarray],
        widths: tuple[int, int, int],
        cardinalities: Sequence[int],
    ) -> None:
        """``rows``: how many a program takes at a time.

        ``widths``: how many numbers, labels and ordinals a row has; ``cardinalities``: of each label.
        """
        self.source = source
        self.programs = programs
        self.rows = rows
        self.tensors = tensors
        self.widths = widths
        self.cardinalities = np.array(cardinalities, dtype=np.int64)
        self.noise_features = programs.noise_features
        self.components = 0
        self._parsed: dict[str, Program] = {}

    def steps(self, function: str, rows: int) -> float:
        """How many operations so many rows take; infinitely many without a program that this version can run."""
        try:
            if function not in self.programs.functions:
                return math.inf
            return -(-rows // self.rows) * len(self._program(function).steps)
        except UnknownOperationError:
            return math.inf

    def pays(self, function: str, rows: int) -> bool:
        """Whether so many rows are done sooner here than by importing torch."""
        return self.steps(function, rows) <= MOST_STEPS

    def log_prob(self, rows: Encoded) -> Floats:
        return self._one("log_prob", rows)

    def encode(self, rows: Encoded) -> Floats:
        return self._one("encode", rows, self.widths[0])

    def decode(self, rows: Encoded) -> Floats:
        return self._one("decode", rows, self.widths[0])

    def _one(self, function: str, rows: Encoded, *shape: int) -> Floats:
        inputs = [rows.numbers, rows.labels, rows.ordinals, rows.context]
        found: Floats = self._run(function, inputs, [(shape, np.float64)])[0]
        return found

    def sample(self, uniforms: Floats, context: Floats) -> Drawn:
        numbers, labels, ordinals = self.widths
        shapes = [((numbers,), np.float64), ((labels,), np.int64), ((ordinals,), np.float64)]
        drawn = Drawn(*self._run("sample", [uniforms, context], shapes))
        if (drawn.labels < 0).any() or (drawn.labels >= self.cardinalities).any():
            raise self._damaged("it draws labels that there are not")
        return drawn

    def _program(self, function: str) -> Program:
        if function not in self._parsed:
            try:
                program = Program.parse(self.programs.functions[function], FUNCTIONS[function])
                if not self.tensors.keys() >= {*program.tensors}:
                    raise ProgramError("a tensor is missing")
            except UnknownOperationError:
                raise
            except ProgramError as error:
                raise self._damaged(str(error)) from None
            self._parsed[function] = program
        return self._parsed[function]

    def _run(
        self, function: str, inputs: Sequence[np.ndarray], shapes: Sequence[tuple[tuple[int, ...], Any]]
    ) -> list[Any]:
        """The function's results, of these shapes, the rows left out."""
        program, size, rows = self._program(function), self.rows, len(inputs[0])
        results: list[np.ndarray] = [np.empty((rows, *shape), dtype) for shape, dtype in shapes]
        for start in range(0, rows, size):
            # The last rows stand there more than once, so that there are always as many.
            chosen = np.minimum(np.arange(start, start + size), rows - 1)
            try:
                found = program.run([part[chosen] for part in inputs], self.tensors)
            except ProgramError as error:
                raise self._damaged(str(error)) from None
            of_size = [((size, *shape), dtype) for shape, dtype in shapes]
            if [(part.shape, part.dtype) for part in found] != of_size:
                raise self._damaged("its results are not those of the function")
            for result, part in zip(results, found, strict=True):
                result[start : start + size] = part[: rows - start]
        return results

    def _damaged(self, what: str) -> ModelError:
        return ModelError(f"{self.source}: damaged program: {what}")
