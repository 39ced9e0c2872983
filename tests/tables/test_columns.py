"""What each column is taken for, and what is refused by name."""

import random

import pyarrow as pa
import pytest

from flowcli.config.schema import ColumnConfig
from flowcli.errors import ConfigError, DataError
from flowcli.preprocess.measure import fit_columns
from flowcli.tables.cells import MOST_DECIMALS
from flowcli.tables.columns import Column
from flowcli.tables.infer import infer_columns
from flowcli.tables.table import Origin, Table

N = 60
NUMBERS = [f"{random.Random(1).gauss(0, 1) + i:.3f}" for i in range(N)]


def table(**columns) -> Table:
    """A table of text cells, or of typed ones."""
    return Table(pa.table(columns), (Origin("t.csv", 1, len(next(iter(columns.values())))),))


def inferred(cells, **options) -> Column:
    """What a column is taken for beside a good one."""
    columns = infer_columns(table(good=NUMBERS, c=cells), **options)
    return next(column for column in columns if column.name == "c")


def refused(**columns) -> str:
    with pytest.raises(DataError) as caught:
        infer_columns(table(good=NUMBERS, **columns))
    message = str(caught.value)
    assert message.startswith("t.csv: ")
    assert "--drop" in message
    assert "'good'" not in message
    return message


def test_text_that_holds_numbers_is_a_number():
    column = inferred(NUMBERS)
    assert (column.kind, column.decimals) == ("number", 3)


def test_whole_numbers_have_no_decimals():
    assert inferred([str(3 * i) for i in range(N)]).decimals == 0
    assert inferred(list(range(0, 3 * N, 3))).decimals == 0


def test_long_fractions_are_not_a_way_of_writing():
    assert inferred([f"{i}.{'1' * (MOST_DECIMALS + 1)}" for i in range(N)]).decimals is None
    assert inferred([float(i) / 7 for i in range(N)]).decimals is None


