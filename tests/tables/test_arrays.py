"""Between Arrow and NumPy by way of the buffers: as Arrow's own conversions do it."""

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pytest

from flowcli.tables import compute
from flowcli.tables.arrays import flags, flags_of, floats_of, integers, numbers, scalar, texts

FLOATS = [1.5, None, -0.0, 3.0, None, float("inf"), 7.0, 8.0, 9.0, None]
FLAGS = [True, None, False, True, True, False, True, None, True]


@pytest.mark.parametrize("part", [slice(0, 10), slice(3, 9), slice(1, 2), slice(5, 5)])
def test_out_of_arrow(part):
    array = pa.array(FLOATS, pa.float64())[part]
    wanted = np.array([np.nan if cell is None else cell for cell in FLOATS[part]])
    np.testing.assert_array_equal(floats_of(array), wanted)
    np.testing.assert_array_equal(floats_of(pa.chunked_array([array, array])), [*wanted, *wanted])
    found = flags_of(pa.chunked_array([pa.array(FLAGS, pa.bool_())[part]]))
    assert found.tolist() == [bool(cell) for cell in FLAGS[part]]


def test_nothing_out_of_arrow():
    assert floats_of(pa.chunked_array([], pa.float64())).tolist() == []
    assert flags_of(pa.chunked_array([], pa.bool_())).dtype == np.bool_


def test_into_arrow():
    there = np.array([cell is not None for cell in FLOATS])
    values = np.array([cell or 0.0 for cell in FLOATS])
    assert numbers(values, ~there).equals(pa.array(FLOATS))
    assert numbers(values[::2]).to_pylist() == values[::2].tolist()
    assert integers(np.arange(10), ~there).equals(pa.array(np.arange(10), mask=~there))
    assert flags(there).equals(pa.array(there))
    words = ["a", None, "", "żółw", "\0", None]
    for part in (words, words[:1], words[1:2], []):
        assert texts(part).equals(pa.array(part, pa.string()))
        texts(part).validate(full=True)
    for value in ("x", "", None):
        assert scalar(value).equals(pa.scalar(value, pa.string()))
    assert scalar(True).equals(pa.scalar(True))


def test_functions_are_arrows_own():
    column = pa.chunked_array([[" 1", "2 ", None], ["x1"]])
    values = pa.array(["1", None])
    for name, arguments in {
        "utf8_trim_whitespace": [column],
        "is_null": [column],
        "is_in": [column, values],
        "index_in": [column, values],
        "match_substring_regex": [column, "[0-9]$"],
        "take": [column, pa.array([3, 0])],
        "cast": [pa.chunked_array([["1", "2"]]), pa.float64()],
        "if_else": [pa.chunked_array([[True, False, None, True]]), column, column],
    }.items():
        assert getattr(compute, name)(*arguments).equals(getattr(pyarrow.compute, name)(*arguments)), name
    assert compute.any(pa.chunked_array([[False, True]])).as_py()
    assert compute.utf8_length(column) == pyarrow.compute.utf8_length(column)
    with pytest.raises(pa.ArrowInvalid):
        compute.cast(column, pa.int64())
