"""FlowDensity among scikit-learn's own tools."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from flowcli import FlowDensity
from flowcli.errors import ConfigError

SHORT: dict[str, Any] = {"train": {"epochs": 2}}
# What an estimator does around its model does not depend on the model.
SMALLEST: dict[str, Any] = {"flow": {"transforms": ["triangular_affine"]}, "train": {"epochs": 1}}
# The Gaussian that training starts from.
UNTRAINED: dict[str, Any] = {"train": {"epochs": 0}}


def short(**options: Any) -> FlowDensity:
    return FlowDensity(SHORT, random_state=0, device="cpu", **options)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(0).multivariate_normal([1, -2], [[1, 0.8], [0.8, 2]], size=300)


@pytest.fixture(scope="module")
def mixed(rows: np.ndarray) -> pd.DataFrame:
    words = np.random.default_rng(1).choice(["u", "v"], len(rows))
    return pd.DataFrame({"a": rows[:, 0], "b": rows[:, 1], "word": words, "same": 3})


def test_scikit_learns_own_checks() -> None:
    with warnings.catch_warnings():
        # One check is for estimators that compute on arrays of other libraries, and passes over all others.
        warnings.filterwarnings("ignore", message="Skipping check check_array_api_input")
        done = check_estimator(FlowDensity(SMALLEST, device="cpu"), on_fail="raise")
    assert len(done) > 30
    assert {check["check_name"] for check in done if check["status"] != "passed"} <= {"check_array_api_input"}


def test_it_finds_the_density_as_kernel_density_does(rows: np.ndarray) -> None:
    new = np.random.default_rng(2).multivariate_normal([1, -2], [[1, 0.8], [0.8, 2]], size=2000)
    truth = multivariate_normal([1, -2], [[1, 0.8], [0.8, 2]]).logpdf(new)
    density = FlowDensity("gaussian", random_state=0, device="cpu").fit(rows)
    scores = density.score_samples(new)
    assert scores.mean() == pytest.approx(truth.mean(), abs=0.02)
    assert density.score(new) == pytest.approx(scores.sum())
    kernel = KernelDensity().fit(rows)
    assert density.score(new) > kernel.score(new)
    assert scores.shape == kernel.score_samples(new).shape
    assert density.sample(5).shape == kernel.sample(5).shape
    drawn = density.sample(20_000, random_state=0)
    np.testing.assert_allclose(drawn.mean(axis=0), [1, -2], atol=0.15)
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(0.8 / np.sqrt(2), abs=0.05)


def test_no_row_is_kept_for_a_test_unless_the_config_says_so(rows: np.ndarray) -> None:
    counts = short().fit(rows).model_.header.metrics["rows"]
    assert counts == {"training": 300, "validation": 0, "test": 0}
    config = {**UNTRAINED, "data": {"test": 0.5, "validation": 0.25}}
    counts = FlowDensity(config, device="cpu").fit(rows).model_.header.metrics["rows"]
    assert counts == {"training": 75, "validation": 75, "test": 150}
    assert short().fit(rows[:4]).model_.header.metrics["rows"] == {"training": 4, "validation": 0, "test": 0}


def test_random_state(rows: np.ndarray) -> None:
    one, two = (short().fit(rows).score_samples(rows) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    state = np.random.RandomState(3)
    seeds = {
        FlowDensity({**UNTRAINED, "seed": 9}, random_state=each, device="cpu").fit(rows).model_.header.config.seed
        for each in (state, state, None, None)
    }
    assert len(seeds) == 3
    assert 9 in seeds
    density = short().fit(rows)
    np.testing.assert_array_equal(density.sample(3, random_state=1), density.sample(3, random_state=1))
    assert (density.sample(3) != density.sample(3)).any()


@pytest.mark.parametrize("to", [lambda f: f, pl.from_pandas, pa.Table.from_pandas], ids=["pandas", "polars", "pyarrow"])
def test_frames_keep_their_kind_and_their_columns(mixed: pd.DataFrame, to: Any) -> None:
    frame = to(mixed)
    density = short().fit(frame)
    assert density.n_features_in_ == 4
    assert list(density.feature_names_in_) == ["a", "b", "word", "same"]
    drawn = density.sample(20, random_state=0)
    assert type(drawn) is type(frame)
    assert drawn.shape == (20, 4)
    assert np.isfinite(density.score_samples(drawn)).all()
    assert density.score_samples(frame).shape == (len(frame),)


def test_an_array_has_as_many_columns_in_samples(rows: np.ndarray) -> None:
    # Whole numbers that count the rows, and one and the same number, are modelled and given back like others.
    array = np.column_stack([rows, np.arange(len(rows)), np.full(len(rows), 2.5)])
    drawn = short().fit(array).sample(30, random_state=0)
    assert drawn.shape == (30, 4)
    assert drawn.dtype == np.float64
    assert (drawn[:, 3] == 2.5).all()


def test_holes_are_modelled(rows: np.ndarray) -> None:
    holed = rows.copy()
    holed[::5, 0] = np.nan
    density = short().fit(holed)
    assert np.isfinite(density.score_samples(holed)).all()
    drawn = density.sample(2000, random_state=0)
    assert np.isnan(drawn[:, 0]).mean() == pytest.approx(0.2, abs=0.06)
    with pytest.raises(ValueError, match="row 1, column 'x2': the cell is missing"):
        density.score_samples([[0.0, np.nan]])
    with pytest.raises(ValueError, match="infinity"):
        density.score_samples([[0.0, np.inf]])


def test_pipelines_searches_and_clones(rows: np.ndarray) -> None:
    pipeline = make_pipeline(StandardScaler(), FlowDensity("gaussian"))
    assert pipeline.fit(rows).score_samples(rows).shape == (300,)
    assert cross_val_score(FlowDensity("gaussian"), rows, cv=3).shape == (3,)
    skewed = np.exp(rows)
    plain, mapped = ({**UNTRAINED, "data": {"plain": plain}} for plain in (True, False))
    search = GridSearchCV(FlowDensity(random_state=0), {"config": [plain, mapped]}, cv=2).fit(skewed)
    assert search.best_params_ == {"config": mapped}
    assert search.score(skewed[:50]) == pytest.approx(search.score_samples(skewed[:50]).sum())
    copied = clone(search.best_estimator_)
    assert copied.get_params() == search.best_estimator_.get_params()
    with pytest.raises(NotFittedError):
        copied.score_samples(rows)


def test_it_is_pickled(rows: np.ndarray, tmp_path: Path) -> None:
    density = short().fit(rows)
    expected = density.score_samples(rows)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(density)).score_samples(rows), expected)
    joblib.dump((density, rows, expected), tmp_path / "density")
    code = "import joblib, sys; d, x, y = joblib.load(sys.argv[1]); print(abs(d.score_samples(x) - y).max() < 1e-9)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "density"], capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


def test_mistakes(rows: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=r"config: unknown key 'train\.epoch'"):
        FlowDensity({"train": {"epoch": 2}}).fit(rows)
    with pytest.raises(ConfigError, match="max_time"):
        FlowDensity(max_time="soon").fit(rows)
    with pytest.raises(ValueError, match="no column is left to model"):
        short().fit(np.ones((20, 2)))


def test_without_scikit_learn_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "sklearn").mkdir()
    (tmp_path / "sklearn" / "__init__.py").write_text("raise ImportError")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import flowcli; flowcli.FlowDensity"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip().endswith(
        "ImportError: flowcli.FlowDensity needs scikit-learn 1.6 or newer: pip install 'flowcli[sklearn]'"
    )
