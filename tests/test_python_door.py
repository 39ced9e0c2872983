"""flowcli from Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import flowcli
from flowcli.errors import ConfigError, DataError, FlowcliError, UsageError


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    x = generator.normal(size=200)
    return pd.DataFrame(
        {"x": x, "y": 2 * x + generator.normal(size=200), "kind": generator.choice(["a", "b"], 200)},
        index=generator.permutation(200),
    )


def test_importing_it_is_light() -> None:
    code = "import sys, flowcli; print([m for m in ('torch', 'pyro', 'pandas', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_fit_score_sample_save_load(frame: pd.DataFrame, tmp_path: Path) -> None:
    model = flowcli.fit(frame, device="cpu", train__epochs=3, seed=1)
    log_prob = model.log_prob(frame)
    assert log_prob.shape == (200,)
    assert np.isfinite(log_prob).all()
    assert model.header.metrics["test_log_likelihood"]["n"] == 20
    sample = model.sample(30, seed=0)
    assert isinstance(sample, pd.DataFrame)
    assert list(sample) == list(frame)
    assert set(sample["kind"]) <= {"a", "b"}
    path = tmp_path / "model.safetensors"
    path.write_bytes(model.to_bytes())
    for named in (path, str(path), tmp_path):
        assert np.array_equal(flowcli.load(named, device="cpu").log_prob(frame), log_prob)


def test_settings(frame: pd.DataFrame) -> None:
    model = flowcli.fit(frame, "gaussian", device="cpu", data__context=["kind"], data__test=0.2, seed=7)
    config = model.header.config
    assert (config.data.context, config.data.test, config.seed, config.train.epochs) == (["kind"], 0.2, 7, 0)
    with pytest.raises(UsageError, match="kind"):
        model.sample(3)
    given = model.sample(3, given=pd.DataFrame({"kind": ["a", "b"]}), seed=0)
    assert given["kind"].tolist() == ["a"] * 3 + ["b"] * 3


def test_flags_and_nothing_are_settings_too(frame: pd.DataFrame) -> None:
    model = flowcli.fit(frame, "gaussian", device="cpu", train__max_time=None, train__decay="none")
    assert model.header.config.train.max_time is None
    assert model.header.config.train.decay == "none"


def test_the_same_call_gives_the_same_model(frame: pd.DataFrame) -> None:
    one, two = (flowcli.fit(frame, device="cpu", train__epochs=2).log_prob(frame) for _ in range(2))
    assert np.array_equal(one, two)


def test_the_frame_stays_as_it_is(frame: pd.DataFrame) -> None:
    before = frame.copy(deep=True)
    flowcli.fit(frame, "gaussian", device="cpu").log_prob(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_mistakes_are_flowclis_errors(frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.epoch"):
        flowcli.fit(frame, device="cpu", train__epoch=3)
    with pytest.raises(UsageError, match="gausian"):
        flowcli.fit(frame, "gausian", device="cpu")
    with pytest.raises(DataError, match="no rows"):
        flowcli.fit(frame.head(0), device="cpu")
    with pytest.raises(UsageError, match="nowhere"):
        flowcli.load(tmp_path / "nowhere")
    model = flowcli.fit(frame, "gaussian", device="cpu")
    with pytest.raises(DataError, match="no column 'y'"):
        model.log_prob(frame[["x", "kind"]])
    with pytest.raises(FlowcliError, match="DataFrame"):
        model.log_prob([[1, 2, "a"]])  # type: ignore[arg-type]


def test_a_frame_that_names_columns_by_number() -> None:
    values = np.random.default_rng(0).normal(size=(100, 2))
    model = flowcli.fit(pd.DataFrame(values), "gaussian", device="cpu")
    assert np.isfinite(model.log_prob(pd.DataFrame(values))).all()
