"""Tables as people have them, good, odd and broken: each works, or is refused in a few words that say where."""

from __future__ import annotations

import csv
import datetime as dt
import decimal
import gzip
import io
import json
import math
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from running import run_here

from flowcli.model_file import read_header

N = 60
GENERATOR = random.Random(0)
X = [f"{GENERATOR.gauss(5, 2):.4f}" for _ in range(N)]
Y = [f"{GENERATOR.gauss(-3, 1):.4f}" for _ in range(N)]
DAYS = [dt.date(2020, 1, 1) + dt.timedelta(GENERATOR.randrange(900)) for _ in range(N)]
TIMES = [dt.datetime.combine(day, dt.time(GENERATOR.randrange(24), GENERATOR.randrange(60), 7)) for day in DAYS]
ISO = [day.isoformat() for day in DAYS]


def text_of(rows: Iterable[Iterable[object]], separator: str = ",", end: str = "\n") -> str:
    """Cells as they are, without quotes."""
    return "".join(separator.join(map(str, row)) + end for row in rows)


def columns(*, separator: str = ",", **cells: Sequence[object]) -> str:
    return text_of([cells, *zip(*cells.values(), strict=True)], separator)


def column(cell: Callable[[int], object]) -> str:
    """A table of the column ``x``, made from the row's index, and a good one."""
    return columns(x=[cell(i) for i in range(N)], y=Y)


def with_cell(cell: str) -> str:
    """A good table but for this cell of ``x`` in row 8."""
    return column(lambda i: cell if i == 7 else X[i])


def numbers_and(cells: Sequence[object]) -> str:
    return columns(x=cells, y=Y[: len(cells)])


