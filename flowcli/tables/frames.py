"""Tables of other libraries as tables here, and back: pandas, polars, pyarrow, NumPy, and what speaks Arrow."""

from __future__ import annotations

import numbers
import os
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
import pyarrow as pa

from flowcli.errors import DataError, UsageError, first_line
from flowcli.tables.arrays import texts
from flowcli.tables.table import Origin, Table, check_names, without_views

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy.typing as npt
    import pandas as pd

    class ArrowStream(Protocol):
        """What has the Arrow PyCapsule interface: polars, pyarrow, DuckDB and others."""

        def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

    Files: TypeAlias = str | Path | Sequence[str | Path]
    TableLike: TypeAlias = Table | pd.DataFrame | ArrowStream | npt.NDArray[Any] | Mapping[str, Any] | Files

Library = Literal["pandas", "polars", "arrow", "numpy"]

TAKEN = "a DataFrame of pandas or polars, an Arrow table, an array (n, d), a mapping of columns, or files' names"


def files_of(value: object) -> list[str] | None:
    """The names of files, where the value is one or several."""
    if isinstance(value, (str, os.PathLike)):
        return [os.fspath(value)]
    if isinstance(value, (list, tuple)) and value and all(isinstance(each, (str, os.PathLike)) for each in value):
        return [os.fspath(each) for each in value]
    return None


def as_table(value: object, name: str = "the table", names: Sequence[str] | None = None) -> Table:
    """A table of another library; a pandas index is left out, and names of columns become text.

    Args:
        name: what messages call it.
        names: those of an array's columns; ``x1..xd`` by default.

    Raises:
        DataError: it is no table, a column holds what no table can, or a name is there twice.
    """
    if isinstance(value, Table):
        return value
    cells = without_views(_cells(value, name, names))
    check_names(cells.column_names, name)
    return Table(cells, (Origin(name, 1, cells.num_rows),))


def library_of(value: object) -> Library:
    """Which library's table an answer is to be that comes in the kind of this one; pandas where it has none."""
    if isinstance(value, (Table, pa.Table, pa.RecordBatch)):
        return "arrow"
    if _is_of("polars", value):
        return "polars"
    return "numpy" if not is_frame(value) and hasattr(value, "__array__") else "pandas"


def written_as(cells: pa.Table, library: str) -> Any:
    """Cells as a table of a library; as an array, they are objects unless all of them are numbers.

    Raises:
        UsageError: the library is none of those that are known, or is not installed.
    """
    if library == "arrow":
        return cells
    if library == "numpy":
        return _array(cells)
    if library == "pandas":
        return cells.to_pandas()
    if library != "polars":
        raise UsageError(f"a table is written as {', '.join(get_args(Library))}; got {library!r}")
    try:
        import polars
    except ImportError:
        raise UsageError("polars is not installed: pip install polars") from None
    return polars.from_arrow(cells)


def in_kind_of(value: object, cells: pa.Table) -> Any:
    """Cells as a table of the library that the value is of; of pandas, with its index, where the rows are its own."""
    written = written_as(cells, library_of(value))
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame) and len(value) == len(written):
        written.index = value.index
    return written


def is_single_row(value: object) -> bool:
    """Whether it is a mapping of columns with one value each, rather than with a list of them."""
    return isinstance(value, Mapping) and all(map(_is_single, value.values()))


def _is_single(cells: Any) -> bool:
    return isinstance(cells, (str, bytes)) or getattr(cells, "ndim", 1) == 0 or not hasattr(cells, "__len__")


def is_frame(value: object) -> bool:
    """Whether it has columns of its own, with names."""
    return any(hasattr(value, way) for way in ("__arrow_c_stream__", "__arrow_c_array__", "__dataframe__"))


def _is_of(library: str, value: object) -> bool:
    """Whether the value is a DataFrame of the library, which is not imported for this."""
    module = sys.modules.get(library)
    return module is not None and isinstance(value, module.DataFrame)