def test_leading_zeros_make_a_label():
    column = inferred(["00501", "94110"] * (N // 2))
    assert (column.kind, column.categories) == ("label", ("00501", "94110"))


def test_none_is_a_word_like_any_other():
    column = inferred(["None", "some", "all"] * (N // 3))
    assert (column.kind, column.categories) == ("label", ("None", "all", "some"))


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int8(), pa.string())], ids=str)
def test_labels_in_other_types(kind):
    assert inferred(pa.array(["a", "b"] * (N // 2)).cast(kind)).categories == ("a", "b")


def test_booleans_are_labels():
    assert inferred([True, False] * (N // 2)).categories == ("false", "true")


def test_a_category_that_is_declared_and_not_there_is_no_label():
    cells = pa.DictionaryArray.from_arrays(pa.array([0, 1] * (N // 2)), pa.array(["a", "b", "never"]))
    assert inferred(cells).categories == ("a", "b")


@pytest.mark.parametrize(
    ("cells", "value"), [(["7.0"] * N, "7.0"), (["a"] * N, "a"), (["00501"] * N, "00501"), ([7] * N, "7")]
)
def test_one_value_is_a_constant_as_it_was_written(cells, value):
    column = inferred(cells)
    assert (column.kind, column.value) == ("constant", value)


def test_one_number_written_in_several_ways_is_no_label():
    # Equal numbers, whatever their spelling: nothing varies here.
    data = table(good=NUMBERS, c=["7", "7.0"] * (N // 2))
    columns = fit_columns(infer_columns(data), data)
    assert [column.kind for column in columns] == ["number", "constant"]


def test_context_and_drop():
    columns = infer_columns(table(good=NUMBERS, c=NUMBERS, d=["x"] * N), context=["c"], drop=["d"])
    assert [(column.name, column.context) for column in columns] == [("good", False), ("c", True)]


@pytest.mark.parametrize("key", ["context", "drop"])
def test_an_unknown_name_is_told_with_the_nearest_and_with_those_there_are(key):
    with pytest.raises(ConfigError) as caught:
        infer_columns(table(rooms=NUMBERS, region=["a", "b"] * (N // 2)), **{key: ["regon", "Rooms", "zzz"]})
    message = str(caught.value)
    assert f"data.{key}" in message
    assert "'regon' (did you mean 'region'?)" in message
    assert "'Rooms' (did you mean 'rooms'?)" in message
    assert "'zzz'" in message
    assert "it has 'rooms', 'region'" in message


def test_a_column_both_given_and_left_out_is_refused():
    with pytest.raises(ConfigError, match="'c'"):
        infer_columns(table(good=NUMBERS, c=NUMBERS), context=["c"], drop=["c"])


# Refused, by name, with the ways out


def test_dates_are_dates():
    column = inferred([f"2020-01-{i % 28 + 1:02d} 0{i % 10}:00" for i in range(N)])
    assert (column.kind, column.date_format, column.step) == ("date", "%Y-%m-%d %H:%M", 3600)
    assert inferred(pa.array(range(N), pa.timestamp("s"))).kind == "date"
    assert inferred(pa.array(range(N), pa.date32())).nature == "date"


def test_a_word_among_dates_is_refused_unless_it_makes_labels():
    days = [f"2020-01-{i % 28 + 1:02d}" for i in range(N)]
    assert "'c' (not a date as %Y-%m-%d: 'soon' in row 1)" in refused(c=["soon", *days[1:]])
    assert "12 cells are not dates as %Y-%m-%d, the first is 'soon' in row 1; where" in refused(
        c=["soon"] * 12 + days[12:]
    )
    assert inferred(["soon", "2020-01-01", "2020-01-02"] * (N // 3)).kind == "label"


def test_days_are_read_before_months_where_they_must():
    assert inferred([f"{i % 28 + 1:02d}/03/2021" for i in range(N)]).date_format == "%d/%m/%Y"
    assert inferred([f"03/{i % 28 + 1:02d}/2021" for i in range(N)]).date_format == "%m/%d/%Y"


def test_free_text_is_left_out_with_its_counts():
    column = inferred([f"note {i}" for i in range(N)])
    assert (column.kind, column.reason) == ("identifier", "text, different in every row: left out")
    assert "30 values in 60 rows" in inferred([f"note {i // 2}" for i in range(N)]).reason


def test_row_numbers_and_ids_are_left_out():
    assert inferred(list(range(1, N + 1))).kind == "identifier"
    ids = random.Random(0).sample(range(10**6), N)
    for name, expected in (("user_id", "identifier"), ("PassengerId", "identifier"), ("paid", "number")):
        column = next(c for c in infer_columns(table(good=NUMBERS, **{name: ids})) if c.name == name)
        assert column.kind == expected


def test_holes_are_modelled_or_refused_with_their_count():
    holes = ["", *NUMBERS[1:-1], "NA"]
    assert inferred(holes).missing
    assert not inferred(NUMBERS).missing
    assert inferred([None, *(["a", "b"] * N)[: N - 1]]).categories == ("a", "b")
    with pytest.raises(DataError, match=rf"'c' \(2 of {N} cells are missing\)"):
        inferred(holes, missing="error")


@pytest.mark.parametrize(
    ("cells", "step", "nature"),
    [
        ([f"{i / 20:.2f}" for i in range(1, N + 1)], 0.05, "steps of 0.05"),
        ([repr(i / 64) for i in range(1, N + 1)], 1 / 64, "steps of 0.015625"),
        ([25 * (i * 7 % 13) - 100 for i in range(N)], 25, "integer, steps of 25"),
        ([repr(i + 0.5) for i in range(-3, N - 3)], 1, "steps of 1"),
        ([repr(i * 0.1234567 % 1 - 0.3) for i in range(N)], None, "continuous"),
        ([*map(str, range(-30, N - 31)), "0.42"], 1, "steps of 1"),
    ],
)
def test_grids(cells, step, nature):
    column = inferred(cells)
    assert column.step == (None if step is None else pytest.approx(step))
    assert column.nature == nature


def test_zero_and_one_are_told_as_labels():
    column = inferred(["0", "1"] * (N // 2))
    assert (column.kind, column.nature, column.cells) == ("label", "boolean", "integer")
    assert "0 and 1" in column.reason
    assert inferred(["0", "1"] * (N // 2), kinds={"c": ColumnConfig(kind="integer")}).kind == "number"


@pytest.mark.parametrize("word", ["-nan", "NAN", "nan(0)"])
def test_every_spelling_of_nan_is_refused(word):
    assert "'c'" in refused(c=[word, *NUMBERS[1:]])


def test_a_column_of_nothing_is_constant():
    for cells in ([""] * N, pa.nulls(N)):
        column = inferred(cells)
        assert (column.kind, column.value, column.reason) == ("constant", "", "every cell is missing")


def test_infinite_numbers_are_refused_with_the_first_row():
    assert "'c' (infinite in row 3)" in refused(c=[*NUMBERS[:2], "inf", *NUMBERS[3:-1], "-inf"])


def test_a_few_words_among_numbers_are_refused_with_the_first():
    message = refused(c=[*NUMBERS[:6], "n/m", *NUMBERS[7:-1], "?"])
    assert "2 cells are not numbers, the first is 'n/m' in row 7" in message


def test_lists_are_refused():
    assert "'c'" in refused(c=[[i] for i in range(N)])


def test_numbers_too_large_for_a_scale_are_refused_by_name():
    # Their variance is beyond what a float64 holds.
    cells = [f"{i}e300" for i in range(1, N + 1)]
    data = table(good=NUMBERS, c=cells)
    with pytest.raises(DataError, match="'c'"):
        fit_columns(infer_columns(data), data)


def test_numbers_too_small_for_a_scale_are_refused_by_name_or_constant():
    data = table(good=NUMBERS, c=[f"{i}e-300" for i in range(1, N + 1)])
    columns, told = [], ""
    try:
        columns = fit_columns(infer_columns(data), data)
    except DataError as error:
        told = str(error)
    assert "'c'" in told or columns[1].kind == "constant"


def test_all_of_them_are_told_at_once():
    message = refused(a=[[1]] * N, b=["-inf", *NUMBERS[1:]], c=["inf", *NUMBERS[1:]])
    for name in ("'a'", "'b'", "'c'"):
        assert name in message


def test_a_table_without_rows_is_refused():
    with pytest.raises(DataError, match="no rows"):
        infer_columns(table(a=pa.array([], pa.string())))


@pytest.mark.parametrize("context", [[], ["a", "b"]])
def test_a_table_with_nothing_to_model_is_refused(context):
    cells = ["7"] * N if not context else NUMBERS
    with pytest.raises(DataError, match="no column is left to model"):
        infer_columns(table(a=cells, b=cells), context=context)


# What comes from the training rows


def test_statistics_come_from_the_training_rows_alone():
    data = table(x=["1", "2", "3", "1000"], kind=["a", "b", "a", "unseen"])
    columns = [
        Column(name="x", kind="number", reason=""),
        Column(name="kind", kind="label", reason="", categories=("a",)),
    ]
    x, kind = fit_columns(columns, data.take(pa.array([0, 1, 2]).to_numpy()))
    assert x.mean == 2
    assert x.scale == pytest.approx((2 / 3) ** 0.5)
    assert kind.categories == ("a", "b")


def test_a_column_that_does_not_vary_in_training_becomes_a_constant():
    data = table(x=["5.0", "5.0", "6.0"])
    (x,) = fit_columns([Column(name="x", kind="number", reason="", decimals=1)], data.take(pa.array([0, 1]).to_numpy()))
    assert x.kind == "constant"
    assert float(x.value) == 5


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"scale": -1.0}, {"scale": float("nan")}, {"mean": float("inf")}])
def test_a_column_without_a_usable_scale_is_refused(wrong):
    with pytest.raises(ValueError, match=r"usable|finite number"):
        Column(name="x", kind="number", reason="", **wrong)


# Kinds that the config asks for


def test_numbers_may_be_labels():
    column = inferred(["3", "1", "2"] * (N // 3), kinds={"c": ColumnConfig(kind="label")})
    assert (column.kind, column.categories) == ("label", ("1", "2", "3"))
    assert inferred([3, 1, 2] * (N // 3), kinds={"c": ColumnConfig(kind="label")}).categories == ("1", "2", "3")


def test_many_different_labels_are_taken_when_asked_for():
    words = [f"w{i}" for i in range(N)]
    assert inferred(words, kinds={"c": ColumnConfig(kind="label")}).kind == "label"


def test_codes_may_be_numbers():
    assert inferred(["00501", "94110"] * (N // 2), kinds={"c": ColumnConfig(kind="number")}).kind == "number"


def test_whole_numbers_may_be_ordinals():
    column = inferred([str(i % 7 - 3) for i in range(N)], kinds={"c": ColumnConfig(kind="ordinal")})
    assert (column.kind, column.decimals) == ("ordinal", 0)
    (fitted,) = fit_columns([column], table(c=["1", "3", "5", "1000000"]))
    assert (fitted.kind, fitted.mean) == ("ordinal", 4.0)
    assert fitted.scale < 1e6
    (fitted,) = fit_columns([column], table(c=["0"] * 9 + ["7"]))
    assert (fitted.mean, fitted.scale) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("kind", "cell", "told"),
    [
        ("ordinal", "2.5", "'2.5' in row 4 is not a whole number"),
        ("ordinal", "inf", "'inf' in row 4 is not a whole number"),
        ("ordinal", "many", "'many' in row 4 is not a whole number"),
        ("number", "many", "'many' in row 4 is not a number"),
    ],
)
def test_cells_that_are_not_of_the_kind(kind, cell, told):
    cells = [str(i % 5) for i in range(N)]
    cells[3] = cell
    with pytest.raises(DataError, match="'c'") as caught:
        infer_columns(table(good=NUMBERS, c=cells), kinds={"c": ColumnConfig(kind=kind)})
    assert told in str(caught.value)


def test_a_kind_of_no_column_is_a_mistake_of_the_config():
    with pytest.raises(ConfigError, match=r"data\.kinds: .*'d'"):
        infer_columns(table(c=NUMBERS), kinds={"d": ColumnConfig(kind="label")})


def test_a_unit_alone_leaves_the_kind_to_be_inferred():
    columns = infer_columns(table(c=NUMBERS, d=["00501", "94110"] * (N // 2)), kinds={"c": ColumnConfig(unit="mm")})
    assert [(column.kind, column.unit) for column in columns] == [("number", "mm"), ("label", "")]
    assert inferred(["x", "y"] * (N // 2), kinds={"c": ColumnConfig(unit="mm")}).kind == "label"
    both = inferred(NUMBERS, kinds={"c": ColumnConfig(unit="mm", lower=-100)})
    assert (both.unit, both.lower) == ("mm", -100)
    assert Column.of(both.as_json()) == both


def test_a_unit_is_of_numbers():
    assert ColumnConfig(kind="ordinal", unit="rooms").unit == "rooms"
    for kind in ("label", "date"):
        with pytest.raises(ValueError, match="unit"):
            ColumnConfig(kind=kind, unit="mm")