def jsonl(rows: Iterable[Any]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def parquet(**cells: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(cells), file)
    return file.getvalue()


def parquet_column(cells: Any) -> bytes:
    return parquet(x=cells, y=[float(y) for y in Y])


GOOD = columns(x=X, y=Y)
LINES = GOOD.splitlines()
OBJECTS = [{"x": float(x), "y": float(y)} for x, y in zip(X, Y, strict=True)]
NUMBER = r"-?[0-9]+(\.[0-9]{1,4})?"


def lines_with(line: str, at: int = 10) -> str:
    """The good table with a line put in as row ``at``."""
    return "\n".join([*LINES[:at], line, *LINES[at:]]) + "\n"


def renamed(names: str) -> str:
    return GOOD.replace("x,y", names, 1)


@dataclass(frozen=True)
class Works:
    """The fit ends well, and every row has a score; ``natures`` are the columns', ``None`` for one left out.

    ``told`` is on stderr; ``sample`` is a pattern of each column's samples.
    """

    natures: dict[str, str | None] = field(default_factory=dict)
    told: Sequence[str] = ()
    sample: dict[str, str] = field(default_factory=dict)
    rows: int = N


@dataclass(frozen=True)
class Fails:
    """The message has these words."""

    words: Sequence[str]
    status: int = 1


def fails(*words: str, status: int = 1) -> Fails:
    return Fails(words, status)


CONTINUOUS = {"x": "continuous", "y": "continuous"}
LEFT_OUT: dict[str, str | None] = {"x": "identifier", "y": "continuous"}
PLAIN = Works(CONTINUOUS, sample={"x": NUMBER, "y": NUMBER})


def label(*words: str, nature: str = "label") -> Works:
    return Works({"x": nature}, sample={"x": "|".join(map(re.escape, words))})


def left_out(*told: str) -> Works:
    return Works(LEFT_OUT, ["'x' is left out", *told])


Case = tuple[str, str | bytes, Works | Fails, list[str], str]
FITS: list[Case] = []


def case(name: str, content: str | bytes, expected: Works | Fails, *args: str, file: str = "t.csv") -> None:
    FITS.append((name, content, expected, list(args), file))


# How files are written

case("a byte order mark", "\ufeff" + GOOD, PLAIN)
case("lines that end in CR LF", GOOD.replace("\n", "\r\n"), PLAIN)
case("lines that end in CR", GOOD.replace("\n", "\r"), PLAIN)
case("no newline at the end", GOOD.rstrip("\n"), PLAIN)
case("tabs in a .csv", GOOD.replace(",", "\t"), PLAIN)
case("semicolons", GOOD.replace(",", ";"), PLAIN)
case("bars", GOOD.replace(",", "|"), PLAIN)
case("spaces between cells", GOOD.replace(",", " "), fails("t.csv", "'x y'", "one column", "separated by"))
case("quotes around every cell", re.sub(r"([^,\n]+)", r'"\1"', GOOD), PLAIN)
case("single quotes around every cell", re.sub(r"([^,\n]+)", r"'\1'", GOOD), fails("t.csv", "without \"''\""))
case("spaces around cells", GOOD.replace(",", " ,  ").replace("\n", " \n"), Works({"x ": "continuous"}))
case("no-break spaces", column(lambda i: f"{X[i]}\u00a0"), PLAIN)
case("blank lines in the middle", lines_with("\n"), PLAIN)
case("blank lines at the end", GOOD + "\n\n\n", PLAIN)
case("a line of spaces", lines_with("   "), fails("t.csv: row 10: has 1 cells, the header has 2"))
case("a line of delimiters", lines_with(","), Works(CONTINUOUS, ["missing cells", "'x' 1"], rows=N + 1))
case("a short row", lines_with("1.0"), fails("t.csv: row 10: has 1 cells, the header has 2"))
case("a long row", lines_with("1,2,3"), fails("t.csv: row 10: has 3 cells, the header has 2"))
case("a delimiter behind every row", GOOD.replace("\n", ",\n"), fails("t.csv: column 3 has no name"))
case("a delimiter behind rows, not the header", GOOD.replace("\n", ",\n").replace("y,", "y", 1), fails("row 1: has 3"))
case("a title above the header", "My table\n" + GOOD, fails("t.csv: row 1: has 2 cells, the header has 1"))
case("a comment above the header", "# exported today\n" + GOOD, fails("t.csv: row 1: has 2 cells"))
case("a second header", lines_with(LINES[0]), fails("'x' (not a number: 'x' in row 10)", "'y'"))
case("a line of totals", GOOD + "Total,123\n", fails("'x' (not a number: 'Total' in row 61)"))
case("a newline in a cell", column(lambda i: ['"a\nb"', "c"][i % 2]), Works({"x": "label"}))
case("a quote in a cell", column(lambda i: ['5" pipe', "b"][i % 2]), label('5" pipe', "b"))
case("a quote that is not closed", GOOD.replace(X[6], f'"{X[6]}', 1), fails("t.csv: row 7"))
case("the mark of the end of a DOS file", GOOD + "\x1a", fails("t.csv: row 61"))

# Headers

case("no header", "\n".join(LINES[1:]), Works(told=["is the header line missing?", repr(X[0])], rows=N - 1))
case("no header, with labels", "1.5,a\n" + "2.5,b\n3.5,a\n" * 30, Works(told=["header line missing", "'1.5'"], rows=60))
case("years as names", renamed("country code,2020"), Works({"2020": "continuous"}))
case("a header alone", "x,y\n", fails("t.csv: has no rows"))
case("a name twice", renamed("x,x"), fails("t.csv", "twice: 'x'"))
case("names that differ in case", renamed("x,X"), Works({"x": "continuous", "X": "continuous"}))
case("a blank name", renamed("x, "), fails("t.csv: column 2 has no name"))
case(
    "the index that pandas writes",
    "".join(f"{i - 1 if i else ''},{line}\n" for i, line in enumerate(LINES)),
    Works({"Unnamed: 0": "identifier", **CONTINUOUS}, ["'Unnamed: 0' is left out"]),
)
case(
    "the index that R writes",
    '"","x"\n' + "".join(f'"{i}",{x}\n' for i, x in enumerate(X, 1)),
    Works({"x": "continuous"}),
)
case("names in other alphabets", renamed("größe,身長"), Works({"größe": "continuous", "身長": "continuous"}))
case("a picture as a name", renamed("😀,y"), Works({"😀": "continuous"}))
case("a very long name", renamed("n" * 5000 + ",y"), Works({"n" * 5000: "continuous"}))
case("a name with commas and quotes", renamed('"a, ""b""",y'), Works({'a, "b"': "continuous"}))
case("a name with a carriage return", renamed('"a\rb",y'), Works({"a\rb": "continuous"}))
case("a name with a newline", renamed('"a\nb",y'), Works({"a\nb": "continuous"}))
case("names like options", renamed("--n,-m"), Works({"--n": "continuous", "-m": "continuous"}))
case("names like the output's", renamed("log_prob,z1"), Works({"log_prob": "continuous", "z1": "continuous"}))
case("names like missing cells", renamed("nan,NA"), Works({"nan": "continuous", "NA": "continuous"}))

# Numbers

case("decimal commas", column(lambda i: f'"{X[i]}"'.replace(".", ",")), left_out("a decimal point, not a comma"))
case(
    "decimal commas and semicolons",
    GOOD.replace(",", ";").replace(".", ","),
    fails("t.csv: no column is left to model", "'x' (text", "a decimal point, not a comma"),
)
case("commas between thousands", column(lambda i: f'"{i * 1357:,}"'), left_out("without commas between the thousands"))
case("dollars", column(lambda i: f"${X[i]}"), left_out("write its numbers without '$'"))
case("euros and cents", column(lambda i: f'"{X[i]} €"'), left_out("write its numbers without '€'"))
case("per cent", column(lambda i: f"{X[i]}%"), left_out("write its numbers without '%'"))
case("few values per cent", column(lambda i: f"{i % 5}0%"), Works({"x": "label"}, ["without '%'"], {"x": "[0-4]0%"}))
case("units", column(lambda i: f"{X[i]} kg"), left_out("write its numbers without 'kg'"))
case("underscores", column(lambda i: f"{i * 1001:_}" if i else "1_0"), left_out("without underscores"))
case("hexadecimal numbers", column(lambda i: hex(i * 7)), left_out())
case("leading plus", column(lambda i: f"+{abs(float(X[i]))}"), PLAIN)
case("no digit before the point", with_cell(".5"), PLAIN)
case("no digit behind the point", with_cell("5."), PLAIN)
case("an exponent", with_cell("1E-1"), Works(CONTINUOUS))
case("a number that rounds to zero", with_cell("1e-400"), Works(CONTINUOUS))
for word in ("1e400", "inf", "-inf", "Infinity"):
    case(word, with_cell(word), fails("t.csv", "'x' (infinite in row 8)", "--drop"))
for word in ("1e308", "-1e308"):
    case(word, with_cell(word), fails("t.csv: column 'x'", "too large"))
for word in ("0x1A", "1_000", "1.2.3", "1/2", "(5)", "\u22125", "5 kg", "1\x002"):
    case(f"{word!r} among numbers", with_cell(word), fails("t.csv", f"'x' (not a number: {word!r} in row 8)"))
for word in ("None", "-", "?", "#N/A", "missing"):
    case(
        f"{word!r} instead of missing",
        column(lambda i, word=word: word if i % 10 == 0 else X[i]),
        fails("t.csv", f"6 cells are not numbers, the first is {word!r} in row 1", "leave the cell empty"),
    )
case("half of the cells are words", column(lambda i: ["none", X[i]][i % 2]), fails("30 cells are not numbers", "row 1"))
case(
    "every spelling of a missing cell",
    column(lambda i: ["NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", ""][i % 8] if i % 3 == 0 else X[i]),
    Works(CONTINUOUS, ["missing cells, modelled: 'x' 20"], {"x": f"|{NUMBER}"}),
)
case("a column of missing cells", column(lambda i: ["", "NA"][i % 2]), Works({"x": "constant"}, sample={"x": ""}))
case(
    "nothing but missing cells",
    columns(x=["NA"] * N, y=["nan"] * N),
    fails("no column is left", "every cell is missing"),
)
case("one cell that is not missing", column(lambda i: "" if i else "3"), Works(told=["'x' 59"]))
case("leading zeros", column(lambda i: f"{i % 8:03d}"), label(*(f"{i:03d}" for i in range(8))))
case(
    "zero below zero",
    column(lambda i: ["-0.0", "0", "1.5", "2.5"][i % 4]),
    Works({"x": "steps of 0.5, positive"}, sample={"x": r"[0-9]+(\.5)?"}),
)
case("whole numbers beyond 2^53", column(lambda i: 2**53 + i * i * 3 + 1), Works({"x": "integer"}))
case(
    "whole numbers that float64 cannot tell apart",
    column(lambda i: 2**60 + i * 7 % 13),
    fails("'x' (numbers beyond 2^53", "told apart"),
)
case("milliseconds since 1970", column(lambda i: 1_700_000_000_000 + i * i * 977), Works(sample={"x": "[0-9]{13}"}))
case("from 1e-100 to 1e100", column(lambda i: f"{1 + i % 7}e{(i * 37) % 200 - 100}"), Works())
case(
    "heavy tails",
    column(lambda i: f"{math.tan(3 * (i + 0.5) / N - 1.5):.5f}"),
    Works({"x": "continuous, heavy-tailed"}),
)
case(
    "many zeros",
    columns(amount=["0" if i % 2 else repr(abs(math.sin(i)) + 0.1) for i in range(200)]),
    Works({"amount": "continuous, positive, zero-inflated"}, rows=200),
)
case(
    "shares",
    columns(share=[repr((i * 0.61803398875) % 1) for i in range(1, 201)]),
    Works({"share": "continuous, from 0 to 1"}, sample={"share": r"0\.[0-9]+(e-[0-9]+)?"}, rows=200),
)
case(
    "shares that float32 cannot tell from 1",
    columns(share=[repr(1 / (1 + math.exp((i * 0.61803398875 % 1 - 0.5) * 60))) for i in range(200)]),
    Works({"share": "continuous, from 0 to 1"}, rows=200),
)
case(
    "counts with spikes",
    columns(visits=[0 if i % 3 == 0 else i * 7 % 41 for i in range(300)]),
    Works({"visits": "integer, positive, zero-inflated"}, ["spike"], {"visits": "[0-9]+"}, rows=300),
)
case(
    "prices in steps",
    column(lambda i: f"{(i * 7 % 50) * 0.05 + 10:.2f}"),
    Works({"x": "steps of 0.05"}, sample={"x": r"-?[0-9]+(\.[0-9]{1,2})?"}),
)
case("row numbers", columns(id=range(1, N + 1), y=Y), Works({"id": "identifier"}, ["'id' is left out"]))
case(
    "row numbers alone",
    columns(id=range(1, N + 1)),
    fails("t.csv: no column is left", "'id' (whole numbers, different"),
)

# Booleans and labels

for no, yes in (("false", "true"), ("False", "True"), ("NO", "YES"), ("n", "y"), ("F", "T"), ("0", "1")):
    case(f"{no} and {yes}", column(lambda i, no=no, yes=yes: [no, yes][i % 3 == 0]), label(no, yes, nature="boolean"))
case("on and off", column(lambda i: ["off", "on"][i % 2]), label("off", "on"))
case(
    "booleans with holes", column(lambda i: ["true", "false", ""][i % 3]), label("true", "false", "", nature="boolean")
)
case("labels that look like formulas", column(lambda i: ["=1+1", "@b"][i % 2]), label("=1+1", "@b"))
case("None as a label", column(lambda i: ["None", "some"][i % 2]), label("None", "some"))
case("a label in one row", column(lambda i: f"k{i}" if i < 4 else "a"), Works({"x": "label"}))
case("a label for each row", column(lambda i: f"k{i}"), left_out("different in every row"))
case("a label for each two rows", column(lambda i: f"k{i // 2}"), left_out("30 values in 60 rows"))
case("free text", column(lambda i: f"see note {i} there"), left_out())
case("a NUL in labels", column(lambda i: ["a\0", "b"][i % 2]), label("a\0", "b"))

# Dates

for form in ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y-%m-%d %H:%M"):
    case(
        f"dates as {form}",
        column(lambda i, form=form: TIMES[i].strftime(form)),
        Works({"x": "date"}, sample={"x": re.sub(r"%[a-zA-Z]", "[0-9]{2,4}", re.escape(form).replace("%\\", "%"))}),
    )
for form in (
    "%d %b %Y",
    "%m/%d/%y",
    "%-m/%-d/%Y",
    "%Y-%m-%dT%H:%M:%S+02:00",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m",
):
    case(
        f"dates as {form}",
        column(lambda i, form=form: TIMES[i].strftime(form)),
        left_out("write its dates like 2024-01-31"),
    )
case(
    "a day that is none",
    column(lambda i: "2020-02-30" if i == 7 else ISO[i]),
    fails("'x' (not a date as %Y-%m-%d: '2020-02-30' in row 8)"),
)
case(
    "a day that is none, asked for",
    column(lambda i: "2020-02-30" if i == 7 else ISO[i]),
    fails("'2020-02-30' in row 8"),
    "--kind",
    "x=date",
)
case("a date in another way", column(lambda i: "03.08.2021" if i == 4 else ISO[i]), fails("'03.08.2021' in row 5"))
case("dates in two ways", column(lambda i: [ISO[i], f"{DAYS[i]:%d.%m.%Y}"][i % 2]), left_out("write its dates like"))
case(
    "a word among dates",
    column(lambda i: "soon" if i == 0 else ISO[i]),
    fails("'x' (not a date as %Y-%m-%d: 'soon' in row 1)"),
)
case(
    "the date 0000-00-00",
    column(lambda i: ISO[i] if i % 20 else "0000-00-00"),
    fails("3 cells are not dates", "'0000-00-00' in row 1"),
)
case("dates with holes", column(lambda i: ISO[i] if i % 5 else ""), Works({"x": "date"}, ["'x' 12"]))
case("the last date there is", column(lambda i: ISO[i] if i % 20 else "9999-12-31"), Works({"x": "date"}))
case("one date", column(lambda i: "2020-01-01"), Works({"x": "constant"}, sample={"x": "2020-01-01"}))
case("numbers that are called dates", GOOD, fails("'x'", "no format of dates"), "--kind", "x=date")

# Small, wide and constant tables

case("one value", column(lambda i: "3.50"), Works({"x": "constant"}, ["always 3.50"], {"x": r"3\.50"}))
case("one value in every column", columns(x=[3] * N, y=["a"] * N), fails("no column is left to model: 'x' (one value"))
case("one value but once", column(lambda i: 4 if i == 0 else 3), Works(rows=N))
case("one row", numbers_and(X[:1]), fails("t.csv: no column is left"))
case("two rows", numbers_and(X[:2]), fails("t.csv: 2 rows are too few", "data.test=0"))
case("two rows, all to train on", numbers_and(X[:2]), Works(rows=2), "-s", "data.validation=0", "-s", "data.test=0")
case("four rows", numbers_and(X[:4]), Works(rows=4))
case("one column", columns(x=X), Works({"x": "continuous"}))
case("one column of labels", columns(x=["a", "b", "c"] * 20), label("a", "b", "c"))
case("one column with holes", columns(x=[x if i % 5 else '""' for i, x in enumerate(X)]), Works(told=["'x' 12"]))
case("the same column twice", columns(x=X, y=X), PLAIN)
case("a column that is another, doubled", columns(x=X, y=[2 * float(x) for x in X]), Works())
case(
    "300 columns",
    columns(**{f"c{k}": [(i * (k + 7)) % 59 for i in range(N)] for k in range(300)}),
    Works({"c299": "integer"}),
)
case("empty", "", fails("t.csv: empty"))
case("nothing but newlines", "\n \n\n", fails("t.csv: empty"))

# Files that are no tables, or in other encodings

JUNK = random.Random(1).randbytes(3000)
case("binary junk", JUNK, fails("t.csv: is no table"))
case("a PNG", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + JUNK, fails("t.png: is no table"), file="t.png")
case("an Excel workbook", b"PK\x03\x04\x14\0\6\0\x08\0" + JUNK, fails("t.xlsx", "Excel", "CSV"), file="t.xlsx")
case("a database", b"SQLite format 3\0" + bytes(80), fails("t.db: is no table"), file="t.db")
case("a page of HTML", "<!DOCTYPE html>\n<html><body>404, not found</body></html>\n", fails("t.csv", "HTML"))
case("gzip", gzip.compress(GOOD.encode()), PLAIN, file="t.csv.gz")
case("gzip by another name", gzip.compress(GOOD.encode()), PLAIN)
case("no gzip by such a name", GOOD, PLAIN, file="t.csv.gz")
case("gzip cut short", gzip.compress(GOOD.encode())[:-99], fails("t.csv.gz: cannot be read"), file="t.csv.gz")
case("gzip of nothing", gzip.compress(b""), fails("t.csv.gz: empty"), file="t.csv.gz")
case("Latin-1", renamed("größe,y").encode("latin-1"), fails("t.csv: line 1", "0xF6", "--encoding latin-1"))
case("UTF-16", GOOD.encode("utf-16"), fails("t.csv", "--encoding utf-16"))
case("UTF-16 without a mark", GOOD.encode("utf-16-le"), fails("t.csv: is no table", "--encoding utf-16-le"))
case("UTF-16, said so", GOOD.encode("utf-16"), Works(CONTINUOUS), "--encoding", "utf-16")
case("UTF-8 that is called UTF-16", GOOD, fails("t.csv: not utf-16 text"), "--encoding", "utf-16")
case("an encoding that is none", GOOD, fails("--encoding", "'nope'", status=2), "--encoding", "nope")
case("NULs behind the table", GOOD + "\0" * 512, fails("t.csv: row 61"))

# JSON

case("JSON lines", jsonl(OBJECTS), PLAIN, file="t.jsonl")
case("JSON lines with blank ones", jsonl(OBJECTS).replace("\n", "\n\n"), PLAIN)
case("a JSON array", json.dumps(OBJECTS), fails("t.json: is a JSON array", "JSON lines"), file="t.json")
case("a JSON array on many lines", json.dumps(OBJECTS, indent=1), fails("is a JSON array"))
case("a JSON array of numbers", json.dumps([1.5, 2.5]), fails("is a JSON array"))
case("lines of JSON arrays", jsonl([1.5, y] for y in Y), fails("is a JSON array", "one object on each line"))
case("one JSON object on many lines", json.dumps({"data": OBJECTS}, indent=1), fails("t.csv: row 1", "one JSON object"))
case("a JSON object of lists", jsonl([{"x": [1, 2], "y": [3, 4]}]), fails("'x' (holds list"))
case("nested JSON", jsonl({**row, "n": {"a": 1}} for row in OBJECTS), fails("t.csv", "'n' (holds struct", "--drop"))
case("nested JSON, dropped", jsonl({**row, "n": {"a": 1}} for row in OBJECTS), PLAIN, "--drop", "n")
case(
    "JSON with missing keys",
    jsonl(row if i % 5 else {"x": row["x"]} for i, row in enumerate(OBJECTS)),
    Works(CONTINUOUS, ["'y' 12"], {"x": NUMBER, "y": f"|{NUMBER}"}),
)
case(
    "JSON with null",
    jsonl({**row, "x": row["x"] if i % 5 else None} for i, row in enumerate(OBJECTS)),
    Works(CONTINUOUS, ["'x' 12"], {"x": f"|{NUMBER}"}),
)
case(
    "JSON of mixed types",
    jsonl({**row, "x": row["x"] if i != 7 else "a"} for i, row in enumerate(OBJECTS)),
    fails("t.csv: row 8: 'x'", "different types"),
)
case("numbers as JSON text", jsonl({"x": x, "y": y} for x, y in zip(X, Y, strict=True)), PLAIN)
case(
    "JSON booleans",
    jsonl({**row, "b": i % 2 == 0} for i, row in enumerate(OBJECTS)),
    Works({"b": "boolean"}, sample={"b": "true|false"}),
)
case(
    "JSON with NaN",
    jsonl({**row, "x": row["x"] if i else math.nan} for i, row in enumerate(OBJECTS)),
    Works(told=["'x' 1"]),
)
case(
    "JSON with Infinity",
    jsonl({**row, "x": row["x"] if i else math.inf} for i, row in enumerate(OBJECTS)),
    fails("'x' (infinite in row 1)"),
)
case(
    "JSON integers of 25 digits",
    jsonl({**row, "h": 10**24 + i} for i, row in enumerate(OBJECTS)),
    fails("t.csv: 'h'", "too large"),
)
case("JSON cut short", jsonl(OBJECTS)[:-9], fails("t.csv: row 60: not one JSON object"))
case("a JSON key twice", '{"x": 1, "x": 2}\n', fails("t.csv: row 1", "each key once"))

# Parquet

REALS = [float(x) for x in X]
case("Parquet", parquet_column(REALS), PLAIN, file="t.parquet")
case("Parquet by another name", parquet_column(REALS), PLAIN)
case("Parquet cut short", parquet_column(REALS)[:-50], fails("t.parquet: cannot be read"), file="t.parquet")
case("Parquet without rows", parquet(x=pa.array([], pa.float64())), fails("has no rows"))
case("lists", parquet_column([[1, 2]] * N), fails("'x' (holds list"))
case("structures", parquet_column([{"a": 1}] * N), fails("'x' (holds struct"))
case("bytes", parquet_column([b"a", b"b"] * 30), fails("'x' (holds binary)"))
case("times of day", parquet_column([time.time() for time in TIMES]), fails("'x' (holds time"))
case("durations", parquet_column([dt.timedelta(i) for i in range(N)]), fails("'x' (holds duration"))
case(
    "decimals with nulls",
    parquet_column([None if i % 5 == 0 else decimal.Decimal(x) for i, x in enumerate(X)]),
    Works(CONTINUOUS, ["'x' 12"], {"x": f"|{NUMBER}"}),
)
case(
    "NaN",
    parquet_column([math.nan if i % 5 == 0 else x for i, x in enumerate(REALS)]),
    Works(CONTINUOUS, ["'x' 12"], {"x": f"|{NUMBER}"}),
)
case("an infinite float", parquet_column([math.inf, *REALS[1:]]), fails("'x' (infinite in row 1)"))
case(
    "integers with nulls",
    parquet_column([None if i % 7 == 0 else i % 9 for i in range(N)]),
    Works({"x": "integer"}, sample={"x": "|-?[0-9]+"}),
)
case(
    "integers with NaN, as floats",
    parquet_column([math.nan if i % 7 == 0 else float(i % 9) for i in range(N)]),
    Works({"x": "integer"}, sample={"x": "|-?[0-9]+"}),
)
case(
    "unsigned integers near 2^64",
    parquet_column(pa.array([2**64 - 1 - i for i in range(N)], pa.uint64())),
    fails("'x' (numbers beyond 2^53"),
)
case("categories", parquet_column(pa.array(["a", "b", None] * 20).dictionary_encode()), label("a", "b", ""))
case(
    "a category without rows",
    parquet_column(pa.DictionaryArray.from_arrays(pa.array([0, 1] * 30), pa.array(["a", "b", "c"]))),
    label("a", "b"),
)
case("booleans with nulls", parquet_column([True, False, None] * 20), label("true", "false", "", nature="boolean"))
case("a column of nulls", parquet_column(pa.nulls(N)), Works({"x": "constant"}))
case("days", parquet_column(DAYS), Works({"x": "date"}, sample={"x": r"\d{4}-\d\d-\d\d"}))
case(
    "timestamps of whole seconds",
    parquet_column(TIMES),
    Works({"x": "date"}, sample={"x": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.000000"}),
)
case(
    "timestamps with a zone and nulls",
    parquet_column(pa.array([None, *TIMES[1:]]).cast(pa.timestamp("us", tz="Europe/Paris"))),
    Works({"x": "date"}, ["'x' 1"], {"x": r"|.*\+0[12]00"}),
)

# Wrong options

case("a kind that is none", GOOD, fails("--kind", "'foo'", "'ordinal'", status=2), "--kind", "x=foo")
case("a kind without a column", GOOD, fails("--kind takes COLUMN=KIND", status=2), "--kind", "label")
case("a kind of an unknown column", GOOD, fails("'X' (did you mean 'x'?)", status=2), "--kind", "X=label")
case(
    "fractions that are called integers", GOOD, fails(f"{X[0]!r} in row 1 is not a whole number"), "--kind", "x=integer"
)
case(
    "words that are called numbers",
    column(lambda i: "ab"[i % 2]),
    fails("'a' in row 1 is not a number"),
    "--kind",
    "x=number",
)
case(
    "an ordinal with holes",
    column(lambda i: i % 5 if i % 7 else ""),
    fails("'x' (missing cells"),
    "--kind",
    "x=ordinal",
)
case("numbers that are called labels", column(lambda i: i % 5), label(*"01234"), "--kind", "x=label")
case(
    "a way with missing cells that is none", GOOD, fails("--missing", "'foo'", "'impute'", status=2), "--missing", "foo"
)
HOLES = column(lambda i: X[i] if i % 10 else "")
case("missing cells, refused", HOLES, fails("t.csv", "'x' (6 of 60 cells are missing)"), "--missing", "error")
case("missing cells, filled", HOLES, Works(CONTINUOUS, ["median", "'x' 6"]), "--missing", "impute")
case(
    "a hole in every row, dropped",
    columns(x=[X[i] if i % 2 else "" for i in range(N)], y=[Y[i] if i % 2 == 0 else "" for i in range(N)]),
    fails("t.csv: every row has a missing cell"),
    *("--missing", "drop"),
)
case("an unknown context", GOOD, fails("t.csv has no column 'z'", status=2), "--context", "z")
case("all columns given", GOOD, fails("t.csv: no column is left to model", "'x' (given)"), "--context", "x,y")
case("all columns dropped", GOOD, fails("t.csv: no column is left to model: all are dropped"), "--drop", "x,y")


# The columns are what is odd here, not the model.
SMALL = ["-s", "flow.transforms=[triangular_affine]", "-s", "train.epochs=1"]


def check_refusal(done, expected: Fails) -> None:
    """A few words, on stderr alone, and the status."""
    assert done.status == expected.status, done.err
    assert done.out == ""
    for word in expected.words:
        assert word in done.err
    assert len([line for line in done.err.splitlines() if line]) <= 3
    assert "unexpected" not in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("content", "expected", "args", "file"), [pytest.param(*each[1:], id=each[0]) for each in FITS]
)
def test_fit(cli, tmp_path, content, expected, args, file):
    Path(file).write_bytes(content if isinstance(content, bytes) else content.encode())
    quiet = ["-q"] if isinstance(expected, Fails) else []
    done = cli("fit", file, *SMALL, "-o", "run", *args, *quiet)
    if isinstance(expected, Fails):
        check_refusal(done, expected)
        assert [path.name for path in tmp_path.iterdir()] == [file]
        return
    assert done.status == 0, done.err
    assert done.out == "run\n"
    for words in expected.told:
        assert words in done.err
    found = {column.name: column.nature for column in read_header(Path("run/model.safetensors")).columns}
    assert expected.natures.items() <= found.items(), found

    encoding = args[args.index("--encoding") :][:2] if "--encoding" in args else []
    scored = cli("score", file, "-m", "run", *encoding)
    assert scored.status == 0, scored.err
    scores = [float(line) for line in scored.lines[1:]]
    assert len(scores) == expected.rows
    assert not any(math.isnan(score) for score in scores)

    drawn = cli("sample", "--n", "20", "-m", "run", "--seed", "1")
    assert drawn.status == 0, drawn.err
    names, *rows = csv.reader(io.StringIO(drawn.out, newline=""))
    assert names == [name for name, nature in found.items() if nature != "identifier"]
    assert len(rows) == 20
    for name, pattern in expected.sample.items():
        wrong = [row for row in rows if not re.fullmatch(pattern, row[names.index(name)])]
        assert not wrong


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["nope.csv"], ["nope.csv: no such file"]),
        (["empty"], ["empty: is a folder without tables"]),
        (["t.csv", "nope.csv"], ["nope.csv: no such file"]),
        (["t.csv", "--test", "nope.csv"], ["nope.csv: no such file"]),
        (["-", "-"], ["stdin", "once"]),
        (["t.csv", "-o", "t.csv"], ["t.csv: is a file"]),
        (["t.csv", "--max-time", "soon"], ["--max-time", "like 90s"]),
        (["t.csv", "-s", "train.epoch=1"], ["'train.epoch'", "Did you mean 'epochs'?"]),
    ],
)
def test_fit_of_what_is_not_there(cli, tmp_path, args, words):
    Path("t.csv").write_text(GOOD)
    Path("empty").mkdir()
    check_refusal(cli("fit", *args, "-q"), Fails(words, 2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "t.csv"]


def test_fit_of_files_that_do_not_match(cli, tmp_path):
    Path("one.csv").write_text(GOOD)
    Path("two.csv").write_text(renamed("x,z"))
    check_refusal(cli("fit", "one.csv", "two.csv", "-q"), fails("two.csv", "one.csv", "y, z"))
    assert {path.name for path in tmp_path.iterdir()} == {"one.csv", "two.csv"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["t.csv: empty"]),
        ("x,y\n1\n", ["t.csv: row 1"]),
        ("x,x\n1,2\n", ["twice"]),
        (with_cell("?"), ["'?' in row 8"]),
    ],
    ids=["empty", "ragged", "a name twice", "a word"],
)
def test_init(cli, content, words):
    Path("t.csv").write_text(content)
    check_refusal(cli("init", "t.csv"), Fails(words, 1))


