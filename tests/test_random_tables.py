"""Tables that nobody thought of, through the whole program: no crash, and no score that is not a number."""

from __future__ import annotations

import csv
import datetime as dt
import io
import math
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcli.model_file import read_header

Draw = Callable[[random.Random], object]
WORDS = [
    "a",
    "B",
    "naïve",
    "東京",
    "with, comma",
    'a "quote"',
    "two\nlines",
    " padded ",
    "None",
    "0x1F",
    "-",
    "3+",
    "'",
]


def dates(form: str, days: int) -> Draw:
    return lambda r: (dt.datetime(2001, 2, 3) + dt.timedelta(r.randrange(days), r.randrange(86400))).strftime(form)


# Each is a strategy of functions that draw one cell.
CELLS = {
    "floats": st.integers(-300, 300).map(lambda size: lambda r: repr(r.gauss(1, 1) * 10.0**size)),
    "floats of all sizes": st.integers(1, 150).map(
        lambda size: lambda r: repr(r.gauss(0, 1) * 10 ** r.uniform(-size, size))
    ),
    "floats as they come": st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30).map(
        lambda values: lambda r: repr(r.choice(values))
    ),
    "shares": st.floats(0.1, 40).map(lambda spread: lambda r: repr(1 / (1 + math.exp(r.gauss(0, spread))))),
    "amounts": st.floats(0.1, 10).map(
        lambda spread: lambda r: "0" if r.random() < 0.5 else f"{r.lognormvariate(0, spread):.9f}"
    ),
    "whole numbers": st.integers(1, 20).map(lambda digits: lambda r: str(r.randrange(-(10**digits), 10**digits))),
    "counts": st.integers(1, 60).map(lambda most: lambda r: str(r.choice([0, 7, r.randrange(most)]))),
    "grids": st.tuples(st.sampled_from([0.1, 0.05, 2.5, 1 / 64]), st.integers(1, 1000)).map(
        lambda both: lambda r: f"{both[0] * r.randrange(both[1]):.6f}".rstrip("0")
    ),
    "labels": st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(lambda words: lambda r: r.choice(words)),
    "texts": st.text(max_size=5).map(lambda start: lambda r: f"{start}{r.random()}"),
    "booleans": st.sampled_from([("true", "false"), ("Y", "N"), ("0", "1")]).map(lambda pair: lambda r: r.choice(pair)),
    "dates": st.tuples(
        st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%Y-%m-%d %H:%M:%S", "%d %b %Y"]), st.integers(1, 4000)
    ).map(lambda both: dates(*both)),
    "constants": st.sampled_from(["3", "x", "", "NA", "00501"]).map(lambda cell: lambda r: cell),
}
NAMES = st.one_of(
    st.sampled_from(["x", "--n", "z1", "log_prob", "nan", "latent", "1.5", "id", "a,b"]),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    """A header and rows."""
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    rows = draw(st.sampled_from([4, 12, 60, 200]))
    generator = random.Random(draw(st.integers(0, 2**32)))
    columns = []
    for _ in names:
        cell = draw(st.sampled_from(sorted(CELLS)).flatmap(CELLS.__getitem__))
        holes = draw(st.sampled_from([0, 0, 0.02, 0.3, 0.95]))
        columns.append(["" if generator.random() < holes else cell(generator) for _ in range(rows)])
    return [names, *map(list, zip(*columns, strict=True))]


def written(name: str, rows: list[list[str]]) -> str:
    with Path(name).open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return name


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@settings(
    max_examples=10,
    deadline=None,
    derandomize="CI" in os.environ,
    # Each example clears the folder that it works in.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tables())
def test_any_table(cli, table):
    shutil.rmtree("run", ignore_errors=True)
    fitted = cli("fit", written("t.csv", table), "-s", "train.epochs=1", "-o", "run", "-q")
    if fitted.status != 0:
        assert fitted.status == 1
        assert fitted.err.startswith("flowcli: t.csv"), fitted.err
        assert "unexpected" not in fitted.err, fitted.err
        assert len(fitted.err.splitlines()) <= 3
        assert not Path("run").exists()
        return
    columns = read_header(Path("run/model.safetensors")).columns
    scored = cli("score", "t.csv", "-m", "run", "-q")
    assert scored.status == 0, scored.err
    log_prob = [float(row[0]) for row in cells(scored.out)[1:]]
    assert len(log_prob) == len(table) - 1
    assert not any(map(math.isnan, log_prob))

    drawn = cli("sample", "--n", "5", "-m", "run", "--seed", "1", "-q")
    assert drawn.status == 0, drawn.err
    names, *rows = cells(drawn.out)
    assert names == [column.name for column in columns if column.kind != "identifier"]
    assert [len(row) for row in rows] == [len(names)] * 5

    # A label that training had not has no latents.
    possible = [row for row, score in zip(table[1:], log_prob, strict=True) if math.isfinite(score)]
    encoded = cli("encode", written("possible.csv", [table[0], *possible]), "-m", "run", "-q")
    if any(column.name.startswith("z") for column in columns) and encoded.status == 1:
        assert "has a latent's name" in encoded.err
        return
    assert encoded.status == 0, encoded.err
    decoded = cli("decode", "-", "-m", "run", "-q", stdin=encoded.out)
    assert decoded.status == 0, decoded.err
    back = cells(decoded.out)
    assert back[0] == names
    assert len(back) == 1 + len(possible)
    for column in columns:
        if column.kind == "label":
            at, there = table[0].index(column.name), names.index(column.name)
            assert [row[there] for row in back[1:]] == [row[at].strip() for row in possible]
