"""``log_prob`` and ``sample`` of a model as a program of torch.export, in the data's own units and in float64."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flowcli import __version__
from flowcli.errors import ModelError
from flowcli.exporting.columns import FromRows, ToRows, in_order
from flowcli.exporting.density import fixed
from flowcli.model import Model
from flowcli.preprocess.encoder import TableEncoder
from flowcli.preprocess.numbers import column_numbers
from flowcli.tables.arrays import texts
from flowcli.tables.columns import Column

# What a program is, beside it in its file.
FACTS = "flowcli.json"
FACTS_VERSION = 1
# It is made by following so many rows, and then tried on other ones.
TRACED_ROWS = 3
TRIED_ROWS = 64
TOLERANCE = 1e-8


class _LogProb(nn.Module):
    """``(n,)`` from ``numbers`` and ``labels``; NaN for what ``flowcli score`` would refuse."""

    def __init__(self, density: Any, to_rows: ToRows, inputs: Sequence[str]) -> None:
        super().__init__()
        self.density, self.to_rows, self.inputs = density, to_rows, [*inputs]

    def forward(self, *tensors: Tensor) -> Tensor:
        rows, outside, bad = self.to_rows(*_numbers_and_labels(self.inputs, tensors))
        log_prob = torch.where(outside, -torch.inf, self.density.log_prob(rows))
        return torch.where(bad, torch.nan, log_prob)


class _Sample(nn.Module):
    """``numbers`` and ``labels`` of the modelled columns from uniform numbers, and from those of the context."""

    def __init__(self, density: Any, to_rows: ToRows, from_rows: FromRows, inputs: Sequence[str]) -> None:
        super().__init__()
        self.density, self.to_rows, self.from_rows, self.inputs = density, to_rows, from_rows, [*inputs]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        rows, _, bad = self.to_rows(*_numbers_and_labels(self.inputs, tensors))
        numbers, labels = self.from_rows(self.density.sample(tensors[0], rows.context))
        bad = bad.unsqueeze(1)
        return torch.where(bad, torch.nan, numbers), torch.where(bad, -1, labels)


def _numbers_and_labels(inputs: Sequence[str], tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    given = dict(zip(inputs, tensors, strict=True))
    empty = tensors[0].new_empty(tensors[0].shape[0], 0, dtype=torch.float64)
    return given.get("numbers", empty), given.get("labels", empty.long())


def facts(model: Model, function: str) -> dict[str, Any]:
    """What the program of a function takes and gives, and what its codes are, as JSON has it."""
    encoder = model.encoder
    given = True if function == "sample" else None
    inputs = {"uniforms": {"width": model.density.noise_features}} if function == "sample" else {}
    inputs |= _arrays(encoder, given)
    outputs = {"log_prob": {"unit": "nats"}} if function == "log_prob" else _arrays(encoder, False)
    return {
        "kind": "flowcli program",
        "format_version": FACTS_VERSION,
        "flowcli": __version__,
        "function": function,
        "inputs": {name: {**_TYPES[name], **facts} for name, facts in inputs.items()},
        "outputs": {name: {**_TYPES[name], **facts} for name, facts in outputs.items()},
    }


_TYPES: dict[str, dict[str, str]] = {
    "uniforms": {"dtype": "float64", "what": "independent uniform numbers in [0, 1)"},
    "numbers": {"dtype": "float64", "what": "NaN where a cell is missing"},
    "labels": {"dtype": "int64", "what": "positions among the categories, from 0; -1 for a label that is not there"},
    "log_prob": {"dtype": "float64", "what": "-inf: density or probability zero; NaN: the row cannot be scored"},
}


def _arrays(encoder: TableEncoder, context: bool | None) -> dict[str, dict[str, Any]]:
    each = {
        name: [_described(column) for column in in_order(encoder, label=name == "labels", context=context)]
        for name in ("numbers", "labels")
    }
    return {name: {"columns": columns} for name, columns in each.items() if columns}


def _described(column: Column) -> dict[str, Any]:
    told: dict[str, Any] = {"name": column.name, "kind": column.kind, "context": column.context}
    if column.kind == "label":
        told["categories"] = [*column.categories]
        if column.missing:
            told["missing_code"] = len(column.categories)
        if column.fill is not None:
            told["missing_code"] = column.categories.index(column.fill)
    else:
        told["may_be_missing"] = column.missing or column.fill is not None
    if column.kind == "date":
        from flowcli.tables.dates import unit

        told["unit"] = "days since 1970-01-01" if unit(column.date_format) > 1 else "seconds since 1970-01-01"
    return told


def exported(model: Model, function: str) -> bytes:
    """The contents of the ``.pt2`` file of a function, ``log_prob`` or ``sample``; tried on rows of the model's own.

    Raises:
        ModelError: the function cannot be such a program.
    """
    density = copy.deepcopy(model.density).cpu().requires_grad_(False).eval()
    told = facts(model, function)
    to_rows = ToRows(model.encoder, _fills(model.encoder), context_only=function == "sample")
    module: nn.Module
    if function == "log_prob":
        module = _LogProb(fixed(density), to_rows, [*told["inputs"]])
    else:
        module = _Sample(fixed(density), to_rows, FromRows(model.encoder), [*told["inputs"]])
    tensors = _tried(model, told, TRIED_ROWS)
    content = _written(module, [tensor[:TRACED_ROWS] for tensor in tensors], told)
    _check(content, module, tensors, function)
    return content


def _written(module: nn.Module, tensors: Sequence[Tensor], told: dict[str, Any]) -> bytes:
    rows = torch.export.Dim("rows")
    stream = io.BytesIO()
    try:
        # What torch could not follow it prints in full.
        with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            program = torch.export.export(
                module.eval(), tuple(tensors), dynamic_shapes=(tuple({0: rows} for _ in tensors),), strict=False
            )
        # The rows that were followed, and where this machine has its files, are nobody's business.
        program._example_inputs = None
        for node in program.graph.nodes:
            for origin in ("stack_trace", "nn_module_stack", "torch_fn", "source_fn_stack"):
                node.meta.pop(origin, None)
        torch.export.save(program, stream, extra_files={FACTS: json.dumps(told, ensure_ascii=False)})
    except Exception as error:
        # Whatever it is that keeps torch from following a function: most often a search that ends by the numbers.
        raise _refused(told["function"]) from error
    return stream.getvalue()


def _refused(function: str) -> ModelError:
    other = "sample" if function == "log_prob" else "log_prob"
    return ModelError(
        f"{function} of this model cannot be exported: it is no fixed sequence of operations, as with transforms that "
        f"search for a root or solve an equation ('flowcli transforms' tells them); --function {other} may do"
    )


def _check(content: bytes, module: nn.Module, tensors: Sequence[Tensor], function: str) -> None:
    """Refuse a file that does not have the results of the model, with whatever number of rows.

    Raises:
        ModelError: it does not.
    """
    loaded = torch.export.load(io.BytesIO(content)).module()
    for count in (1, len(tensors[0])):
        some = [tensor[:count] for tensor in tensors]
        with torch.no_grad():
            both = [_tuple(each(*some)) for each in (module, loaded)]
        for mine, its in zip(*both, strict=True):
            if not torch.allclose(mine, its, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
                raise _refused(function)


def _tuple(result: Any) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else tuple(result)


def _tried(model: Model, told: dict[str, Any], rows: int) -> list[Tensor]:
    """Inputs as they can come: numbers around each column's middle, any label, uniform numbers."""
    generator = np.random.default_rng(0)
    by_name = {column.name: column for column in model.encoder.columns}
    tensors = []
    for name, array in told["inputs"].items():
        columns = [by_name[column["name"]] for column in array.get("columns", [])]
        if name == "uniforms":
            values = generator.random((rows, array["width"]))
        elif name == "labels":
            values = np.stack([generator.integers(0, column.codes, rows) for column in columns], axis=1)
        else:
            values = np.stack([_plausible(column, generator.normal(size=rows)) for column in columns], axis=1)
        tensors.append(torch.from_numpy(values))
    return tensors


def _plausible(column: Column, normals: np.ndarray) -> np.ndarray:
    values: np.ndarray = column.mean + column.scale * np.abs(normals) / 4
    return values.round() if column.kind == "ordinal" else values


def _fills(encoder: TableEncoder) -> dict[str, float]:
    """What stands for a missing number, by the column's name."""
    import pyarrow as pa

    return {
        column.name: float(column_numbers(column, pa.chunked_array([texts([column.fill])])).values[0])
        for column in encoder.columns
        if column.fill is not None and column.kind not in ("label", "constant", "identifier")
    }
