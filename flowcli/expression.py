"""Conditions on rows, like ``age > 30 and species == "Adelie"``.

A closed part of the grammar of pandas' ``DataFrame.query``, which itself would call any method of a column
(``name.to_csv("file")``): here an expression is parsed, and what is not listed below is refused, so nothing of the
user's is ever run. No pandas here until rows come.
"""

from __future__ import annotations

import ast
import contextlib
import operator
import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal

from flowcli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

Kind = Literal["number", "text", "date", "truth"]

_WORDS = {"number": "a number", "text": "text", "date": "a date", "truth": "true or false"}
_COMPARISONS: dict[type[ast.cmpop], Any] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_FUNCTIONS = ("abs", "sqrt", "exp", "expm1", "log", "log1p", "log10", "sin", "cos", "tan", "floor", "ceil")

# Strings stay as they are; a name in backticks becomes an identifier; & and | bind like 'and' and 'or', as in pandas.
_TOKEN = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|`((?:[^`]|``)+)`|([&|\n@#])""", re.DOTALL)
_SIGNS = {"&": " and ", "|": " or ", "\n": " "}


class Expression:
    """A condition on the columns of a table.

    Names, backticks around awkward ones; numbers, text in quotes; ``== != < <= > >= in not in``, chained too;
    ``and or not & | ~``; ``+ - * / // % **``; ``abs``, ``sqrt``, ``exp``, ``log`` and their like; ``name.isna()``
    and ``name.notna()``. Dates are compared with ``"2024-01-31"``, however the data writes them. A comparison with a
    missing cell is false, and ``!=`` is true, as in pandas.

    Raises:
        UsageError: the text is no such expression.
    """

    def __init__(self, text: str) -> None:
        # The stand-in for a name in backticks is no part of the text, so it is nobody's name.
        stem = "quoted_"
        while stem in text:
            stem += "_"
        quoted: dict[str, str] = {}

        def translated(match: re.Match[str]) -> str:
            string, name, sign = match.groups()
            if sign in ("@", "#"):
                raise UsageError(f"--where: has '{sign}': only columns, numbers and quoted text can stand in it")
            if name:
                return quoted.setdefault(name.replace("``", "`"), f" {stem}{len(quoted)} ")
            return string or _SIGNS[sign]

        self._tree = _parsed(_TOKEN.sub(translated, text).strip())
        self._names = {identifier.strip(): name for name, identifier in quoted.items()}
        called = [node.func for node in ast.walk(self._tree) if isinstance(node, ast.Call)]
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Name) and node not in called:
                self._names.setdefault(node.id, node.id)

    def resolve(self, present: Sequence[str]) -> list[str]:
        """The columns that it names, in their order in ``present``.

        Raises:
            UsageError: it names others; all of them are told.
        """
        from flowcli.tables.columns import describe_missing

        # Python reads identifiers in normal form: µ comes as μ.
        normal = {unicodedata.normalize("NFKC", name): name for name in present}
        for identifier, name in self._names.items():
            if name not in present:
                self._names[identifier] = normal.get(name, name)
        unknown = [name for name in self._names.values() if name not in present]
        if unknown:
            raise UsageError(f"--where: {describe_missing(unknown, present, 'the model')}")
        return [name for name in present if name in self._names.values()]

    def holds(self, columns: Mapping[str, pd.Series[Any]]) -> npt.NDArray[np.bool_]:
        """Whether it is true, ``(n,)``.

        Args:
            columns: the named columns, ``(n,)`` each: float64 with NaN for missing cells, datetime64, or text.

        Raises:
            UsageError: the kinds do not fit, say text and a number are compared; that depends on the columns' types
                alone, so that no rows are needed to find it.
        """
        import numpy as np

        try:
            with np.errstate(all="ignore"):
                value = self._value(self._tree, columns)
        except RecursionError:
            raise UsageError("--where: is nested too deeply") from None
        kind = _kind(value)
        if kind != "truth":
            raise UsageError(f"--where: '{self._source(self._tree)}' is {_WORDS[kind]}, not a condition on a row")
        if not np.ndim(value):
            raise UsageError("--where: says the same of every row; it has to name a column")
        return np.asarray(value, dtype=np.bool_)

    def _value(self, node: ast.expr, columns: Mapping[str, Any]) -> Any:
        """A Series over the rows, or a scalar: ``np.float64``, ``str`` or ``np.bool_``."""
        import numpy as np

        match node:
            case ast.Constant(value=bool(truth)):
                return np.bool_(truth)
            case ast.Constant(value=int() | float() as number):
                # By its digits: float() of a huge whole number raises. Python's own powers could run for hours.
                return np.float64(str(number))
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id=identifier) if identifier in self._names:
                return columns[self._names[identifier]]
            case ast.BoolOp(op=op, values=parts):
                join = operator.and_ if isinstance(op, ast.And) else operator.or_
                return reduce(join, (self._of_kind("truth", part, columns) for part in parts))
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=inner):
                return ~self._of_kind("truth", inner, columns)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -self._of_kind("number", inner, columns)
            case ast.UnaryOp(op=ast.UAdd(), operand=inner):
                return self._of_kind("number", inner, columns)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                sides = (self._of_kind("number", side, columns) for side in (left, right))
                return _ARITHMETIC[type(op)](*sides)
            case ast.Compare(left=left, ops=ops, comparators=rights):
                pairs = zip([left, *rights], ops, rights, strict=False)
                return reduce(operator.and_, (self._compared(*pair, columns) for pair in pairs))
            case ast.Call(func=ast.Name(id=name), args=[inner], keywords=[]) if name in _FUNCTIONS:
                return getattr(np, name)(self._of_kind("number", inner, columns))
            case ast.Call(
                func=ast.Attribute(value=ast.Name() as inner, attr="isna" | "notna" as name), args=[], keywords=[]
            ):
                return getattr(self._value(inner, columns), name)()
        raise UsageError(
            f"--where: '{self._source(node)}' cannot stand in it; it is made of columns, numbers, quoted text, "
            "comparisons, and/or/not, arithmetic, functions like abs and log, NAME.isna() and NAME.notna()"
        )

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr, columns: Mapping[str, Any]) -> Any:
        import numpy as np

        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, ast.List | ast.Tuple | ast.Set) or not right.elts:
                raise UsageError(f"--where: 'in' takes a list, like [1, 2]; got '{self._source(right)}'")
            found = reduce(operator.or_, (self._compared(left, ast.Eq(), one, columns) for one in right.elts))
            return found if isinstance(op, ast.In) else ~found
        if type(op) not in _COMPARISONS:
            raise UsageError("--where: 'is' is not for cells; use ==, or NAME.isna()")
        values = [self._value(side, columns) for side in (left, right)]
        kinds = [_kind(value) for value in values]
        if "date" in kinds:
            values = [_date(value) if isinstance(value, str) else value for value in values]
            kinds = [_kind(value) for value in values]
        if kinds[0] != kinds[1]:
            one, other = (
                f"{self._source(side)} ({_WORDS[kind]})" for side, kind in zip((left, right), kinds, strict=True)
            )
            raise UsageError(f"--where: compares {one} with {other}; text and labels stand in quotes, numbers do not")
        result = _COMPARISONS[type(op)](*values)
        return np.bool_(result) if isinstance(result, bool) else result

    def _of_kind(self, wanted: Kind, node: ast.expr, columns: Mapping[str, Any]) -> Any:
        value = self._value(node, columns)
        kind = _kind(value)
        if kind != wanted:
            raise UsageError(f"--where: '{self._source(node)}' is {_WORDS[kind]} where {_WORDS[wanted]} has to stand")
        return value

    def _source(self, node: ast.expr) -> str:
        """A part of the expression as the user would write it."""
        text = ast.unparse(node)
        for identifier, name in self._names.items():
            if identifier != name:
                text = text.replace(identifier, f"`{name}`")
        return text


def _parsed(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd backslashes and the like
            return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        reason = "'equal' is written ==" if re.search(r"[^=!<>]=[^=]", text) else error.msg
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error) or "nested too deeply"
    raise UsageError(
        f'--where: {reason}; write it like: age > 30 and species == "Adelie" (awkward names in `backticks`)'
    )


def _kind(value: Any) -> Kind:
    if isinstance(value, str):
        return "text"
    kinds: dict[str, Kind] = {"b": "truth", "f": "number", "M": "date"}
    return kinds.get(value.dtype.kind, "text")


def _date(text: str) -> Any:
    import numpy as np

    date: Any = np.datetime64("NaT")
    # NumPy would also read "now" and, with a warning, time zones.
    if re.match(r"\d{4}", text):
        with contextlib.suppress(ValueError):
            date = np.datetime64(text.strip().removesuffix("Z"), "us")
    if np.isnat(date):
        raise UsageError(f"--where: compares {text!r} with a date; write it as 2024-01-31, or 2024-01-31 12:30:00")
    return date
