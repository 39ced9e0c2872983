"""Columns as people have them, from a fit to scores and samples."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import flowcli
from flowcli.conditioning import settable
from flowcli.errors import ConfigError, DataError
from flowcli.model import Model
from flowcli.tables.frames import as_table

DATA = Path(__file__).resolve().parent.parent / "data"
QUICK = {"train__epochs": 3, "train__batch_size": 256}
N = 800


def made(seed: int = 0) -> pd.DataFrame:
    """A label with holes, an amount that is often 0, sometimes missing and never negative, and a rounded number."""
    random = np.random.default_rng(seed)
    kind = random.choice(["a", "b"], N, p=[0.7, 0.3]).astype(object)
    amount = np.where(random.random(N) < 0.4, 0.0, np.round(random.lognormal(size=N), 9))
    amount[random.random(N) < 0.1] = np.nan
    height = np.round(random.normal(10, 1, N) + np.nan_to_num(amount), 1)
    kind[random.random(N) < 0.05] = None
    return pd.DataFrame({"kind": kind, "amount": amount, "height": height})


@pytest.fixture(scope="module")
def model() -> Model:
    return flowcli.fit(made(), flow={"base": "normal"}, **QUICK)


def columns(model: Model) -> dict:
    return {column.name: column for column in model.header.columns}


def test_each_column_is_what_it_is(model: Model) -> None:
    found = columns(model)
    assert found["kind"].missing
    assert (found["amount"].spikes, found["amount"].missing, found["amount"].lower) == ((0.0,), True, 0.0)
    assert found["height"].step == pytest.approx(0.1)


def test_the_whole_is_one(model: Model) -> None:
    """Sums over labels and states, integrals over numbers."""
    heights = np.linspace(0, 45, 600)
    amounts = np.exp(np.linspace(math.log(1e-4), math.log(200), 600))
    total = 0.0
    for kind in ("a", "b", None):
        for amount in (0.0, np.nan):
            frame = pd.DataFrame({"kind": kind, "amount": amount, "height": heights})
            total += np.trapezoid(np.exp(model.log_prob(frame)), heights)
        grid = pd.DataFrame(
            {"kind": kind, "amount": np.repeat(amounts, len(heights)), "height": np.tile(heights, len(amounts))}
        )
        density = np.exp(model.log_prob(grid)).reshape(len(amounts), len(heights))
        total += np.trapezoid(np.trapezoid(density, heights, axis=1), amounts)
    assert total == pytest.approx(1, abs=1e-3)


def test_a_pattern_has_its_probability(model: Model) -> None:
    """By integrating the rest: how often the amount is missing, as in the training rows."""
    heights = np.linspace(0, 45, 1000)
    missing = 0.0
    for kind in ("a", "b", None):
        frame = pd.DataFrame({"kind": kind, "amount": np.nan, "height": heights})
        missing += np.trapezoid(np.exp(model.log_prob(frame)), heights)
    assert missing == pytest.approx(made()["amount"].isna().mean(), abs=0.03)


def test_samples_look_like_the_table(model: Model) -> None:
    drawn = model.sample(4000, seed=1)
    data = made()
    assert list(drawn) == list(data)
    assert (drawn["amount"] == 0).mean() == pytest.approx((data["amount"] == 0).mean(), abs=0.05)
    assert drawn["amount"].isna().mean() == pytest.approx(data["amount"].isna().mean(), abs=0.04)
    assert drawn["kind"].isna().mean() == pytest.approx(data["kind"].isna().mean(), abs=0.03)
    assert drawn["amount"].min() >= 0
    np.testing.assert_allclose(drawn["height"] * 10, np.round(drawn["height"] * 10), atol=1e-6)


def test_beyond_a_bound_the_density_is_zero(model: Model) -> None:
    frame = pd.DataFrame({"kind": "a", "amount": [-1.0, 1.0], "height": 10.0})
    scores = model.log_prob(frame)
    assert scores[0] == -np.inf
    assert np.isfinite(scores[1])
    with pytest.raises(DataError, match="row 1: a number is beyond"):
        model.encode(frame)


def test_encode_and_decode(model: Model) -> None:
    rows = made().head(200)
    latent = model.encode(rows)
    held = rows["amount"].notna() & (rows["amount"] != 0)
    assert latent[["z1", "z2"]].isna().sum(axis=1).tolist() == (~held).astype(int).tolist()
    back = model.decode(latent)
    np.testing.assert_allclose(back["amount"], rows["amount"], rtol=1e-6)
    np.testing.assert_allclose(back["height"], rows["height"], rtol=1e-6)
    assert back["kind"].fillna("-").tolist() == rows["kind"].fillna("-").tolist()
    wrong = latent.assign(amount="0")
    with pytest.raises(DataError, match="latents"):
        model.decode(wrong)


def test_the_score_is_that_of_the_bin() -> None:
    """On a grid, the density at a value is its average over the step: nothing is gained by narrowing onto it."""
    frame = pd.read_csv(DATA / "iris.csv")
    numbers = list(frame.columns[:4])
    model = flowcli.fit(frame, flow={"base": "normal"}, train__epochs=100, data__test=0.3)
    test = frame.sample(frac=0.3, random_state=0)
    random = np.random.default_rng(0)
    moved = pd.concat([test] * 400)
    moved[numbers] += random.uniform(-0.05, 0.05, (len(moved), 4))
    near = np.exp(model.log_prob(moved)).reshape(400, len(test))
    assert model.log_prob(test).mean() == pytest.approx(np.log(np.mean(near, axis=0)).mean(), abs=0.05)


def test_holes_are_dropped_filled_or_refused() -> None:
    data = made()
    dropped = flowcli.fit(data, data__missing="drop", **QUICK)
    assert sum(dropped.header.metrics["rows"].values()) == len(data.dropna())
    assert not any(column.missing for column in dropped.header.columns)
    with pytest.raises(DataError, match="missing"):
        dropped.log_prob(data)
    filled = flowcli.fit(data, data__missing="impute", **QUICK)
    assert np.isfinite(filled.log_prob(data)).all()
    as_filled = data.assign(
        kind=data["kind"].fillna("a"), amount=data["amount"].fillna(float(columns(filled)["amount"].fill))
    )
    np.testing.assert_allclose(filled.log_prob(data), filled.log_prob(as_filled), atol=1e-9)
    with pytest.raises(DataError, match=r"'kind' .* 'amount'"):
        flowcli.fit(data, data__missing="error", **QUICK)


def test_a_flow_that_mixes_all_columns_refuses_holes_and_leaves_spikes_be() -> None:
    data = made()
    with pytest.raises(ConfigError, match=r"lu_linear cannot leave out .*'amount'"):
        flowcli.fit(data, flow={"transforms": ["lu_linear"]}, **QUICK)
    model = flowcli.fit(data, flow={"transforms": ["lu_linear"]}, data__missing="drop", **QUICK)
    assert columns(model)["amount"].spikes == ()


def test_given_columns_may_have_holes() -> None:
    model = flowcli.fit(made(), data__context=["amount", "kind"], **QUICK)
    scores = model.log_prob(pd.DataFrame({"kind": ["a", None], "amount": [np.nan, 2.0], "height": [10.0, 12.0]}))
    assert np.isfinite(scores).all()
    drawn = model.sample(3, pd.DataFrame({"kind": [None], "amount": [np.nan]}), seed=0)
    assert drawn["kind"].isna().all()
    assert drawn["height"].notna().all()


def test_dates_come_back_as_dates() -> None:
    random = np.random.default_rng(0)
    days = [dt.date(2020, 1, 1) + dt.timedelta(days=int(d)) for d in random.integers(0, 300, 400)]
    times = pd.to_datetime("2021-01-01") + pd.to_timedelta(random.integers(0, 10**6, 400), unit="s")
    text = [f"{day:%d.%m.%Y}" for day in days]
    frame = pd.DataFrame({"day": days, "time": times, "text": text, "x": random.normal(size=400)})
    model = flowcli.fit(frame, **QUICK)
    found = columns(model)
    assert [found[name].kind for name in ("day", "time", "text")] == ["date"] * 3
    drawn = model.sample(50, seed=0)
    assert isinstance(drawn["day"][0], dt.date)
    assert drawn["time"].dtype.kind == "M"
    parsed = pd.to_datetime(drawn["text"], format="%d.%m.%Y")
    assert parsed.between("2019-01-01", "2021-12-31").all()
    # In days: the same day, written otherwise, is the same number.
    assert np.isfinite(model.log_prob(frame)).all()


def test_labels_keep_their_types() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "flag": random.random(300) < 0.3,
            "yes": random.integers(0, 2, 300),
            "code": random.choice([1.5, 2.5], 300),
            "x": random.normal(size=300),
        }
    )
    model = flowcli.fit(frame, data__kinds={"code": "label"}, **QUICK)
    drawn = model.sample(30, seed=0)
    assert [drawn[name].dtype.kind for name in ("flag", "yes", "code")] == ["b", "i", "f"]
    assert np.isfinite(model.log_prob(drawn)).all()
    assert np.isfinite(model.log_prob(frame.assign(yes=frame["yes"].astype(float)))).all()


def test_identifiers_are_left_out_and_told() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"id": np.arange(1, 201), "name": [f"n{i}" for i in range(200)], "x": random.normal(size=200)})
    model = flowcli.fit(frame, **QUICK)
    assert list(model.sample(3, seed=0)) == ["x"]
    assert np.isfinite(model.log_prob(frame[["x"]])).all()


def test_what_no_training_row_had_is_not_impossible() -> None:
    """A count beyond those seen, in a column where each of those has a probability of its own."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"n": random.choice([1, 2, 3], 600), "x": random.normal(size=600)})
    model = flowcli.fit(frame, **QUICK)
    assert set(columns(model)["n"].spikes) == {1.0, 2.0, 3.0}
    scores = model.log_prob(pd.DataFrame({"n": [2, 4], "x": [0.0, 0.0]}))
    assert scores[0] > scores[1] > -20


