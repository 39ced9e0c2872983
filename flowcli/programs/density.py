"""The programs of a density, recorded when a model file is made, and tried against the density itself."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowcli.flows.density import Density
from flowcli.flows.mixture import MixtureDensity
from flowcli.flows.rows import Rows
from flowcli.programs.program import Program
from flowcli.programs.record import recorded
from flowcli.programs.stored import FUNCTIONS, MOST_NOISE, PREFIX, ProgramError, ProgramSet, StoredPrograms

# More rows at once cost less each, and more for a file of one row.
ROWS = 256
# How far, relatively, a program's numbers may be from the density's: on rows as training has them, which are the first
# half of those that it is tried on, and on far ones, where the functions themselves can magnify a rounding.
NEAR = slice(0, ROWS // 2)
FAR = slice(ROWS // 2, ROWS)
TOLERANCES = ((NEAR, 1e-10), (FAR, 1e-7))


def record_programs(density: Density, context_features: int) -> tuple[StoredPrograms, dict[str, np.ndarray]]:
    """The programs of the functions that can have one, and their constants, by their names in a model file."""
    if next(density.buffers()).is_cuda:
        density = copy.deepcopy(density).cpu()
    recorder = _Recorder(context_features)
    if isinstance(density, MixtureDensity):
        members = [recorder.set_of(density.member(k)) for k in range(len(density.members))]
    else:
        recorder.set_of(density)
        members = []
    types = {name: constant.dtype.name for name, constant in recorder.constants.values()}
    stored = StoredPrograms(ROWS, recorder.sets, members, types)
    return stored, {name: _narrowed(constant) for name, constant in recorder.constants.values()}


class _Recorder:
    """Records sets of programs; one that fits a density of the same kind, too, is there once."""

    def __init__(self, context_features: int) -> None:
        self.context_features = context_features
        self.sets: list[ProgramSet] = []
        self._shapes: list[dict[str, tuple[int, ...]]] = []
        self._programs: list[dict[str, Program]] = []
        # By their contents, with their names.
        self.constants: dict[bytes, tuple[str, np.ndarray]] = {}

    def set_of(self, density: Density) -> int:
        """The place of a density's programs among the sets."""
        tried = {name: _inputs(density, self.context_features, inputs) for name, inputs in FUNCTIONS.items()}
        weights = density.state_dict(keep_vars=True)
        arrays = {name: weight.detach().numpy() for name, weight in weights.items()}
        shapes = {name: array.shape for name, array in arrays.items()}
        for place in range(len(self.sets)):
            if self._shapes[place] == shapes and self._fits(density, place, arrays, tried):
                return place
        functions: dict[str, Any] = {}
        programs: dict[str, Program] = {}
        for name in FUNCTIONS:
            if name == "sample" and density.noise_features > MOST_NOISE:
                continue
            try:
                value, its_constants = recorded(partial(_call, density, name), tried[name], weights)
                program = Program.parse(value, FUNCTIONS[name])
                _check(density, name, program, {**arrays, **its_constants}, tried[name])
            except Exception:
                # Whatever it is that keeps a function from being recorded: torch has it all the same.
                continue
            names = {}
            for local, constant in its_constants.items():
                key = repr((constant.dtype.str, constant.shape)).encode() + constant.tobytes()
                names[local] = self.constants.setdefault(key, (f"{PREFIX}{len(self.constants)}", constant))[0]
            value["tensors"] = [names.get(tensor, tensor) for tensor in value["tensors"]]
            functions[name] = value
            programs[name] = replace(program, tensors=value["tensors"])
        self.sets.append(ProgramSet(density.noise_features, functions))
        self._shapes.append(shapes)
        self._programs.append(programs)
        return len(self.sets) - 1

    def _fits(
        self,
        density: Density,
        place: int,
        arrays: Mapping[str, np.ndarray],
        tried: Mapping[str, Sequence[Tensor]],
    ) -> bool:
        """Whether the programs of a set, with the density's weights, have its results."""
        if self.sets[place].noise_features != density.noise_features:
            return False
        tensors = {**arrays, **dict(self.constants.values())}
        try:
            for name, program in self._programs[place].items():
                _check(density, name, program, tensors, tried[name])
        except ProgramError:
            return False
        return True


def _inputs(density: Density, context_features: int, count: int) -> list[Tensor]:
    """Rows to try a function on, drawn from a seed of their own: as training has them, and far away."""
    generator = torch.Generator().manual_seed(0)

    def normals(features: int, near: float, far: float) -> Tensor:
        drawn = torch.randn(ROWS, features, generator=generator, dtype=torch.float64)
        drawn[NEAR] *= near
        drawn[FAR] *= far
        return drawn

    context = normals(context_features, 1.0, 3.0)
    if count == 2:
        uniforms = torch.rand(ROWS, density.noise_features, generator=generator, dtype=torch.float64)
        # The smallest numbers there are, 0 among them, and the largest.
        ends = torch.where(uniforms < 0.5, uniforms * 2.0**-52, 1 - uniforms * 2.0**-52)
        uniforms[FAR] = ends[FAR]
        return [uniforms, context]
    numbers, labels, ordinals = density.columns
    codes = torch.zeros(ROWS, labels, dtype=torch.long)
    for place, k in enumerate(density.cardinalities):
        # Among the far ones there is a label that training had not.
        codes[NEAR, place] = torch.randint(0, k, (ROWS // 2,), generator=generator)
        codes[FAR, place] = torch.randint(-1, k, (ROWS // 2,), generator=generator)
    return [
        density.supports.from_real(normals(numbers, 1.5, 8.0)),
        codes,
        torch.round(normals(ordinals, 5.0, 1e4)),
        context,
    ]


def _call(density: Density, name: str, inputs: Sequence[Tensor]) -> list[Tensor]:
    if name == "sample":
        uniforms, context = inputs
        drawn = density.sample(uniforms, context)
        return [drawn.numbers, drawn.labels, drawn.ordinals]
    result: Tensor = getattr(density, name)(Rows(*inputs))
    return [result]


def _check(
    density: Density, name: str, program: Program, tensors: Mapping[str, np.ndarray], tried: Sequence[Tensor]
) -> None:
    """Refuse a program whose results are not the function's.

    Raises:
        ProgramError: they differ, or it does not run.
    """
    with torch.no_grad():
        wanted = [result.numpy() for result in _call(density, name, tried)]
    for one, other in zip(program.run([part.numpy() for part in tried], tensors), wanted, strict=True):
        if one.shape != other.shape or one.dtype != other.dtype:
            raise ProgramError("its results are others")
        for rows, tolerance in TOLERANCES:
            if not np.allclose(one[rows], other[rows], rtol=tolerance, atol=tolerance, equal_nan=True):
                raise ProgramError("its results are others")


def _narrowed(constant: np.ndarray) -> np.ndarray:
    """The same numbers in a type that takes less room."""
    for dtype in () if constant.dtype == np.bool_ else (np.bool_, np.int8, np.float32):
        with np.errstate(all="ignore"):
            narrow = constant.astype(dtype)
        if np.array_equal(narrow.astype(constant.dtype), constant):
            return narrow
    return constant
