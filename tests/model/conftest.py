"""Small tables, and a model of one of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flowcli.fitting import Fitted

from .cases import QUICK, fit

DATA = Path(__file__).resolve().parents[2] / "data"


@pytest.fixture(scope="session")
def mixed() -> pd.DataFrame:
    """Two numbers and two labels that hang together."""
    generator = np.random.default_rng(0)
    group = generator.choice(["a", "b", "c"], 400, p=[0.5, 0.3, 0.2])
    shift = pd.Series(group).map({"a": 0.0, "b": 4.0, "c": -3.0}).to_numpy()
    height = 100 + 10 * (shift + generator.normal(size=400))
    weight = np.exp(0.01 * height + 0.2 * generator.normal(size=400))
    size = np.where(height + 5 * generator.normal(size=400) > 105, "large", "small")
    return pd.DataFrame({"height": height, "group": group, "weight": weight, "size": size})


@pytest.fixture(scope="session")
def fitted(mixed: pd.DataFrame) -> Fitted:
    return fit(mixed, *QUICK)


@pytest.fixture(scope="session")
def iris() -> pd.DataFrame:
    return pd.read_csv(DATA / "iris.csv")


@pytest.fixture
def file(fitted: Fitted, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(fitted.model.to_bytes())
    return path
