"""Rows to arrays and back."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcli.errors import DataError
from flowcli.preprocess.encoder import UNSEEN, TableEncoder
from flowcli.tables.columns import Column
from flowcli.tables.table import Origin, Table

X = Column(name="x", kind="number", reason="", mean=10.0, scale=2.0, decimals=1)
N = Column(name="n", kind="number", reason="", mean=-1.0, scale=0.5, decimals=0)
KIND = Column(name="kind", kind="label", reason="", categories=("a", "b"))
FIXED = Column(name="fixed", kind="constant", reason="", value="7.0")
GIVEN = Column(name="given", kind="number", reason="", mean=3.0, scale=4.0, context=True)
REGION = Column(name="region", kind="label", reason="", categories=("e", "n", "s"), context=True)
ALL = [X, KIND, FIXED, N, GIVEN, REGION]


def table(**columns) -> Table:
    return Table(pa.table(columns), (Origin("t.csv", 1, len(next(iter(columns.values())))),))


ROWS = {
    "region": ["s", "e"],
    "x": ["12", "9.5"],
    "kind": ["b", "a"],
    "given": ["7", "-1"],
    "other": ["ignored", "too"],
    "n": ["0", "-2"],
}


def test_columns_are_found_by_name_and_standardised():
    encoded = TableEncoder(ALL).encode(table(**ROWS))
    np.testing.assert_allclose(encoded.numbers, [[1.0, 2.0], [-0.25, -2.0]])
    assert encoded.labels.tolist() == [[1], [0]]
    # The given number, then the region as e, n, s.
    np.testing.assert_allclose(encoded.context, [[1.0, 0, 0, 1], [-1.0, 1, 0, 0]])
    assert encoded.bad == {}


def test_shapes():
    encoder = TableEncoder(ALL)
    assert sum(width for _, width in encoder.layout.context) == 4
    assert encoder.modelled == 3
    assert encoder.latent_names == ["z1", "z2"]


def test_units_are_those_of_the_map():
    # d z / d x by differences; the map is linear, so they are exact.
    encoder = TableEncoder([X, N])
    low = encoder.encode(table(x=[0.0], n=[0.0])).numbers
    derivatives = [
        encoder.encode(table(x=[1.0], n=[0.0])).numbers - low,
        encoder.encode(table(x=[0.0], n=[1.0])).numbers - low,
    ]
    _, expected = np.linalg.slogdet(np.concatenate(derivatives))
    assert -sum(np.log(abs(support.unit)) for support in encoder.layout.supports) == pytest.approx(expected)
    assert TableEncoder([KIND]).layout.supports == ()


def test_the_same_rows_typed_and_as_text():
    as_text = TableEncoder(ALL).encode(table(**ROWS))
    typed = {**ROWS, "x": [12.0, 9.5], "n": [0, -2], "given": pa.array([7, -1], pa.int8())}
    typed["kind"] = pa.array(["b", "a"]).dictionary_encode()
    as_typed = TableEncoder(ALL).encode(table(**typed))
    np.testing.assert_array_equal(as_typed.numbers, as_text.numbers)
    np.testing.assert_array_equal(as_typed.labels, as_text.labels)
    np.testing.assert_array_equal(as_typed.context, as_text.context)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_numbers_come_back(values):
    encoder = TableEncoder([X])
    back = encoder.decode(
        encoder.encode(table(x=values)).numbers,
        np.empty((len(values), 0), int),
        np.empty((len(values), 0)),
        None,
        rounded=False,
    )
    np.testing.assert_allclose(back["x"].to_numpy(), values, rtol=1e-12, atol=1e-9)


def test_rows_come_back_in_the_columns_order():
    encoder = TableEncoder(ALL)
    data = table(**ROWS)
    encoded = encoder.encode(data)
    back = encoder.decode(encoded.numbers, encoded.labels, encoded.ordinals, data.cells, rounded=True)
    assert back.to_pydict() == {
        "x": [12.0, 9.5],
        "kind": ["b", "a"],
        "fixed": ["7.0", "7.0"],
        "n": [0, -2],
        "given": ["7", "-1"],
        "region": ["s", "e"],
    }
    assert back.schema.field("n").type == pa.int64()


def test_samples_are_rounded_as_the_data_was_written():
    encoder = TableEncoder([X, N])
    # x = 10 + 2 z and n = -1 + z / 2.
    cells = encoder.decode(np.array([[0.123, 3.1]]), np.empty((1, 0), int), np.empty((1, 0)), None, rounded=True)
    assert cells.to_pydict() == {"x": [10.2], "n": [1]}
    exact = encoder.decode(np.array([[0.123, 3.1]]), np.empty((1, 0), int), np.empty((1, 0)), None, rounded=False)
    assert exact["x"].to_pylist() == [pytest.approx(10.246)]


def test_no_sample_is_minus_zero():
    encoder = TableEncoder([X])
    cells = encoder.decode(np.array([[-5.01]]), np.empty((1, 0), int), np.empty((1, 0)), None, rounded=True)
    assert not np.signbit(cells["x"].to_numpy()).any()


def test_huge_whole_numbers_are_still_written():
    far = Column(name="far", kind="number", reason="", mean=0.0, scale=1e30, decimals=0)
    cells = TableEncoder([far]).decode(np.array([[2.0]]), np.empty((1, 0), int), np.empty((1, 0)), None, rounded=True)
    assert cells["far"].to_pylist() == [2e30]


def test_an_unseen_label_has_its_code_and_is_not_bad():
    encoded = TableEncoder([X, KIND]).encode(table(x=["1", "2"], kind=["a", "tulip"]))
    assert encoded.labels.tolist() == [[0], [UNSEEN]]
    assert encoded.bad == {}


def test_an_unseen_context_label_is_bad():
    # Nothing is known of p(x | region=w).
    encoded = TableEncoder([X, REGION]).encode(table(x=["1", "2"], region=["w", "n"]))
    assert set(encoded.bad) == {0}
    assert "'region'" in encoded.bad[0]
    assert "'w' was not among the training rows" in encoded.bad[0]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("", "missing"),
        ("NA", "missing"),
        ("abc", "'abc' is not a number"),
        ("None", "'None' is not a number"),
        ("inf", "infinite"),
        ("-nan", "number"),
    ],
)
def test_a_cell_that_is_no_number_makes_the_row_bad(cell, reason):
    encoded = TableEncoder([X, N]).encode(table(x=["1", cell, "3"], n=["1", "2", "3"]))
    assert set(encoded.bad) == {1}
    assert "'x'" in encoded.bad[1]
    assert reason in encoded.bad[1]
    if reason != "infinite":
        assert "infinite" not in encoded.bad[1]


def test_a_missing_label_is_bad_and_not_unseen():
    encoded = TableEncoder([X, KIND]).encode(table(x=["1"], kind=[""]))
    assert "'kind': the cell is missing" in encoded.bad[0]


def test_missing_columns_are_told_all_at_once():
    with pytest.raises(DataError) as caught:
        TableEncoder(ALL).encode(table(X=["1"], kind=["a"], given=["1"], n=["1"]))
    message = str(caught.value)
    assert "t.csv" in message
    assert "'x' (did you mean 'X'?)" in message
    assert "'region'" in message


def test_a_constant_column_need_not_be_there():
    encoded = TableEncoder([X, FIXED]).encode(table(x=["1"]))
    assert encoded.numbers.shape == (1, 1)


def test_latents_and_what_goes_with_them():
    encoder = TableEncoder(ALL)
    data = table(**ROWS)
    cells = encoder.latent_cells(np.array([[0.5, -0.5], [1.0, 2.0]]), np.empty((2, 0), np.int64), data)
    assert cells.to_pydict() == {
        "z1": [0.5, 1.0],
        "z2": [-0.5, 2.0],
        "kind": ["b", "a"],
        "given": ["7", "-1"],
        "region": ["s", "e"],
    }
    back = encoder.encode_latent(Table(cells, data.origins))
    # Latents are as they are: they have no mean or scale of the data.
    np.testing.assert_array_equal(back.numbers, [[0.5, -0.5], [1.0, 2.0]])
    assert back.labels.tolist() == [[1], [0]]


def test_a_column_named_like_a_latent_is_not_lost():
    given = Column(name="z1", kind="number", reason="", mean=0.0, scale=1.0, context=True)
    encoder = TableEncoder([X, given])
    data = table(x=["12"], z1=["5"])
    told, values = "", []
    try:
        cells = encoder.latent_cells(encoder.encode(data).numbers, np.empty((1, 0), np.int64), data)
        values = [float(value) for column in cells.columns for value in column.to_pylist()]
    except DataError as error:
        told = str(error)
    # x is 1.0 standard deviations above its mean, and the given value is 5. Refused is good too.
    assert sorted(values) == [1.0, 5.0] or "'z1'" in told


def test_context_alone_is_encoded_for_sampling():
    encoded = TableEncoder(ALL).encode_context(table(region=["n"], given=["11"]))
    np.testing.assert_allclose(encoded.context, [[2.0, 0, 1, 0]])
    assert encoded.numbers.shape == (1, 0)


def test_a_table_without_rows():
    empty = table(**{name: pa.array([], pa.string()) for name in ROWS})
    encoded = TableEncoder(ALL).encode(empty)
    assert encoded.numbers.shape == (0, 2)
    assert encoded.labels.shape == (0, 1)
    assert encoded.context.shape == (0, 4)
