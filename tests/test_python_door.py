"""flowcli from Python."""

from __future__ import annotations

import copy
import doctest
import logging
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module, resources
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import flowcli
from flowcli.errors import ConfigError, DataError, FlowcliError, ModelError, UsageError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    x = generator.normal(size=200)
    return pd.DataFrame(
        {"x": x, "y": 2 * x + generator.normal(size=200), "kind": generator.choice(["a", "b"], 200)},
        index=generator.permutation(200),
    )


def test_importing_it_is_light() -> None:
    code = (
        "import sys, flowcli; print([m for m in ('torch', 'pyro', 'pandas', 'numpy', 'sklearn') if m in sys.modules])"
    )
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
    model.save(path)
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


def test_a_config_as_a_mapping_a_file_and_a_preset(frame: pd.DataFrame, tmp_path: Path) -> None:
    mapping = {"flow": {"transforms": [{"affine_coupling": {"hidden": (8, np.int64(8))}}]}, "train": {"epochs": 1}}
    by_mapping = flowcli.fit(frame, mapping, device="cpu")
    assert mapping["flow"]["transforms"] == [{"affine_coupling": {"hidden": (8, 8)}}]
    file = tmp_path / "flow.yaml"
    file.write_text("flow: {transforms: [{affine_coupling: {hidden: [8, 8]}}]}\ntrain: {epochs: 1}\n")
    by_file = flowcli.fit(frame, file, device="cpu")
    assert by_mapping.header.config == by_file.header.config
    np.testing.assert_array_equal(by_mapping.log_prob(frame), by_file.log_prob(frame))
    with pytest.raises(ConfigError) as refused:
        flowcli.fit(frame, {"train": {"epoch": 1}, "dat": {}})
    assert refused.value.problems == [
        "config: unknown key 'train.epoch'. Did you mean 'epochs'?",
        "config: unknown key 'dat'. Did you mean 'data'?",
    ]
    with pytest.raises(UsageError, match="a config is a file, a preset's name or a mapping; got int"):
        flowcli.fit(frame, 3)  # type: ignore[arg-type]


def test_max_time(frame: pd.DataFrame) -> None:
    assert flowcli.fit(frame, max_time=0.01, device="cpu").header.metrics["stopped_by"] == "max_time"
    assert flowcli.fit(frame, "gaussian", max_time="2m").header.config.train.max_time == 120
    with pytest.raises(ConfigError, match=r"max_time: .*90s, 10m"):
        flowcli.fit(frame, max_time="soon")


def test_the_same_rows_in_any_library_give_the_same_model(frame: pd.DataFrame, tmp_path: Path) -> None:
    rows = frame.reset_index(drop=True)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    expected = flowcli.fit(rows, "gaussian", device="cpu").log_prob(rows)
    tables = [pl.from_pandas(rows), rows.to_dict("list"), tmp_path / "rows.csv", [str(tmp_path / "rows.csv")]]
    for table in tables:
        model = flowcli.fit(table, "gaussian", device="cpu")
        np.testing.assert_allclose(model.log_prob(table), expected, rtol=1e-9)
        np.testing.assert_allclose(model.log_prob(rows), expected, rtol=1e-9)
    assert model.header.data["files"] == [str(tmp_path / "rows.csv")]


def test_frames_give_frames_and_arrays_arrays(frame: pd.DataFrame) -> None:
    model = flowcli.fit(frame, "gaussian", device="cpu")
    latents = model.encode(frame)
    assert latents.index.equals(frame.index)
    pd.testing.assert_frame_equal(model.decode(latents), frame, check_dtype=False)
    polars = pl.from_pandas(frame)
    assert model.decode(model.encode(polars)).columns == polars.columns
    assert isinstance(model.sample(3, as_="polars"), pl.DataFrame)
    array = np.random.default_rng(0).normal(size=(100, 2))
    model = flowcli.fit(array, "gaussian", device="cpu")
    np.testing.assert_allclose(model.decode(model.encode(array)), array)
    assert model.sample(5, seed=0, as_="numpy").shape == (5, 2)
    with pytest.raises(DataError, match=r"no column 'x1' .* it has 'x', 'y', 'kind'"):
        model.log_prob(frame)


def test_an_array_has_no_column_of_row_numbers() -> None:
    counts = np.arange(40.0)
    assert flowcli.fit(counts, "gaussian", device="cpu").sample(2, as_="numpy").shape == (2, 1)


def test_what_is_given(frame: pd.DataFrame) -> None:
    model = flowcli.fit(frame, "gaussian", device="cpu", data__context=["kind", "x"])
    one = model.sample(3, given={"kind": "a", "x": 0.5}, seed=0)
    assert one[["kind", "x"]].to_numpy().tolist() == [["a", 0.5]] * 3
    given = pl.DataFrame({"kind": ["a", "b"], "x": [0.0, 1.0], "unused": [1, 2]})
    each = model.sample(2, given=given, seed=0)
    assert isinstance(each, pl.DataFrame)
    assert each["kind"].to_list() == ["a", "a", "b", "b"]
    with pytest.raises(UsageError, match="'y' not among the context columns, x, kind"):
        model.sample(1, given={"kind": "a", "x": 0.5, "y": 3})
    with pytest.raises(UsageError, match="give a value for x too"):
        model.sample(1, given={"kind": "a"})
    with pytest.raises(UsageError, match="no context columns"):
        flowcli.fit(frame, "gaussian", device="cpu").sample(1, given={"kind": "a"})
    for n, seed in ((-1, 0), (2.5, 0), (1, -1)):
        with pytest.raises(UsageError, match="is a whole number from 0 on"):
            model.sample(n, given=given, seed=seed)  # type: ignore[arg-type]