# Models that are there


def mixed_cells() -> dict[str, list[str]]:
    """300 rows of everything that a column can be."""
    random_ = random.Random(2)
    rows = range(300)
    return {
        "height": [f"{random_.gauss(170, 8):.2f}" for _ in rows],
        "share": [f"{random_.uniform(0.001, 0.999):.6f}" for _ in rows],
        "amount": ["0" if random_.random() < 0.4 else f"{random_.lognormvariate(0, 1):.9f}" for _ in rows],
        "visits": [str(random_.choice([0, 5]) if random_.random() < 0.5 else random_.randrange(40)) for _ in rows],
        "colour": [random_.choice(["red", "green", "blue"]) for _ in rows],
        "day": [(dt.date(2020, 1, 1) + dt.timedelta(random_.randrange(900))).isoformat() for _ in rows],
        "note": ["" if random_.random() < 0.3 else f"{random_.gauss(0, 1):.3f}" for _ in rows],
        "unit": ["cm"] * len(rows),
    }


MIXED = mixed_cells()
NAMES = list(MIXED)
ROWS = [dict(zip(NAMES, cells, strict=True)) for cells in zip(*MIXED.values(), strict=True)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder of the runs ``joint`` and ``conditional``, and of ``bounded``, whose bounds are declared."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "t.csv").write_text(columns(**MIXED))
    for name, options in (
        ("joint", []),
        ("conditional", ["--context", "colour,visits"]),
        ("bounded", ["-s", "data.kinds={share: {lower: 0, upper: 1}}"]),
    ):
        done = run_here("fit", folder / "t.csv", *SMALL, "-o", folder / name, "-q", *options)
        assert done.status == 0, done.err
    return folder


def rows_of(rows: list[dict[str, str]], names: Sequence[str] = NAMES) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([names, *([row[name] for name in names] for row in rows)])
    return file.getvalue()


def five(**changes: str) -> str:
    """Five rows, the third with these cells."""
    return rows_of([{**row, **changes} if i == 2 else row for i, row in enumerate(ROWS[:5])])


FIVE = five()
UNSEEN = "1 row of probability zero (-inf): a label that was not in training"
BEYOND = "1 row of density zero (-inf)"
OLD_NAMES = ",".join(NAMES)


@pytest.mark.parametrize(
    ("table", "told", "third"),
    [
        pytest.param(FIVE, "", None, id="plain"),
        pytest.param(rows_of(ROWS[:5], NAMES[::-1]), "", None, id="columns in another order"),
        pytest.param(FIVE.replace("\n", "\r\n"), "", None, id="CR LF"),
        pytest.param(FIVE.replace(",", ";"), "", None, id="semicolons"),
        pytest.param(gzip.compress(FIVE.encode()), "", None, id="gzip"),
        pytest.param(jsonl(ROWS[:5]), "", None, id="JSON lines"),
        pytest.param(columns(more="abcde", **{k: v[:5] for k, v in MIXED.items()}), "'more'", None, id="one more"),
        pytest.param(rows_of(ROWS[:5], NAMES[:-1]), "", None, id="a constant is not there"),
        pytest.param(five(unit="inch"), "", None, id="another constant"),
        pytest.param(five(colour=f" {ROWS[2]['colour']} "), "", None, id="spaces around a label"),
        pytest.param(five(colour="pink"), UNSEEN, -math.inf, id="a label that was not there"),
        pytest.param(five(colour="Red"), UNSEEN, -math.inf, id="a label in another case"),
        pytest.param(five(height="1e300"), BEYOND, -math.inf, id="beyond all measure"),
        pytest.param(five(share="1.5"), BEYOND, -math.inf, id="above the bounds"),
        pytest.param(five(share="-0.1"), BEYOND, -math.inf, id="below the bounds"),
        pytest.param(five(amount="-1"), BEYOND, -math.inf, id="a negative amount"),
        pytest.param(five(share="0"), "", math.nan, id="on the lower bound"),
        pytest.param(five(share="1"), "", math.nan, id="on the upper bound"),
        pytest.param(five(amount="0.000"), "", math.nan, id="a spike in other words"),
        pytest.param(five(visits="5e0"), "", math.nan, id="a whole number with an exponent"),
        pytest.param(five(visits="2.5"), "", math.nan, id="between the places of the grid"),
        pytest.param(five(visits="100000"), "", math.nan, id="far out"),
        pytest.param(five(day="1000-01-01"), "", math.nan, id="long ago"),
        pytest.param(five(note="NA"), "", math.nan, id="missing where it may be"),
    ],
)
def test_score_works(cli, runs, table, told, third):
    """``third`` is what the third row's score is, NaN for any finite number, ``None`` for the same as ever."""
    done = cli("score", "-", "-m", runs / "joint", stdin=table)
    assert done.status == 0, done.err
    assert told in done.err if told else done.err == ""
    scores = [float(line) for line in done.lines[1:]]
    usual = [float(line) for line in cli("score", "-", "-m", runs / "joint", stdin=FIVE).lines[1:]]
    assert len(scores) == 5
    assert scores[:2] + scores[3:] == pytest.approx(usual[:2] + usual[3:])
    if third is None or math.isinf(third):
        assert scores[2] == pytest.approx(usual[2] if third is None else third)
    else:
        assert math.isfinite(scores[2])


PLACE = "standard input: row 3, column"
SCORES = [
    ("a column is not there", rows_of(ROWS[:5], NAMES[1:]), ["no column 'height'", "'share'"]),
    ("a name with a typing error", FIVE.replace("height", "heigth"), ["'height' (did you mean 'heigth'?)"]),
    ("names in capitals", FIVE.replace(OLD_NAMES, OLD_NAMES.upper()), ["'height' (did you mean 'HEIGHT'?)"]),
    ("none of the columns", text_of([[f"a{i}" for i in range(50)], range(50)]), ["'height'", "'a9' and 40 more"]),
    ("no header", "\n".join(FIVE.splitlines()[1:]), ["no column 'height'"]),
    (
        "a key is nowhere",
        jsonl([{k: v for k, v in row.items() if k != "note"} for row in ROWS[:5]]),
        ["no column 'note'"],
    ),
    ("missing where it never is", five(height=""), [f"{PLACE} 'height': the cell is missing"]),
    ("a missing label", five(colour="NA"), [f"{PLACE} 'colour': the cell is missing"]),
    ("a word", five(height="tall"), [f"{PLACE} 'height': 'tall' is not a number"]),
    ("a decimal comma", five(height="170,5"), [f"{PLACE} 'height': '170,5' is not a number"]),
    ("a unit", five(height="170 cm"), [f"{PLACE} 'height': '170 cm' is not a number"]),
    ("None", five(note="None"), [f"{PLACE} 'note': 'None' is not a number"]),
    ("infinite", five(height="1e400"), [f"{PLACE} 'height': the number is infinite"]),
    ("a day that is none", five(day="2020-02-30"), [f"{PLACE} 'day': '2020-02-30' is not a date"]),
    ("a date in another way", five(day="01.02.2020"), [f"{PLACE} 'day': '01.02.2020' is not a date"]),
    ("two bad rows", rows_of([{**row, "height": "x"} for row in ROWS[:2]]), ["row 1, column 'height'", "and 1 more"]),
    ("a ragged row", FIVE + "1,2\n", ["standard input: row 6: has 2 cells, the header has 8"]),
    ("empty", "", ["standard input: empty"]),
    ("gzip cut short", gzip.compress(FIVE.encode())[:-40], ["standard input: cannot be read"]),
    ("Latin-1", five(colour="grün").encode("latin-1"), ["standard input: line 4", "--encoding latin-1"]),
]


@pytest.mark.parametrize("command", ["score", "encode"])
@pytest.mark.parametrize(("table", "words"), [pytest.param(*each[1:], id=each[0]) for each in SCORES])
def test_score_and_encode_refuse(cli, tmp_path, runs, command, table, words):
    done = cli(command, "-", "-m", runs / "joint", "-o", "out.csv", "-q", stdin=table)
    check_refusal(done, Fails(words))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("run", "table", "words"),
    [
        ("joint", five(colour="pink"), ["row 3, column 'colour': 'pink' was not among the training rows"]),
        ("bounded", five(share="1.5"), ["row 3", "bounds"]),
    ],
)
def test_what_has_no_density_has_no_latents(cli, runs, run, table, words):
    check_refusal(cli("encode", "-", "-m", runs / run, stdin=table), Fails(words))


