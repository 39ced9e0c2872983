"""Conditions on rows: the same rows as pandas' query keeps, and nothing of the user's is ever run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from flowcli.errors import UsageError
from flowcli.expression import Expression

FRAME = pd.DataFrame(
    {
        "age": [20.0, 30.0, 40.0, np.nan, -7.5],
        "height": [1.5, 1.9, 1.7, 1.6, 1.6],
        "species": ["Adelie", "Gentoo", "Adelie", None, 'it\'s "odd"'],
        "net weight (kg)": [3.0, 4.0, 5.0, 6.0, 7.0],
        "a&b": [1.0, 2.0, 3.0, 4.0, 5.0],
        "class": ["x", "y", "x", "y", "x"],
        "inf": [0.0, 1.0, 0.0, 1.0, 0.0],
        "a__b": [0.0, 1.0, 0.0, 1.0, 0.0],
        "µg": [0.0, 1.0, 0.0, 1.0, 0.0],
    }
)


def kept(text: str, frame: pd.DataFrame = FRAME) -> list[int]:
    """The rows' numbers."""
    expression = Expression(text)
    names = expression.resolve(list(frame))
    return np.flatnonzero(expression.holds({name: frame[name] for name in names})).tolist()


@pytest.mark.parametrize(
    "text",
    [
        "age > 25",
        "25 < age",
        "age>=30 and species=='Adelie'",
        'age > 25 and species == "Adelie" or height < 1.65',
        "age > 25 & height > 1.8",  # & binds like 'and' in pandas, unlike in Python
        "age > 35 | height < 1.55",
        "not age > 25",
        "~(age > 25)",
        "20 < age <= 40",
        "age == 20 and 1 < height < 2 < age",
        "species != 'Adelie'",
        "age != 30",
        "age != age",
        "species in ['Adelie', 'Gentoo']",
        "species not in ('Adelie', 'Gentoo')",
        "age in [20, 40]",
        "species > 'B'",
        "species == 'it\\'s \"odd\"'",
        "`net weight (kg)` >= 5 and `a&b` < 5",
        "`class` == 'x'",
        "-age > 0",
        "age * 2 + 1 > height ** 2 - 3 / 2",
        "age % 20 == 0",
        "age // 20 == 1",
        "sqrt(height) > 1.3",
        "log(height) > 0.5",
        "abs(age) < 10",
        "age.isna()",
        "species.notna()",
        "a__b == 1",
        "(age > 25) == (height > 1.8)",
        "height == age / 20 or True and height > 1.8",
        " age\n> 25 ",
    ],
)
def test_it_keeps_the_rows_that_pandas_keeps(text: str) -> None:
    pandas = FRAME.query(text.strip().replace("\n", " "), engine="python").index.tolist()
    assert kept(text) == pandas
    assert 0 < len(pandas) < len(FRAME)


def test_what_pandas_cannot() -> None:
    assert kept("inf == 1") == [1, 3]
    assert kept("µg == 1") == [1, 3]
    assert kept("log(age) > 3") == [1, 2]  # without a warning about -7.5
    assert kept("species == '@home # `x` a & b'") == []
    assert kept("age in [height * 20 - 10, 40]") == [0, 2]


def test_huge_powers_take_no_time() -> None:
    assert kept("age < 10 ** 10 ** 10 ** 10") == [0, 1, 2, 4]
    assert kept(f"age < {'9' * 400}") == [0, 1, 2, 4]


DATES = pd.DataFrame({"day": pd.to_datetime(["2023-12-31", "2024-01-01", "2024-01-31", None, "2024-02-01"])})


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("day > '2024-01-01'", [2, 4]),
        ("'2024-01' <= day < '2024-02'", [1, 2]),
        ("day == '2024-01-31T00:00:00Z'", [2]),
        ("day in ['2023-12-31', '2024-02-01']", [0, 4]),
        ("day.isna()", [3]),
    ],
)
def test_dates(text: str, rows: list[int]) -> None:
    assert kept(text, DATES) == rows


@pytest.mark.parametrize("text", ["day > '31.01.2024'", "day > 'now'", "day > '2024-13-01'", "day > 2024", "day > ''"])
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(UsageError, match="date"):
        kept(text, DATES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "write it like"),
        ("   ", "write it like"),
        ("age >", "write it like"),
        ("age > 3)", "write it like"),
        ("age = 3", "written =="),
        ("net weight > 3", "backticks"),
        ("`net weight (kg) > 3", "write it like"),
        ("species == 'Adelie", "write it like"),
        ("\0", "write it like"),
        ("(" * 5000 + "age > 3" + ")" * 5000, "write it like"),
        ("age > 3; age", "write it like"),
        ("import os", "write it like"),
        ("age := 3", "write it like"),
        ("age > 3 # and so on", "'#'"),
        ("age > @limit", "'@'"),
        ("agee > 3", r"'agee' \(did you mean 'age'\?\)"),
        ("agee > 3 and foo > 2", "'agee'.*'foo'"),
        ("__import__('os').system('true')", "cannot stand in it"),
        ("species.to_csv('out.csv')", r"'species.to_csv\('out.csv'\)' cannot stand"),
        ("age.values.tofile('out')", "cannot stand"),
        ("species.__class__ == 'x'", "cannot stand"),
        ("`net weight (kg)`.max() > 3", r"'`net weight \(kg\)`.max\(\)' cannot stand"),
        ("open('out', 'w')", "cannot stand"),
        ("list(age)", "cannot stand"),
        ("abs(age, age) > 3", "cannot stand"),
        ("age.isna(1)", "cannot stand"),
        ("age.isna(x=1)", "cannot stand"),
        ("[age for age in [1]] == 1", "cannot stand"),
        ("(lambda: age)() > 1", "cannot stand"),
        ("age[0] > 1", "cannot stand"),
        ("f'{age}' == 'x'", "cannot stand"),
        ("b'x' == species", "cannot stand"),
        ("age > 3j", "cannot stand"),
        ("age == None", "cannot stand"),
        ("age if age > 3 else height", "cannot stand"),
        ("age << 3 > 1", "cannot stand"),
        ("age is 3", "not for cells"),
        ("age in 3", "takes a list"),
        ("age in []", "takes a list"),
        ("'A' in species", "takes a list"),
        ("age", "'age' is a number, not a condition"),
        ("species", "'species' is text, not a condition"),
        ("1 < 2", "same of every row"),
        ("True", "same of every row"),
        ("age > '30'", r"compares age \(a number\) with '30' \(text\)"),
        ("species == 3", "text and labels stand in quotes"),
        ("species in ['Adelie', 3]", "compares species"),
        ("age == species", "compares age"),
        ("(age > 3) == 1", "compares"),
        ("age and height > 3", "'age' is a number where true or false"),
        ("not age", "'age' is a number where true or false"),
        ("-species == 'x'", "'species' is text where a number"),
        ("species + 'x' == 'y'", "'species' is text where a number"),
        ("log(species) > 1", "'species' is text where a number"),
        ("+".join(["age"] * 5000) + " > 3", "nested too deeply|write it like"),
    ],
)
@pytest.mark.parametrize("rows", [0, 5], ids=["no rows", "rows"])
def test_what_is_refused(text: str, words: str, rows: int) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        kept(text, FRAME.head(rows).astype({"species": object}))
    assert str(caught.value).startswith("--where: ")
    assert len(str(caught.value).splitlines()) == 1