def test_factors_of_columns_with_states() -> None:
    """A number with holes as a parent, and as a factor of its own: the joint is still one."""
    data = made()
    factors = [
        {"columns": ["amount", "kind"], "transforms": ["affine"]},
        {"columns": ["height"], "given": ["amount"], "transforms": [{"spline": {"hidden": [8]}}]},
    ]
    model = flowcli.fit(data, flow={"factors": factors}, **QUICK)
    heights = np.linspace(-20, 60, 3000)
    frame = pd.DataFrame({"kind": "a", "amount": np.nan, "height": heights})
    integral = np.trapezoid(np.exp(model.log_prob(frame)), heights)
    share = (data["amount"].isna() & (data["kind"] == "a")).mean()
    assert integral == pytest.approx(share, abs=0.04)
    assert model.sample(500, seed=0)["amount"].isna().mean() == pytest.approx(data["amount"].isna().mean(), abs=0.06)


def test_a_factor_can_be_set() -> None:
    """The rest is drawn given it, whatever the kind of column; what is not a whole factor from the root is not set."""
    random = np.random.default_rng(0)
    x = random.normal(size=N)
    frame = pd.DataFrame({"y": 10 * x + random.normal(size=N), "x": x, "u": random.normal(size=N)})
    factors = [
        {"columns": ["x"], "transforms": ["affine"]},
        {"columns": ["u"], "transforms": ["affine"]},
        {"columns": ["y"], "given": ["x"], "transforms": ["triangular_affine"]},
    ]
    model = flowcli.fit(frame, flow={"factors": factors}, train__epochs=0)
    flow = model.header.config.flow
    assert settable(flow, model.header.columns, ["x"]) == ["x"]
    assert settable(flow, model.header.columns, ["y"]) == []
    assert set(settable(flow, model.header.columns, ["y", "x"])) == {"x", "y"}
    drawn = pa.concat_tables(model.sample_chunks(3000, seed=0, set_to={"x": "1.25"})).to_pandas()
    assert (drawn["x"] == 1.25).all()
    assert drawn["y"].mean() == pytest.approx(12.5, abs=0.15)
    assert drawn["y"].std() == pytest.approx(1, abs=0.1)
    # What does not hang on it is drawn as ever.
    free = model.sample(3000, seed=0)
    np.testing.assert_array_equal(drawn["u"], free["u"])


def test_rows_outside_are_as_they_are_for_the_baseline() -> None:
    """Scoring encoded rows leaves them as they were: what compares with the model sees the same numbers."""
    model = flowcli.fit(made(), **QUICK)
    rows = pd.DataFrame({"kind": "a", "amount": [-3.0, 2.0], "height": 10.0})
    encoded = model.encoder.encode(as_table(rows))
    before = encoded.numbers.copy()
    assert model.score_encoded(encoded).tolist() == model.log_prob(rows).tolist()
    np.testing.assert_array_equal(encoded.numbers, before)