def test_score_of_a_header_alone(cli, runs):
    assert cli("score", "-", "-m", runs / "joint", stdin=OLD_NAMES).out == "log_prob\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: [lines[0].replace("z1", "q1"), lines[1]], ["no column 'z1'; it has 'q1', 'z2'"]),
        (lambda lines: ["a,b", "1,2"], ["no column 'z1'"]),
        (lambda lines: [lines[0], re.sub("^[^,]*", "many", lines[1])], ["row 1, column 'z1': 'many' is not a number"]),
        (lambda lines: [lines[0], re.sub("^[^,]*", "inf", lines[1])], ["row 1, column 'z1': the number is infinite"]),
        (lambda lines: [lines[0], re.sub("^[^,]*", "", lines[1])], ["row 1", "as many latents are missing"]),
        (lambda lines: [lines[0], re.sub("red|green|blue", "pink", lines[1])], ["row 1, column 'colour': 'pink'"]),
        (lambda lines: [lines[0], re.sub("latent", "laten", lines[1])], ["row 1, column", "'laten' is not a number"]),
        (lambda lines: [], ["standard input: empty"]),
    ],
)
def test_decode_refuses(cli, tmp_path, runs, change, words):
    lines = cli("encode", "-", "-m", runs / "joint", stdin=FIVE).lines
    table = "".join(f"{line}\n" for line in change([lines[0], next(line for line in lines if "latent" in line)]))
    check_refusal(cli("decode", "-", "-m", runs / "joint", "-o", "out.csv", "-q", stdin=table), Fails(words))
    assert list(tmp_path.iterdir()) == []


