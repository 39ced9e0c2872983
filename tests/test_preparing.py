"""A table that is too large to be kept is treated as one that is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import flowcli.tables.source as sources
from flowcli.config.load import load_config
from flowcli.errors import DataError
from flowcli.fitting import fit_table
from flowcli.preparing import Prepared, prepare, survey_for
from flowcli.tables.frames import as_table
from flowcli.tables.source import InFiles
from flowcli.tables.split import TEST, TRAINING, VALIDATION, Split

ROWS = 3000


def table(seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": random.normal(size=ROWS).round(4),
            "price": np.exp(random.normal(size=ROWS)).round(7),
            "kind": random.choice(["a", "b", "c"], ROWS),
        }
    )
    frame.loc[::50, "x"] = np.nan
    frame["kind"] = frame["kind"].astype(object)
    frame.loc[7, "kind"] = "rare"
    return frame


def prepared(files: list[str], most: int, *settings: str) -> tuple[Prepared, list[str]]:
    notes: list[str] = []
    source = InFiles(files)
    config = load_config(None, ["data.test=0.2", *settings])
    return prepare(source, survey_for(source, config, most), config, notes.append, lambda *_: None), notes


@pytest.fixture
def files(tmp_path) -> list[str]:
    """Two files that are one table."""
    frame = table()
    frame[:1000].to_csv(tmp_path / "a.csv", index=False)
    frame[1000:].to_csv(tmp_path / "b.csv", index=False)
    return [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]


@pytest.mark.parametrize("missing", ["model", "drop", "impute"])
def test_rows_of_a_table_that_is_not_kept(files, missing):
    found, notes = prepared(files, 2000, f"data.missing={missing}")
    frame = table()
    if missing == "drop":
        frame = frame[frame["x"].notna()]
    part_of = Split(0.1, 0.2, 0).parts(np.arange(len(frame)))
    assert found.test_rows.tolist() == (frame.index[part_of == TEST] + 1).tolist()
    for part, encoded in ((TRAINING, found.training), (VALIDATION, found.validation), (TEST, found.test)):
        expected = found.encoder.encode(as_table(frame[part_of == part]))
        for name in ("numbers", "labels", "ordinals", "context"):
            np.testing.assert_allclose(
                np.asarray(getattr(encoded, name)), getattr(expected, name), rtol=1e-6, atol=1e-6, err_msg=name
            )
    # Columns and scales are those of the table in memory, nearly.
    whole, other_notes = prepared(files, 10 * ROWS, f"data.missing={missing}")
    assert notes == other_notes
    assert [c.name for c in found.encoder.columns] == [c.name for c in whole.encoder.columns]
    assert found.encoder.numbers[0].scale == pytest.approx(whole.encoder.numbers[0].scale, rel=0.1)
    assert whole.encoder.columns[1].lower == found.encoder.columns[1].lower == 0
    assert "rare" in found.encoder.columns[2].categories


class Counted:
    """A source that counts how often it is read."""

    def __init__(self, source):
        self.source, self.passes = source, 0

    def chunks(self):
        self.passes += 1
        yield from self.source.chunks()


def test_statistics_take_one_pass(files):
    source = Counted(InFiles(files))
    config = load_config(None, [])
    surveyed = survey_for(source, config, 500)
    assert source.passes == 1
    prepare(source, surveyed, config, lambda note: None, lambda *_: None)
    # The second encodes the rows.
    assert source.passes == 2


def test_first_rows_that_mislead(tmp_path):
    """A column of dates whose first rows are ambiguous, and one whose first rows are all the same."""
    days = pd.date_range("2001-01-01", periods=ROWS)
    frame = pd.DataFrame({"day": days.strftime("%d/%m/%Y"), "x": np.arange(ROWS, dtype=float) ** 0.5, "flat": 7})
    frame.loc[:1499, "day"] = "01/02/2001"
    frame.loc[2000:, "flat"] = np.arange(1000) % 17
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    found, _ = prepared([str(path)], 700, "data.test=0.0", "data.validation=0.0")
    day, _, flat = found.encoder.columns
    assert (day.date_format, flat.kind) == ("%d/%m/%Y", "number")
    # The last day is the training rows' largest value, though it need not be in the sample.
    last = (pd.Timestamp(days[-1]) - pd.Timestamp("1970-01-01")).days
    largest = float(found.training.numbers[:, 0].max()) * day.scale + day.mean
    assert largest == pytest.approx(last, abs=0.01)


def test_more_labels_than_the_sample_shows(tmp_path):
    random = np.random.default_rng(0)
    words = [f"w{k}" for k in range(3000)]
    frame = pd.DataFrame({"x": random.normal(size=30_000), "word": random.choice(words[:3], 30_000)})
    frame.loc[::10, "word"] = words
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    found, notes = prepared([str(path)], 1000)
    assert found.encoder.columns[1].kind == "identifier"
    assert any("'word' is left out: text with more than 1,000 values" in note for note in notes)
    with pytest.raises(DataError, match=r"t\.csv: column 'word' cannot be given: text with more than 1,000 values"):
        prepared([str(path)], 1000, "data.context=[word]")


def test_what_only_the_rest_shows(tmp_path):
    """A hole, the largest value and a label that the sample has not."""
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=ROWS), "kind": "a"})
    frame.loc[ROWS // 2 :, "kind"] = "b"
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    source = InFiles([str(path)])
    kept = set(survey_for(source, load_config(None, []), 300).index.tolist())
    training = np.flatnonzero(Split(0.0, 0.2, 0).parts(np.arange(ROWS)) == TRAINING)
    # Beyond the first rows, from which the columns are guessed.
    first, second, third = sorted(set(training[training > 700].tolist()) - kept)[:3]
    frame.loc[first, "x"] = 1e6
    frame.loc[second, "x"] = np.nan
    frame.loc[third, "kind"] = "c"
    frame.to_csv(path, index=False)
    found, notes = prepared([str(path)], 300, "data.validation=0.0")
    assert any("'x' 1" in note for note in notes)
    assert found.encoder.columns[1].categories == ("a", "b", "c")
    assert float(found.training.numbers[:, 0].max()) * found.encoder.numbers[0].scale > 9e5
    frame["x"] = frame["x"].astype(object)
    frame.loc[first, "x"] = "many"
    frame.to_csv(path, index=False)
    with pytest.raises(DataError, match=rf"t\.csv: row {first + 1}, column 'x': 'many' is not a number"):
        prepared([str(path)], 300, "data.validation=0.0")


def test_a_fit_of_a_table_that_is_not_kept(files, monkeypatch):
    monkeypatch.setattr(sources, "MOST_ROWS_IN_MEMORY", 500)
    monkeypatch.setattr("flowcli.preprocess.spool.MOST_ROWS_IN_MEMORY", 500)
    monkeypatch.setattr("flowcli.training.batches.BLOCK_ROWS", 64)
    monkeypatch.setattr("flowcli.training.batches.BLOCKS_MIXED", 8)
    source = InFiles(files)
    config = load_config(None, ["train.epochs=3"])
    fitted = fit_table(source, config, surveyed=survey_for(source, config, 500))
    assert np.isfinite(fitted.test_log_prob).all()
    # The rows are those of the file, by their numbers.
    frame = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
    scores = fitted.model.log_prob(frame.iloc[fitted.test_rows - 1])
    np.testing.assert_allclose(scores, fitted.test_log_prob, atol=1e-9)


@pytest.mark.parametrize("row", [100, 1500, 2900])
def test_a_hole_of_an_ordinal_is_refused_wherever_it_is(tmp_path, row):
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=ROWS), "c": np.arange(ROWS) % 9}).astype(object)
    frame.loc[row, "c"] = ""
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(DataError, match=r"'c'.*missing cells, which an ordinal cannot have"):
        prepared([str(path)], 500, "data.kinds={c: ordinal}")


def test_too_many_labels_of_a_column_that_is_to_be_labels(tmp_path):
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=ROWS), "word": [f"w{k}" for k in range(ROWS)]})
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(DataError, match=r"'word' cannot be labels: text with more than 1,000 values"):
        prepared([str(path)], 500, "data.kinds={word: label}")


@pytest.mark.parametrize("most", [500, 10 * ROWS])
@pytest.mark.parametrize("missing", ["impute", "drop"])
def test_holes_of_an_ordinal_can_be_filled_or_dropped(tmp_path, missing, most):
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=ROWS), "c": np.arange(ROWS) % 9}).astype(object)
    frame.loc[::100, "c"] = ""
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    found, _ = prepared([str(path)], most, "data.kinds={c: ordinal}", f"data.missing={missing}")
    column = found.encoder.ordinals[0]
    values = np.concatenate([found.training.ordinals[:, 0], found.validation.ordinals[:, 0], found.test.ordinals[:, 0]])
    assert len(values) == (ROWS if missing == "impute" else ROWS - ROWS // 100)
    # The median of the digits from 0 to 8.
    expected = frame["c"].replace("", 4)[(frame["c"] != "") | (missing == "impute")].astype(float)
    assert sorted(values + column.mean) == sorted(expected)
