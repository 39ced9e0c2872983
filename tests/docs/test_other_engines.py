"""The page on other engines, followed: each one's lines are run as they stand, by processes of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from running import environment, run_here

from flowcli.docs.generate import FOLDER

from .following import blocks

PAGE = FOLDER / "other_engines.md"
# How each engine hands out its table; in Dask's case by threads, unless it is told to use processes.
COLLECTED = {
    "pyspark": "scored.toPandas()",
    "dask.dataframe": "scored.compute(scheduler='processes', num_workers=2)",
    "ray.data": "scored.to_pandas()",
}


def _is_installed(engine: str) -> bool:
    try:
        return find_spec(engine) is not None and (engine != "pyspark" or shutil.which("java") is not None)
    except ImportError:
        return False


def test_every_engine_is_followed() -> None:
    sources = [source for _, source in blocks(PAGE, "python")]
    assert len(sources) == len(COLLECTED)
    assert all(engine in source for engine, source in zip(COLLECTED, sources, strict=True))


@pytest.mark.parametrize("engine", COLLECTED)
def test_it_scores_as_the_command_does(engine: str, iris: Path, gaussian_run: Path, tmp_path: Path) -> None:
    if not _is_installed(engine):
        pytest.skip(f"{engine} is not installed: pip install -e '.[engines-test]', and for Spark a Java")
    (tmp_path / "data").mkdir()
    shutil.copy(iris, tmp_path / "data")
    shutil.copytree(gaussian_run, tmp_path / "runs" / "iris")
    (source,) = (source for _, source in blocks(PAGE, "python") if engine in source)
    source += f"{COLLECTED[engine]}.to_csv('scored.csv', index=False)\n"
    env = environment(
        PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1", RAY_USAGE_STATS_ENABLED="0", RAY_NUM_CPUS="2"
    )
    done = subprocess.run([sys.executable, "-c", source], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    scored = pd.read_csv(tmp_path / "scored.csv")
    columns = [*pd.read_csv(iris).columns]
    assert [*scored.columns] == [*columns, "log_prob"]
    told = run_here("score", iris, "-m", gaussian_run, "--append")
    assert told.status == 0, told.err
    (tmp_path / "told.csv").write_text(told.out)
    # An engine may give the rows in another order.
    one, other = (table.sort_values([*columns, "log_prob"]) for table in (scored, pd.read_csv(tmp_path / "told.csv")))
    assert one[columns].to_numpy().tolist() == other[columns].to_numpy().tolist()
    np.testing.assert_allclose(one.log_prob, other.log_prob, rtol=0, atol=1e-9)
