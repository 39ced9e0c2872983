"""Sampling on conditions that the model was not fitted for, by rejection: draw rows, keep those that fit.

The rows kept are exact draws from the model's conditional distribution, and those of its own stream, in order.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flowcli.errors import DataError, FlowcliError, UsageError
from flowcli.expression import Expression
from flowcli.preprocess.encoder import TableEncoder
from flowcli.preprocess.numbers import column_numbers
from flowcli.tables import compute as pc
from flowcli.tables.arrays import flags_of, integers, scalar, texts
from flowcli.tables.cells import as_numbers, as_text, looks_like_codes
from flowcli.tables.columns import Column, describe_missing
from flowcli.tables.dates import unit, written_dates
from flowcli.tables.table import Origin, Table

if TYPE_CHECKING:
    import pandas as pd

    from flowcli.config.schema import FlowConfig
    from flowcli.model import Model

# No verdict on how rare a condition is before so many rows; no search beyond so many (minutes).
LEAST_DRAWN = 200_000
MOST_DRAWN = 20_000_000
# Where none of so many rows fits, none will.
MOST_IN_VAIN = 1_000_000
MOST_LISTED = 10
# How far, in steps, a number may be from a grid that it is on.
GRID_TOLERANCE = 1e-6


def settable(flow: FlowConfig, columns: Sequence[Column], names: Iterable[str]) -> list[str]:
    """Those of the columns to be given that a product of factors can be set to, and all others be drawn given them.

    They make up whole factors whose parents are among them too: ancestral sampling that starts behind them is exact.
    """
    from flowcli.config.schema import check_factors

    wanted, found = set(names), set[str]()
    modelled = {c.name for c in columns if c.kind not in ("constant", "identifier") and not c.context}
    for number in check_factors(flow.factors or []):
        factor = (flow.factors or [])[number]
        own, parents = modelled.intersection(factor.columns), modelled.intersection(factor.given)
        if own <= wanted and parents <= found:
            found |= own
    return [name for name in wanted if name in found]


def given_mistakes(
    columns: Sequence[Column], given: Mapping[str, str], set_to: Sequence[str] = ()
) -> list[FlowcliError]:
    """What is wrong with values for columns, context or not, that can be known before anything is drawn.

    ``UsageError`` for an unknown column and for a continuous one that rows cannot be ``set_to``, ``DataError`` for a
    value that never occurs.
    """
    known = {column.name: column for column in _sampled(columns)}
    unknown = [name for name in given if name not in known]
    mistakes: list[FlowcliError] = []
    if unknown:
        mistakes.append(UsageError(f"--given: {describe_missing(unknown, list(known), 'the model')}"))
    for name, value in given.items():
        if name in known:
            error = _mistake(known[name], value)
            if name in set_to and isinstance(error, UsageError):
                continue
            mistakes.extend([] if error is None else [type(error)(f"--given {name}={value}: {error}")])
    return mistakes


class Condition:
    """Which rows are wanted: cells that equal given values, and an expression that is true.

    Numbers and dates are compared as such, at the column's decimals; everything else as trimmed text. A value that
    stands for a missing cell asks for one.

    Args:
        given: values of columns that are not context, without :func:`given_mistakes`.

    Raises:
        UsageError: ``where`` names unknown columns or compares what cannot be compared.
    """

    def __init__(self, columns: Sequence[Column], given: Mapping[str, str], where: Expression | None = None) -> None:
        columns = _sampled(columns)
        self.given = [(column, given[column.name]) for column in columns if column.name in given]
        self._where = where
        named = where.resolve([column.name for column in columns]) if where else []
        self._named = [column for column in columns if column.name in named]
        if where:
            nothing = pa.chunked_array([], pa.string())
            where.holds({column.name: _series(column, nothing) for column in self._named})

    def __bool__(self) -> bool:
        """Whether it asks for anything that a row could fail; a constant's own value is nothing."""
        return self._where is not None or any(column.kind != "constant" for column, _ in self.given)

    def holds(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """Which rows are wanted, ``(n,)``."""
        kept = np.ones(rows.num_rows, dtype=np.bool_)
        for column, value in self.given:
            kept &= _equal(column, rows.column(column.name), value)
        if self._where is not None:
            kept &= self._where.holds({c.name: _series(c, rows.column(c.name)) for c in self._named})
        return kept

    def ways_out(self) -> str:
        """What to do when it is too rare."""
        ways = ["widen --where"] if self._where is not None else []
        numbers = [column.name for column, _ in self.given if _is_number(column)]
        ways += [f"ask for a range instead, like {_range(numbers[0])}"] if numbers else []
        names = [column.name for column, _ in self.given if column.kind != "constant"]
        return ", ".join([*ways, f"or fit with --context {quote(','.join(names) or 'COLUMN')}"]).removeprefix("or ")


class Rejection:
    """Keeps the rows that meet a condition. ``kept`` and ``drawn`` count them over all of its streams."""

    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self.kept = 0
        self.drawn = 0

    def rows(self, chunks: Iterable[pa.Table], n: int) -> Iterator[pa.Table]:
        """The first ``n`` rows of a stream that fit, in pieces; no more chunks are taken than that needs.

        Raises:
            DataError: the stream ends, none of ``MOST_IN_VAIN`` rows fits, or ``n`` would take over ``MOST_DRAWN``.
        """
        kept = drawn = 0
        for chunk in chunks if n else ():
            fitting = np.flatnonzero(self.condition.holds(chunk))[: n - kept]
            kept += len(fitting)
            # Rows after the last one needed do not count, so that chunks leave no trace in the rate.
            seen = int(fitting[-1]) + 1 if kept == n else chunk.num_rows
            drawn += seen
            self.kept += len(fitting)
            self.drawn += seen
            if len(fitting):
                yield chunk.take(integers(fitting))
            if kept == n:
                return
            in_vain = not kept and drawn >= MOST_IN_VAIN
            if in_vain or (drawn >= LEAST_DRAWN and n * drawn > MOST_DRAWN * _most(kept)):
                break
        if n:
            raise DataError(self._too_rare(kept, drawn, n))

    def draw(
        self, model: Model, n: int, given: Table | None, seed: int, set_to: Mapping[str, str] | None = None
    ) -> Iterator[pa.Table]:
        """``n`` rows of the model that fit, or ``n`` for each row of ``given``, after an empty piece.

        Columns that are :func:`settable` may be ``set_to`` values.

        The first rows of a longer sample with the same seed are those of a shorter one. Each row of ``given`` has a
        stream of its own, so that what one of them needs does not move the others; the first has the plain seed's.

        Raises:
            DataError: a given value does not fit its column, or the condition is too rare.
        """
        yield from model.sample_chunks(0, given, seed)
        for row in range(1 if given is None else len(given)):
            context = None if given is None else given.take(np.array([row]))
            try:
                yield from self.rows(model.sample_chunks(MOST_DRAWN, context, stream_seed(seed, row), set_to, n), n)
            except DataError as error:
                if context is None or len(given or ()) == 1:
                    raise
                raise DataError(f"{context.locate(0)}: {error}") from None

    def summary(self) -> str:
        """How many rows were kept of how many."""
        return f"kept {self.kept:,} of {self.drawn:,} drawn rows{_share(self.kept, self.drawn)}"

    def _too_rare(self, kept: int, drawn: int, n: int) -> str:
        told = f"{kept:,} of {drawn:,} drawn rows fit{_share(kept, drawn)}, and {n:,} are wanted"
        return f"the condition is too rare: {told}; {self.condition.ways_out()}"


def stream_seed(seed: int, row: int) -> int:
    """The seed of a context row's own stream, below 2**63."""
    return seed if row == 0 else int(np.random.SeedSequence([seed, row]).generate_state(1, np.uint64)[0] >> 1)


def _most(kept: int) -> float:
    """How many rows might be expected where ``kept`` came: two standard errors up, and 3 for none (rule of three)."""
    return kept + 2 * float(np.sqrt(kept + 1)) + 1


def _share(kept: int, drawn: int) -> str:
    return f" ({100 * kept / drawn:.3g}%)" if kept else ""


def _sampled(columns: Sequence[Column]) -> list[Column]:
    """The columns that samples have."""
    return [column for column in columns if column.kind != "identifier"]


def _mistake(column: Column, value: str) -> FlowcliError | None:
    if column.context and column.kind != "constant":
        table = Table(pa.table({column.name: texts([value])}), (Origin("--given", 1, 1),))
        reason = TableEncoder([column]).encode_context(table).bad.get(0)
        return DataError(reason.removeprefix(f"column {column.name!r}: ")) if reason else None
    if column.kind == "constant":
        same = _equal(column, _cell(column.value), value).all()
        return None if same else DataError(f"every row has {column.value!r} there")
    if _is_missing(value):
        return None if column.missing else DataError("the value is missing, which it never is in this column")
    if column.kind == "label":
        same = _equal(column, pa.chunked_array([texts(column.categories)]), value).any()
        return None if same else DataError(_unseen(column, value.strip()))
    return _number_mistake(column, value)


def _unseen(column: Column, value: str) -> str:
    """What is told of a label that training had not: those that are close, or all where they are few."""
    close = difflib.get_close_matches(value, column.categories, n=3) or [
        label for label in column.categories if label.casefold() == value.casefold()
    ]
    told = f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""
    if not close and len(column.categories) <= MOST_LISTED:
        told = f"; there are {', '.join(map(repr, column.categories))}"
    return f"{value!r} was not among the training rows{told}"


def _number_mistake(column: Column, value: str) -> FlowcliError | None:
    number = column_numbers(column, _cell(value)).values[0]
    if not np.isfinite(number):
        what = "finite number" if np.isinf(number) else "number"
        if column.kind == "date":
            example = as_text(pa.chunked_array([written_dates(np.array([column.mean]), column.date_format)]))[0]
            what = f"date as the column has them, like {example}"
        return DataError(f"{value!r} is not a {what}")
    if column.kind == "date" or number in column.spikes:
        return None
    for bound, beyond, words in ((column.lower, np.less, "smaller"), (column.upper, np.greater, "larger")):
        if bound is not None and beyond(number, bound):
            return DataError(f"no row is {words} than {bound:g}")
    if column.decimals is None and column.step is None:
        way = f"fit with --context {quote(column.name)}, or ask for a range: {_range(column.name)}"
        return UsageError(f"the column is continuous, so that no row has exactly this number; {way}")
    if column.decimals is not None and not _on_grid(number, 10.0**-column.decimals):
        digits = f"{column.decimals} decimal{'s' if column.decimals > 1 else ''}"
        return DataError(f"the column has {f'numbers with {digits}' if column.decimals else 'whole numbers'}")
    if column.step is not None and not _on_grid(number - column.origin, column.step):
        return DataError(f"the column has numbers {column.step:g} apart, like {column.origin:g}")
    return None


def _on_grid(number: float, step: float) -> bool:
    return abs(number / step - round(number / step)) < GRID_TOLERANCE


def _range(name: str) -> str:
    name = name if name.isidentifier() else f"`{name}`"
    return f"--where '{name} > LOW and {name} < HIGH'"


def _is_number(column: Column) -> bool:
    """Whether cells are compared as numbers: labels and constants too, where they are written as such."""
    if column.kind == "constant":
        cell = _cell(column.value)
        return bool(np.isfinite(as_numbers(cell).values[0])) and not looks_like_codes(cell)
    if column.kind == "label":
        return column.cells in ("integer", "number")
    return column.kind in ("number", "ordinal")


def _is_missing(value: str) -> bool:
    return bool(as_text(_cell(value)).null_count)


def _cell(value: str) -> pa.ChunkedArray:
    return pa.chunked_array([texts([value])])


def _equal(column: Column, cells: pa.ChunkedArray, value: str) -> npt.NDArray[np.bool_]:
    """Which cells equal a value; a missing one equals only a value that says so."""
    if _is_missing(value):
        return flags_of(as_text(cells).is_null())
    if not (_is_number(column) or column.kind == "date"):
        return flags_of(pc.equal(as_text(cells), scalar(value.strip())))
    number, values = (column_numbers(column, part).values for part in (_cell(value), cells))
    if column.decimals is not None:
        return np.asarray(np.round(values, column.decimals) == np.round(number, column.decimals))
    return np.asarray(np.isclose(values, number, rtol=1e-12, atol=GRID_TOLERANCE * (column.step or 0.0)))


def _series(column: Column, cells: pa.ChunkedArray) -> pd.Series[Any]:
    """Cells for an expression: float64, datetime64, or text."""
    import pandas as pd

    if column.kind == "date":
        seconds = column_numbers(column, cells).values * unit(column.date_format)
        there = np.isfinite(seconds)
        whole = np.rint(np.where(there, seconds, 0.0) * 1e6).astype("datetime64[us]")
        return pd.Series(np.where(there, whole, np.datetime64("NaT", "us")))
    return pd.Series(as_numbers(cells).values) if _is_number(column) else as_text(cells).to_pandas()