def test_a_model_is_pickled_as_the_contents_of_its_file(frame: pd.DataFrame, tmp_path: Path) -> None:
    model = flowcli.fit(frame, device="cpu", train__epochs=2)
    expected = model.log_prob(frame)
    content = pickle.dumps(model)
    assert b"torch" not in content.replace(model.to_bytes(), b"")
    for again in (pickle.loads(content), copy.deepcopy(model)):
        np.testing.assert_array_equal(again.log_prob(frame), expected)
        assert again.to_bytes() == model.to_bytes()
    frame.to_pickle(tmp_path / "frame")
    (tmp_path / "model").write_bytes(content)
    code = """if True:
        import pickle, sys, pandas as pd
        model, frame = (pickle.load(open(name, "rb")) for name in sys.argv[1:])
        print(repr(model.log_prob(frame).sum().item()))
    """
    arguments = [sys.executable, "-c", code, tmp_path / "model", tmp_path / "frame"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert float(done.stdout) == pytest.approx(expected.sum()), done.stderr
    start = content.index(model.to_bytes())
    damaged = content[: start + 500] + bytes([content[start + 500] ^ 1]) + content[start + 501 :]
    with pytest.raises(ModelError, match=r"^the pickled model: "):
        pickle.loads(damaged)


def test_a_loaded_model_is_pickled_by_its_file(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "here" / "model.safetensors"
    file.parent.mkdir()
    flowcli.fit(frame, "gaussian", device="cpu").save(file)
    monkeypatch.chdir(file.parent)
    model = flowcli.load(file.name, device="cpu")
    content = pickle.dumps(model)
    assert len(content) < 500
    # Wherever it is unpickled, and once, whatever threads ask for it.
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(pickle.loads, [content] * 8)
    assert all(other is first for other in others)
    np.testing.assert_array_equal(first.log_prob(frame), model.log_prob(frame))
    assert pickle.dumps(first) == content
    # In a process that has not read it: the same file, then another one, then none.
    code = """if True:
        import pickle, sys
        from flowcli.errors import ModelError
        try:
            print(pickle.load(sys.stdin.buffer).header.created)
        except ModelError as error:
            print(error)
    """

    def told() -> str:
        return subprocess.run([sys.executable, "-c", code], input=content, capture_output=True).stdout.decode().strip()

    assert told() == model.header.created
    flowcli.fit(frame, "gaussian", device="cpu", seed=1).save(file)
    assert told() == f"{file}: not the file any more that a model was pickled by: load it and send it again"
    file.unlink()
    assert told().startswith(f"{file}: a model was pickled by this file, which is missing here")


def test_saving(frame: pd.DataFrame, tmp_path: Path) -> None:
    model = flowcli.fit(frame, "gaussian", device="cpu")
    for _ in range(2):  # the second time it is replaced
        model.save(str(tmp_path / "model"))
    assert (tmp_path / "model").read_bytes() == model.to_bytes()
    with pytest.raises(FlowcliError, match="cannot be written"):
        model.save(tmp_path)


def test_what_people_should_know_is_logged(frame: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    holed = frame.assign(id=range(200), y=frame["y"].where(frame["y"] > 0))
    with caplog.at_level(logging.INFO, "flowcli"):
        flowcli.fit(holed, device="cpu", train__epochs=1)
    assert (
        "flowcli",
        logging.WARNING,
        "'id' is left out: whole numbers, different in every row",
    ) in caplog.record_tuples
    assert [record.levelname for record in caplog.records if "missing cells" in record.message] == ["INFO"]


def test_a_model_shows_its_columns(frame: pd.DataFrame) -> None:
    assert repr(flowcli.fit(frame, "gaussian", device="cpu")) == "Model of 3 columns: x, y, kind"


def test_types_are_shipped() -> None:
    assert resources.files("flowcli").joinpath("py.typed").is_file()
    assert {"FlowDensity", "fit", "load"} <= set(dir(flowcli))
    with pytest.raises(AttributeError, match="no attribute 'FlowDensities'"):
        _ = flowcli.FlowDensities


@pytest.mark.parametrize("module", ["flowcli", "flowcli.model", "flowcli.estimator"])
def test_the_examples_in_the_docstrings(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = doctest.testmod(import_module(module))
    assert done.attempted
    assert not done.failed


def test_the_examples_in_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 4
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile("".join(blocks), "README.md", "exec"), names)
    assert isinstance(names["drawn"], pd.DataFrame)
    assert len(names["drawn"]) == 1000
    assert (tmp_path / "iris.safetensors").is_file()
