"""The programs of a density, recorded when a model file is made, and tried against the density itself."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
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
# How far, relatively, a program's numbers may be from the density's: on rows as training has them, and on far ones,
# where the functions themselves can magnify a rounding.
TOLERANCES = (1e-10, 1e-7)


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
        # By their contents, with their names.
        self.constants: dict[bytes, tuple[str, np.ndarray]] = {}

    def set_of(self, density: Density) -> int:
        """The place of a density's programs among the sets."""
        tried = {
            name: [_inputs(density, self.context_features, inputs, far) for far in (False, True)]
            for name, inputs in FUNCTIONS.items()
        }
        weights = density.state_dict(keep_vars=True)
        arrays = {name: weight.detach().numpy() for name, weight in weights.items()}
        shapes = {name: array.shape for name, array in arrays.items()}
        for place, known in enumerate(self.sets):
            if self._shapes[place] == shapes and self._fits(density, known, arrays, tried):
                return place
        functions: dict[str, Any] = {}
        for name in FUNCTIONS:
            if name == "sample" and density.noise_features > MOST_NOISE:
                continue
            try:
                value, its_constants = recorded(partial(_call, density, name), tried[name][0], weights)
                _check(density, name, value, {**arrays, **its_constants}, tried[name])
            except Exception:
                # Whatever it is that keeps a function from being recorded: torch has it all the same.
                continue
            names = {}
            for local, constant in its_constants.items():
                key = repr((constant.dtype.str, constant.shape)).encode() + constant.tobytes()
                names[local] = self.constants.setdefault(key, (f"{PREFIX}{len(self.constants)}", constant))[0]
            value["tensors"] = [names.get(tensor, tensor) for tensor in value["tensors"]]
            functions[name] = value
        self.sets.append(ProgramSet(density.noise_features, functions))
        self._shapes.append(shapes)
        return len(self.sets) - 1

    def _fits(
        self,
        density: Density,
        known: ProgramSet,
        arrays: Mapping[str, np.ndarray],
        tried: Mapping[str, Sequence[list[Tensor]]],
    ) -> bool:
        """Whether the programs, with the density's weights, have its results."""
        tensors = {**arrays, **dict(self.constants.values())}
        try:
            for name, value in known.functions.items():
                _check(density, name, value, tensors, tried[name])
        except ProgramError:
            return False
        return known.noise_features == density.noise_features


def _inputs(density: Density, context_features: int, count: int, far: bool) -> list[Tensor]:
    """Rows to try a function on, drawn from a seed of their own: as training has them, or far away."""
    generator = torch.Generator().manual_seed(int(far))

    def normals(features: int, size: float) -> Tensor:
        return torch.randn(ROWS, features, generator=generator, dtype=torch.float64) * size

    context = normals(context_features, 3.0 if far else 1.0)
    if count == 2:
        uniforms = torch.rand(ROWS, density.noise_features, generator=generator, dtype=torch.float64)
        # The smallest numbers there are, 0 among them, and the largest.
        return [torch.where(uniforms < 0.5, uniforms * 2.0**-52, 1 - uniforms * 2.0**-52) if far else uniforms, context]
    numbers, labels, ordinals = density.columns
    codes = [torch.randint(-int(far), k, (ROWS,), generator=generator) for k in density.cardinalities]
    return [
        density.supports.from_real(normals(numbers, 8.0 if far else 1.5)),
        torch.stack(codes, dim=-1) if labels else torch.zeros(ROWS, 0, dtype=torch.long),
        torch.round(normals(ordinals, 1e4 if far else 5.0)),
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
    density: Density, name: str, value: Any, tensors: Mapping[str, np.ndarray], tried: Sequence[list[Tensor]]
) -> None:
    """Refuse a program whose results are not the function's.

    Raises:
        ProgramError: they differ, or it does not run.
    """
    program = Program.parse(value, FUNCTIONS[name])
    for inputs, tolerance in zip(tried, TOLERANCES, strict=True):
        with torch.no_grad():
            wanted = [result.numpy() for result in _call(density, name, inputs)]
        for one, other in zip(program.run([part.numpy() for part in inputs], tensors), wanted, strict=True):
            same = one.shape == other.shape and one.dtype == other.dtype
            if not same or not np.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True):
                raise ProgramError("its results are others")


def _narrowed(constant: np.ndarray) -> np.ndarray:
    """The same numbers in a type that takes less room."""
    for dtype in () if constant.dtype == np.bool_ else (np.bool_, np.int8, np.float32):
        with np.errstate(all="ignore"):
            narrow = constant.astype(dtype)
        if np.array_equal(narrow.astype(constant.dtype), constant):
            return narrow
    return constant