def _cells(value: Any, name: str, names: Sequence[str] | None) -> pa.Table:
    if type(value).__name__ == "Series":
        raise DataError(f"{name}: a Series is one column; series.to_frame() is a table")
    if _is_of("pandas", value):
        # One after the other, as pyarrow does not say which column it fails on.
        return _columns([(str(key), value.iloc[:, at]) for at, key in enumerate(value.columns)], name)
    if isinstance(value, Mapping):
        return _columns([(str(key), cells) for key, cells in value.items()], name)
    if not is_frame(value) and hasattr(value, "__array__"):
        return _array_cells(value, name, names)
    try:
        if hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__"):
            return pa.table(value)
        if hasattr(value, "__dataframe__"):
            from pyarrow.interchange import from_dataframe

            return from_dataframe(value)
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{name}: {first_line(error)}") from None
    hint = "; collect it into a DataFrame first" if hasattr(value, "collect") else ""
    raise DataError(f"{name}: a table is {TAKEN}; got {type(value).__name__}{hint}")


def _columns(columns: Sequence[tuple[str, Any]], source: str) -> pa.Table:
    check_names([name for name, _ in columns], source)
    cells = {name: _column(values, source, name) for name, values in columns}
    if len({len(column) for column in cells.values()}) > 1:
        lengths = ", ".join(f"{name!r} {len(column):,}" for name, column in cells.items())
        raise DataError(f"{source}: columns of different lengths: {lengths}")
    return pa.table(cells)


def _array_cells(value: Any, source: str, names: Sequence[str] | None) -> pa.Table:
    try:
        array = value if isinstance(value, np.ma.MaskedArray) else np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor that is not in the memory of this machine, say
        raise DataError(f"{source}: {first_line(error)}") from None
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.dtype.names:
        raise DataError(f"{source}: an array has rows and columns, (n, d); got {array.dtype} of shape {array.shape}")
    names = names or [f"x{number}" for number in range(1, array.shape[1] + 1)]
    if len(names) != array.shape[1]:
        raise DataError(f"{source}: has {array.shape[1]} columns, and not {len(names)}: {', '.join(names)}")
    return _columns([(name, array[:, at]) for at, name in enumerate(names)], source)


def _column(cells: Any, source: str, name: str) -> pa.Array | pa.ChunkedArray:
    """One column's cells; a single value is a column of one row.

    Raises:
        DataError: there is no type for them.
    """
    if isinstance(cells, (pa.Array, pa.ChunkedArray)):
        return cells
    if _is_single(cells):
        cells = [cells]
    if getattr(cells, "ndim", 1) != 1:
        raise DataError(f"{source}: column {name!r} is an array of {cells.ndim} dimensions; a column has one")
    try:
        if isinstance(cells, np.ma.MaskedArray):
            return pa.array(np.ma.getdata(cells), mask=np.ma.getmaskarray(cells))
        return pa.array(cells, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return _mixed(cells, source, name)


def _mixed(cells: Any, source: str, name: str) -> pa.Array:
    """Numbers and texts beside each other, as text: what they mean is told as of a file that has them.

    Raises:
        DataError: there is something else among them.
    """
    found: list[str | None] = []
    for row, cell in enumerate(cells, 1):
        if isinstance(cell, (str, numbers.Real, Decimal)):
            found.append(None if cell != cell else str(cell))
        elif cell is None or type(cell).__name__ in ("NAType", "NaTType"):
            found.append(None)
        else:
            raise DataError(f"{source}: row {row}, column {name!r}: holds {type(cell).__name__}")
    return texts(found)


def _array(cells: pa.Table) -> npt.NDArray[Any]:
    """An array (n, d)."""
    columns = [_values(column) for column in cells.columns]
    if any(column.dtype == object for column in columns):
        columns = [column.astype(object) for column in columns]
    return np.column_stack(columns) if columns else np.empty((cells.num_rows, 0))


def _values(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or (pa.types.is_boolean(kind) and not column.null_count):
        return np.asarray(column.to_numpy())
    values = np.empty(len(column), dtype=object)
    values[:] = column.to_pylist()
    return values
