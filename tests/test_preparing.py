"""A table that is too large to be kept is treated as one that is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import flowcli.tables.source as sources
from flowcli.config.load import load_config
from flowcli.errors import DataError
from flowcli.fitting import fit_table
from flowcli.preparing import Prepared, prepare
from flowcli.tables.source import InFiles, survey

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
    return prepare(source, survey(source, most), config, notes.append, lambda *_: None), notes


@pytest.fixture
def files(tmp_path) -> list[str]:
    """Two files that are one table."""
    frame = table()
    frame[:1000].to_csv(tmp_path / "a.csv", index=False)
    frame[1000:].to_csv(tmp_path / "b.csv", index=False)
    return [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]


@pytest.mark.parametrize("missing", ["model", "drop", "impute"])
def test_parts_are_those_of_the_table_in_memory(files, missing):
    (whole, notes), (sampled, other_notes) = (
        prepared(files, most, f"data.missing={missing}") for most in (10 * ROWS, 2900)
    )
    assert notes == other_notes
    assert sampled.test_rows.tolist() == whole.test_rows.tolist()
    for part in ("training", "sample"):
        assert len(getattr(sampled, part)) <= len(getattr(whole, part))
    for name in ("labels", "ordinals", "context"):
        np.testing.assert_array_equal(getattr(sampled.training, name), getattr(whole.training, name))
        np.testing.assert_array_equal(getattr(sampled.test, name), getattr(whole.test, name))
    # Scales are those of the sample, nearly.
    column, other = (p.encoder.numbers[0] for p in (whole, sampled))
    back, same = (
        p.test.numbers[:, 0] * p.encoder.numbers[0].scale + p.encoder.numbers[0].mean for p in (whole, sampled)
    )
    there = table()["x"].notna().to_numpy()[whole.test_rows - 1]
    np.testing.assert_allclose(back[there], same[there], rtol=1e-9, atol=1e-12)
    assert other.scale == pytest.approx(column.scale, rel=0.1)
    assert whole.encoder.columns[1].lower == sampled.encoder.columns[1].lower == 0
    assert "rare" in sampled.encoder.columns[2].categories


def test_what_only_the_rest_shows(tmp_path):
    """A hole, the largest value and a label that the sample has not."""
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=ROWS), "kind": "a"})
    frame.loc[ROWS // 2 :, "kind"] = "b"
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    source = InFiles([str(path)])
    kept = set(survey(source, 300).index.tolist())
    training = set(range(ROWS)) - {int(row) - 1 for row in prepared([str(path)], 300)[0].test_rows} - kept
    first, second, third = sorted(training)[:3]
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
    monkeypatch.setattr("flowcli.preparing.MOST_ROWS_IN_MEMORY", 500)
    source = InFiles(files)
    config = load_config(None, ["train.epochs=3"])
    fitted = fit_table(source, config, surveyed=survey(source, 500))
    assert np.isfinite(fitted.test_log_prob).all()
    # The rows are those of the file, by their numbers.
    frame = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
    scores = fitted.model.log_prob(frame.iloc[fitted.test_rows - 1])
    np.testing.assert_allclose(scores, fitted.test_log_prob, atol=1e-9)
