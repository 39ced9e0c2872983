"""Cells to numbers and labels."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcli.tables.cells import MISSING_WORDS, as_numbers, as_text, decimals, is_number_type, is_text, looks_like_codes


def column(*cells, kind=None):
    return pa.chunked_array([pa.array(cells, type=kind)])


TEXT_TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]


@pytest.mark.parametrize("beside", [(), ("word",)], ids=["numbers alone", "beside a word"])
@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("1", 1.0),
        ("-2.5", -2.5),
        ("+3", 3.0),
        (".5", 0.5),
        ("5.", 5.0),
        (" 7 ", 7.0),
        ("1e5", 1e5),
        ("1E-5", 1e-5),
        ("00501", 501.0),
        ("0.1", 0.1),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
        ("1e400", math.inf),
    ],
)
def test_numbers(cell, number, beside):
    numbers = as_numbers(column(cell, *beside))
    assert numbers.values[0] == number
    assert not numbers.missing[0]
    assert not numbers.invalid[0]


@pytest.mark.parametrize("cell", ["", "  ", *MISSING_WORDS, " NA "])
@pytest.mark.parametrize("beside", ["1", "word"])
def test_missing_cells(cell, beside):
    numbers = as_numbers(column(cell, beside))
    assert numbers.missing.tolist() == [True, False]
    assert numbers.invalid.tolist() == [False, beside == "word"]
    assert np.isnan(numbers.values[0])
    assert as_text(column(cell)).to_pylist() == [None]


@pytest.mark.parametrize(
    "cell",
    ["None", "word", "1,5", "1 000", "0x10", "1_000", "--5", "e5", "1e", "−5", "１２", "1d5", "1.2.3", "$5", "5%"],
)
def test_what_is_no_number(cell):
    numbers = as_numbers(column(cell, "1"))
    assert numbers.invalid.tolist() == [True, False]
    assert numbers.missing.tolist() == [False, False]
    assert as_text(column(cell)).to_pylist() == [cell]


@pytest.mark.parametrize("cell", ["-nan", "+nan", "NAN", "Nan", "nan(0)"])
@pytest.mark.parametrize("beside", ["1", "word"])
def test_every_spelling_of_nan_is_missing_or_no_number(cell, beside):
    # A NaN that is neither would go into the means.
    numbers = as_numbers(column(cell, beside))
    assert numbers.missing[0] or numbers.invalid[0]


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint64(), pa.float32(), pa.float64(), pa.decimal128(30, 3)])
def test_typed_numbers(kind):
    cells = pa.chunked_array([pa.array([1, None, 3]).cast(kind)])
    assert is_number_type(cells)
    assert not is_text(cells)
    numbers = as_numbers(cells)
    np.testing.assert_array_equal(numbers.values, [1, np.nan, 3])
    assert numbers.missing.tolist() == [False, True, False]
    assert not numbers.invalid.any()


def test_nan_in_typed_numbers_is_missing():
    assert as_numbers(column(1.0, math.nan)).missing.tolist() == [False, True]


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_text_in_every_type(kind):
    cells = pa.chunked_array([pa.array(["1.5", "NA", None, "b"]).cast(kind)])
    assert is_text(cells)
    assert as_text(cells).to_pylist() == ["1.5", None, None, "b"]
    numbers = as_numbers(cells)
    np.testing.assert_array_equal(numbers.values, [1.5, np.nan, np.nan, np.nan])
    assert numbers.missing.tolist() == [False, True, True, False]
    assert numbers.invalid.tolist() == [False, False, False, True]


def test_booleans_are_labels():
    assert is_text(column(True, False))
    assert as_text(column(True, False, None)).to_pylist() == ["true", "false", None]


def test_a_column_of_nothing():
    numbers = as_numbers(column(None, None))
    assert numbers.missing.all()
    assert as_text(column(None, None)).to_pylist() == [None, None]


def test_several_chunks_and_none():
    cells = pa.chunked_array([pa.array(["1"]), pa.array([], pa.string()), pa.array(["x", "3"])])
    np.testing.assert_array_equal(as_numbers(cells).values, [1, np.nan, 3])
    assert as_numbers(pa.chunked_array([], pa.string())).values.shape == (0,)


@pytest.mark.parametrize(
    ("cells", "codes"),
    [
        (["00501", "94110"], True),
        (["01"], True),
        (["-01"], True),
        (["0", "0.5", "-0.5", "10"], False),
        (["1e05"], False),
        ([""], False),
    ],
)
def test_leading_zeros_look_like_codes(cells, codes):
    assert looks_like_codes(column(*cells)) is codes


def test_typed_numbers_never_look_like_codes():
    assert not looks_like_codes(column(0, 1))


@pytest.mark.parametrize(
    ("cells", "digits"),
    [
        (["1", "2"], 0),
        (["1.5", "2"], 1),
        (["1.50", "2.125", ""], 3),
        (["-.25"], 2),
        (["5."], 0),
        (["1e5", "2"], None),
        (["inf"], None),
        ([1, 2], 0),
        ([1.5, 2.25], 2),
        ([1.0, 1 / 3], None),
    ],
)
def test_decimals(cells, digits):
    assert decimals(column(*cells)) == digits


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_any_float_comes_back_exactly(values):
    numbers = as_numbers(column(*map(repr, values)))
    assert numbers.values.tolist() == values
    assert not numbers.invalid.any()


@given(st.lists(st.text(), min_size=1))
def test_any_cell_is_a_number_missing_or_not_a_number(cells):
    numbers = as_numbers(column(*cells, kind=pa.string()))
    assert len(numbers.values) == len(cells)
    assert np.array_equal(np.isnan(numbers.values), numbers.missing | numbers.invalid)
