"""Sampling by rejection: which rows are kept, when it stops, and what is refused before anything is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flowcli import conditioning
from flowcli.conditioning import Condition, Rejection, given_mistakes, stream_seed
from flowcli.config.load import load_config
from flowcli.errors import DataError, UsageError
from flowcli.expression import Expression
from flowcli.fitting import fit_table
from flowcli.model import Model
from flowcli.tables.columns import Column
from flowcli.tables.frames import as_table
from flowcli.tables.table import Table


def column(name: str, kind: str, **more: Any) -> Column:
    return Column(name=name, kind=kind, reason="test", **more)


AGE = column("age", "number", decimals=0, step=1.0, lower=0.0)
PRICE = column("price", "number", decimals=2, missing=True)
WEIGHT = column("weight", "number", spikes=(0.0,))
QUARTER = column("quarter", "number", step=0.25, origin=0.1)
COUNT = column("count", "ordinal", decimals=0)
KIND = column("kind", "label", categories=("Adelie", "Chinstrap", "Gentoo"))
ROOMS = column("rooms", "label", categories=("1", "2", "10"), cells="integer")
ZIP = column("zip", "label", categories=("00501", "10001"))
FLAG = column("flag", "label", categories=("false", "true"), cells="boolean")
DAY = column("day", "date", date_format="%d.%m.%Y")
UNIT = column("unit", "constant", value="7")
CODE = column("code", "constant", value="007")
REGION = column("region", "label", categories=("north", "south"), context=True)
NUMBER = column("id", "identifier")
COLUMNS = [AGE, PRICE, WEIGHT, QUARTER, COUNT, KIND, ROOMS, ZIP, FLAG, DAY, UNIT, CODE, REGION, NUMBER]

ROWS = 5000


@pytest.fixture(scope="module")
def drawn() -> pa.Table:
    """Rows as a model of these columns would draw them."""
    rng = np.random.default_rng(0)
    days = pd.to_datetime("2024-01-01") + pd.to_timedelta(rng.integers(0, 60, ROWS), unit="D")
    price = np.round(rng.normal(10, 1, ROWS), 2)
    price[::10] = np.nan
    return pa.table(
        {
            "age": rng.integers(0, 100, ROWS),
            "price": pa.array(price, from_pandas=True),
            "weight": np.where(rng.random(ROWS) < 0.3, 0.0, rng.exponential(size=ROWS)),
            "quarter": 0.1 + 0.25 * rng.integers(0, 8, ROWS),
            "count": rng.poisson(2, ROWS),
            "kind": rng.choice(KIND.categories, ROWS),
            "rooms": rng.choice([1, 2, 10], ROWS),
            "zip": rng.choice(ZIP.categories, ROWS),
            "flag": rng.random(ROWS) < 0.5,
            "day": days.strftime("%d.%m.%Y").astype(object),
            "unit": ["7"] * ROWS,
            "code": ["007"] * ROWS,
            "region": [" north"] * ROWS,
        }
    )


def pieces(table: pa.Table, size: int) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, size):
        yield table.slice(start, size)


def condition(given: dict[str, str] | None = None, where: str | None = None) -> Condition:
    return Condition(COLUMNS, given or {}, Expression(where) if where is not None else None)


# Which rows are kept


@pytest.mark.parametrize(
    ("given", "where", "expected"),
    [
        ({"age": "79"}, None, lambda f: f["age"] == 79),
        ({"age": " 79.0 "}, None, lambda f: f["age"] == 79),
        ({"age": "7.9e1"}, None, lambda f: f["age"] == 79),
        ({"price": "10.1"}, None, lambda f: f["price"] == 10.1),
        ({"price": "NA"}, None, lambda f: f["price"].isna()),
        ({"weight": "0"}, None, lambda f: f["weight"] == 0),
        ({"quarter": "0.85"}, None, lambda f: (f["quarter"] - 0.85).abs() < 0.1),
        ({"count": "3"}, None, lambda f: f["count"] == 3),
        ({"kind": " Adelie"}, None, lambda f: f["kind"] == "Adelie"),
        ({"rooms": "10"}, None, lambda f: f["rooms"] == 10),
        ({"rooms": "10.0"}, None, lambda f: f["rooms"] == 10),
        ({"zip": "00501"}, None, lambda f: f["zip"] == "00501"),
        ({"flag": "true"}, None, lambda f: f["flag"]),
        ({"day": "31.01.2024"}, None, lambda f: f["day"] == "31.01.2024"),
        ({"kind": "Adelie", "rooms": "2", "unit": "7.0"}, None, lambda f: (f["kind"] == "Adelie") & (f["rooms"] == 2)),
        ({}, "age > 90", lambda f: f["age"] > 90),
        ({}, "age > 90 and zip == '00501'", lambda f: (f["age"] > 90) & (f["zip"] == "00501")),
        ({}, "rooms > 1", lambda f: f["rooms"] > 1),
        ({}, "price.isna()", lambda f: f["price"].isna()),
        ({}, "price > 10", lambda f: f["price"] > 10),
        ({}, "flag == 'true'", lambda f: f["flag"]),
        ({}, "day > '2024-02-10'", lambda f: pd.to_datetime(f["day"], format="%d.%m.%Y") > "2024-02-10"),
        ({}, "unit == 7 and code == '007' and region == 'north' and age < 5", lambda f: f["age"] < 5),
        ({"kind": "Gentoo"}, "age < 10", lambda f: (f["kind"] == "Gentoo") & (f["age"] < 10)),
    ],
)
def test_the_kept_rows_are_those_of_the_stream_that_fit(
    drawn: pa.Table, given: dict[str, str], where: str | None, expected: Callable[[pd.DataFrame], pd.Series]
) -> None:
    assert given_mistakes(COLUMNS, given) == []
    fitting = np.flatnonzero(expected(drawn.to_pandas()))
    assert 5 < len(fitting) < ROWS
    for n in (1, 5, len(fitting)):
        for size in (1000, ROWS):
            rejection = Rejection(condition(given, where))
            kept = pa.concat_tables(rejection.rows(pieces(drawn, size), n))
            assert kept == drawn.take(pa.array(fitting[:n]))
            assert (rejection.kept, rejection.drawn) == (n, fitting[n - 1] + 1)


def test_a_fit_of_no_row_at_all_is_no_row(drawn: pa.Table) -> None:
    assert list(Rejection(condition({"age": "5"})).rows(pieces(drawn, 100), 0)) == []


def test_no_more_chunks_are_drawn_than_needed(drawn: pa.Table) -> None:
    taken = []

    def stream() -> Iterator[pa.Table]:
        for piece in pieces(drawn, 100):
            taken.append(piece)
            yield piece

    rejection = Rejection(condition({"flag": "true"}))
    list(rejection.rows(stream(), 120))
    assert len(taken) == 3
    assert rejection.summary() == f"kept 120 of {rejection.drawn} drawn rows ({12000 / rejection.drawn:.3g}%)"


@pytest.mark.parametrize(("given", "asks"), [({}, False), ({"unit": "7"}, False), ({"age": "7"}, True)])
def test_a_constant_asks_for_nothing(given: dict[str, str], asks: bool) -> None:
    assert bool(condition(given)) is asks
    assert condition(given, "age > 3")


# Stopping


def endless(table: pa.Table) -> Iterator[pa.Table]:
    while True:
        yield table


def test_a_hopeless_search_stops(drawn: pa.Table) -> None:
    rejection = Rejection(condition({"kind": "Adelie"}, "age > 1000"))
    with pytest.raises(DataError, match=r"0 of 200,000 drawn rows fit, and 1,000 are wanted.*--context kind"):
        list(rejection.rows(endless(drawn), 1000))


def test_a_rare_number_is_pointed_to_ranges(drawn: pa.Table) -> None:
    rejection = Rejection(condition({"age": "200", "kind": "Adelie"}))
    with pytest.raises(DataError, match="--where 'age > LOW and age < HIGH', or fit with --context age,kind"):
        list(rejection.rows(endless(drawn), 1000))


def test_a_few_rows_are_not_enough_to_give_hope(drawn: pa.Table) -> None:
    rejection = Rejection(condition({"age": "5"}))
    with pytest.raises(DataError, match=r"drawn rows fit \(0.0005%\), and 10,000 are wanted"):
        list(rejection.rows(rare(drawn, "5", every=40), 10_000))


def test_little_hope_is_enough(drawn: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    # One row in 750,000: found, where one is wanted.
    rejection = Rejection(condition({"age": "5"}))
    assert sum(piece.num_rows for piece in rejection.rows(rare(drawn, "5", every=150), 1)) == 1
    assert rejection.drawn > 700_000
    # But not for ever.
    monkeypatch.setattr(conditioning, "MOST_IN_VAIN", 300_000)
    with pytest.raises(DataError, match=r"too rare: 0 of [\d,]+ drawn rows fit, and 1 are wanted"):
        list(Rejection(condition({"age": "1000"})).rows(endless(drawn), 1))


def rare(table: pa.Table, age: str, every: int) -> Iterator[pa.Table]:
    """A stream in which one row of each ``every`` pieces has the age."""
    without = table.filter(pa.array(table["age"].to_numpy() != int(age)))
    without = pa.concat_tables([without, without.slice(0, ROWS - without.num_rows)])
    one = pa.concat_tables([without.slice(1), table.filter(pa.array(table["age"].to_numpy() == int(age))).slice(0, 1)])
    while True:
        yield from [without] * (every - 1)
        yield one


def test_a_stream_that_ends_early_is_told(drawn: pa.Table) -> None:
    with pytest.raises(DataError, match="and 5,000 are wanted"):
        list(Rejection(condition({"flag": "true"})).rows(pieces(drawn, 100), 5000))


# What is refused before anything is drawn


@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [
        ("agee", "3", UsageError, r"no column 'agee' \(did you mean 'age'\?\); it has 'age', 'price'"),
        ("id", "3", UsageError, "no column 'id'"),
        ("age", "old", DataError, "'old' is not a number"),
        ("age", "inf", DataError, "'inf' is not a finite number"),
        ("age", "nan", DataError, "missing"),
        ("age", "", DataError, "missing"),
        ("age", "7.5", DataError, "whole numbers"),
        ("age", "-1", DataError, "smaller than 0"),
        ("price", "10.123", DataError, "2 decimals"),
        ("quarter", "0.2", DataError, "0.25 apart, like 0.1"),
        ("weight", "1.5", UsageError, "continuous.*--context weight.*--where 'weight > LOW and weight < HIGH'"),
        ("count", "two", DataError, "'two' is not a number"),
        ("kind", "adelie", DataError, r"did you mean 'Adelie'"),
        ("kind", "penguin", DataError, "there are 'Adelie', 'Chinstrap', 'Gentoo'"),
        ("rooms", "3", DataError, "'3' was not among the training rows"),
        ("zip", "501", DataError, "did you mean '00501'"),
        ("flag", "1", DataError, "there are 'false', 'true'"),
        ("day", "2024-01-31", DataError, "is not a date as the column has them, like 01.01.1970"),
        ("unit", "8", DataError, "every row has '7'"),
        ("code", "7", DataError, "every row has '007'"),
        ("region", "east", DataError, "'east'"),
    ],
)
def test_what_can_never_be(name: str, value: str, error: type[Exception], words: str) -> None:
    (mistake,) = given_mistakes(COLUMNS, {name: value})
    assert type(mistake) is error
    with pytest.raises(error, match=words):
        raise mistake
    assert str(mistake).startswith("--given")


def test_all_mistakes_come_at_once() -> None:
    given = {"agee": "1", "foo": "1", "age": "old", "kind": "Adelie", "region": "east", "rooms": "3"}
    mistakes = "\n".join(map(str, given_mistakes(COLUMNS, given)))
    assert all(word in mistakes for word in ("'agee'", "'foo'", "'old'", "'east'", "--given rooms=3"))
    assert "Adelie=" not in mistakes


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("agee > 3", r"did you mean 'age'"),
        ("id > 3", "no column 'id'"),
        ("age > 'x'", "compares age"),
        ("kind > 3", "compares kind"),
        ("zip == 501", "compares zip"),
        ("rooms == '2'", "compares rooms"),
        ("unit == '7'", "compares unit"),
        ("code == 7", "compares code"),
        ("flag == True", "compares flag"),
        ("day > '31.01.2024'", "2024-01-31"),
        ("region", "not a condition"),
    ],
)
def test_where_is_checked_without_rows(where: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        condition(where=where)


# Streams of a model


@dataclass
class Die:
    """A model of one die; with context, the die is loaded. Its streams are those of a real one: chunks of 100."""

    asked: list[int] = field(default_factory=list)

    def sample_chunks(
        self, n: int, given: Table | None = None, seed: int | None = None, set_to: None = None, needed: int = 0
    ) -> Iterator[pa.Table]:
        rng = np.random.default_rng(seed)
        self.asked.append(n)
        sides = 6 if given is None else int(given.column("sides")[0].as_py())
        for start in range(0, max(n, 1), 100):
            eyes = rng.integers(1, sides + 1, 100)[: n - start]
            cells: dict[str, Any] = {"eyes": eyes}
            if given is not None:
                cells["sides"] = pa.array([str(sides)] * len(eyes), pa.string())
            yield pa.table(cells)


EYES = [column("eyes", "number", decimals=0), column("sides", "number", decimals=0, context=True)]


def thrown(n: int, seed: int, sides: list[str] | None = None, given: str = "6") -> pd.DataFrame:
    table = None if sides is None else as_table(pd.DataFrame({"sides": sides}), "sides.csv")
    parts = list(Rejection(Condition(EYES, {"eyes": given})).draw(cast(Model, Die()), n, table, seed))
    assert parts[0].num_rows == 0
    return pa.concat_tables(parts).to_pandas()


def test_a_shorter_sample_begins_a_longer_one() -> None:
    long = Rejection(Condition(EYES[:1], {}, Expression("eyes >= 5")))
    rows = pa.concat_tables(long.draw(cast(Model, Die()), 500, None, 3)).to_pandas()
    for n in (1, 40, 499):
        short = Rejection(Condition(EYES[:1], {}, Expression("eyes >= 5")))
        begun = pa.concat_tables(short.draw(cast(Model, Die()), n, None, 3)).to_pandas()
        pd.testing.assert_frame_equal(begun, rows.head(n))
    stream = pa.concat_tables(Die().sample_chunks(3000, None, 3)).to_pandas()
    pd.testing.assert_frame_equal(rows, stream[stream["eyes"] >= 5].head(500).reset_index(drop=True))


def test_each_given_row_has_a_stream_of_its_own() -> None:
    rows = thrown(10, 1, ["6", "20", "6"])
    assert rows["sides"].tolist() == ["6"] * 10 + ["20"] * 10 + ["6"] * 10
    assert (rows["eyes"] == 6).all()
    pd.testing.assert_frame_equal(rows.head(10), thrown(10, 1, ["6"]))
    assert len({stream_seed(1, row) for row in range(100)} | {stream_seed(2, row) for row in range(100)}) == 200
    assert max(stream_seed(2**63 - 1, row) for row in range(100)) < 2**63


def test_the_row_that_stops_it_is_named() -> None:
    with pytest.raises(DataError, match=r"sides.csv: row 2: the condition is too rare: 0 of 200,000"):
        thrown(1000, 1, ["20", "6"], given="17")


def test_nothing_wanted_is_an_empty_table() -> None:
    assert thrown(0, 1, ["6"]).columns.tolist() == ["eyes", "sides"]


# The distribution


def test_kept_rows_follow_the_model_s_conditional() -> None:
    rng = np.random.default_rng(0)
    one = rng.choice(["a", "b"], 600)
    two = np.where(rng.random(600) < 0.7, np.where(one == "a", "x", "y"), rng.choice(["x", "y", "z"], 600))
    frame = pd.DataFrame({"one": one, "two": two, "size": np.where(one == "a", 0.0, 2.0) + rng.normal(size=600)})
    model = fit_table(as_table(frame), load_config(None, ["train.epochs=5", "seed=1"]), device="cpu").model
    # p(two | one = a): the joint probabilities of the labels are integrals over the number.
    grid = np.linspace(-15, 20, 3501)
    joint = {}
    for label in ("x", "y", "z"):
        rows = pd.DataFrame({"one": "a", "two": label, "size": grid})
        joint[label] = float(np.exp(model.log_prob(rows)).sum() * (grid[1] - grid[0]))
    n = 4000
    rejection = Rejection(Condition(model.header.columns, {"one": "a"}))
    kept = pa.concat_tables(rejection.draw(model, n, None, 5)).to_pandas()
    assert set(kept["one"]) == {"a"}
    for label, probability in joint.items():
        expected = probability / sum(joint.values())
        error = np.sqrt(expected * (1 - expected) / n)
        assert abs((kept["two"] == label).mean() - expected) < 4.5 * error
    share = sum(joint.values())
    assert abs(rejection.kept / rejection.drawn - share) < 4.5 * np.sqrt(share * (1 - share) / rejection.drawn)
    stream = pa.concat_tables(model.sample_chunks(rejection.drawn, None, 5)).to_pandas()
    pd.testing.assert_frame_equal(kept, stream[stream["one"] == "a"].reset_index(drop=True))