GIVEN = [
    (1, "colour=pink", ["'pink' was not among the training rows", "'blue', 'green', 'red'"]),
    (1, "colour=Red", ["'Red'", "did you mean 'red'?"]),
    (2, "Colour=red", ["no column 'Colour' (did you mean 'colour'?)"]),
    (2, "colour", ["--given takes COLUMN=VALUE; got 'colour'"]),
    (1, "colour=", ["--given colour=", "missing"]),
    (1, "height=tall", ["'tall' is not a number"]),
    (1, "height=inf", ["not a finite number"]),
    (1, "height=170.123", ["2 decimals"]),
    (1, "height=NA", ["missing"]),
    (1, "visits=2.5", ["whole numbers"]),
    (1, "share=1.5", ["no row is larger than 1"]),
    (2, "amount=1.5", ["continuous", "--where 'amount >"]),
    (1, "day=2020-02-30", ["'2020-02-30' is not a date", "like 20"]),
    (1, "unit=inch", ["every row has 'cm'"]),
]
WHERE = [
    ("height > 'tall'", ["height (a number)", "'tall'"]),
    ("heigth > 170", ["'heigth' (did you mean 'height'?)"]),
    ("height >", ["write it like"]),
    ("", ["write it like"]),
    ("height", ["not a condition"]),
    ("height = 170", ["=="]),
    ("colour == red", ["no column 'red'"]),
    ("1 == 1", ["the same of every row"]),
    ("day > '2020-02-30'", ["'2020-02-30'", "write it as 2024-01-31"]),
    ("__import__('os').remove('t.csv')", ["cannot stand in it"]),
    ("height > @x", ["'@'"]),
    ("(" * 200, ["--where"]),
]


@pytest.mark.parametrize(
    ("status", "args", "words"),
    [
        *((status, ["--given", given], words) for status, given, words in GIVEN),
        *((2, ["--where", where], ["--where", *words]) for where, words in WHERE),
        (2, ["--given", "colour=red", "--given", "colour=blue"], ["given twice"]),
        (2, ["--given-file", "t.csv"], ["no context columns"]),
        (2, ["--given-file", "nope.csv"], ["nope.csv: no such file"]),
        (2, ["--n", "-1"], ["--n"]),
        (2, ["--n", "many"], ["--n"]),
        (2, ["-o", "out.xyz"], ["out.xyz", ".parquet"]),
        (1, ["-o", "nowhere/out.csv"], ["nowhere/out.csv: cannot be written"]),
        (2, ["-m", "nope"], ["nope: no such run"]),
        (1, ["-m", "t.csv"], ["t.csv: not a model file"]),
    ],
)
def test_sample_refuses(cli, tmp_path, runs, status, args, words):
    Path("t.csv").write_text(GOOD)
    check_refusal(cli("sample", "--n", "2", "-m", runs / "joint", "-q", *args), Fails(words, status))
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("status", "args", "file", "words"),
    [
        (2, [], "", ["--given visits=VALUE", "--given colour=VALUE", "--given-file"]),
        (2, ["--given", "colour=red"], "", ["--given visits=VALUE"]),
        (1, ["--given", "colour=red", "--given", "visits=many"], "", ["visits=many: 'many' is not a number"]),
        (2, ["--given-file", "g.csv"], "colour\nred\n", ["visits"]),
        (1, ["--given-file", "g.csv"], "colour,visits\nred,3\npink,3\n", ["g.csv: row 2, column 'colour': 'pink'"]),
        (1, ["--given-file", "g.csv"], "", ["g.csv: empty"]),
    ],
)
def test_sample_of_a_conditional_model_refuses(cli, runs, status, args, file, words):
    Path("g.csv").write_text(file)
    check_refusal(cli("sample", "--n", "2", "-m", runs / "conditional", "-q", *args), Fails(words, status))
