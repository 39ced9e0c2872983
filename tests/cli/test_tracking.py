"""Fits that are tracked by TensorBoard and MLflow."""

import json

import pandas as pd
import pytest

FIT = ["-c", "maf", "-s", "train.epochs=3", "-o", "runs/one", "-q"]
SHOWN = {
    "log_likelihood/training": "training_log_likelihood",
    "log_likelihood/validation": "validation_log_likelihood",
    "learning_rate": "learning_rate",
}


def figures(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    return pd.read_csv(folder / "history.csv"), metrics


def events(folder):
    """The scalars of the event files of a folder, by tag, as (step, value); and its texts."""
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = loading.EventAccumulator(str(folder))
    found.Reload()
    tags = found.Tags()
    scalars = {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in tags["scalars"]}
    return scalars, [found.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in tags["tensors"]]


@pytest.mark.filterwarnings("ignore")  # its libraries' own
def test_tensorboard_has_the_history_and_the_figures(cli, tmp_path, iris):
    pytest.importorskip("tensorboard")
    done = cli("fit", iris, *FIT, "--track", "tensorboard")
    assert (done.status, done.out) == (0, "runs/one\n"), done.err
    folder = tmp_path / "runs" / "one"
    history, metrics = figures(folder)
    scalars, texts = events(folder)
    for tag, column in SHOWN.items():
        assert [step for step, _ in scalars[tag]] == history["epoch"].tolist() == [1, 2, 3]
        assert [value for _, value in scalars[tag]] == pytest.approx(history[column].tolist(), rel=1e-6)
    test, gaussian = metrics["test_log_likelihood"], metrics["baselines"]["gaussian"]
    assert scalars["test/log_likelihood"] == [(3, pytest.approx(test["mean"], rel=1e-6))]
    assert scalars["test/standard_error"] == [(3, pytest.approx(test["standard_error"], rel=1e-6))]
    assert scalars["test_gaussian_baseline/log_likelihood"] == [(3, pytest.approx(gaussian["mean"], rel=1e-6))]
    assert any("affine_autoregressive" in text for text in texts)
    assert any(f"parameters: {metrics['parameters']}" in text for text in texts)
    # Another run in the folder is shown alone.
    assert cli("fit", iris, *FIT, "-s", "train.epochs=2", "--track", "tensorboard", "--force").status == 0
    assert len(events(folder)[0]["learning_rate"]) == 2


@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_the_history_the_figures_and_the_files(cli, tmp_path, iris, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    done = cli("fit", iris, *FIT, "--track", "mlflow")
    assert (done.status, done.out) == (0, "runs/one\n"), done.err
    history, metrics = figures(tmp_path / "runs" / "one")
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("flowcli").experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "one")
    for key, column in SHOWN.items():
        logged = sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, key))
        assert logged == [
            (step, pytest.approx(value)) for step, value in zip(history["epoch"], history[column], strict=True)
        ]
    assert run.data.metrics["test/log_likelihood"] == pytest.approx(metrics["test_log_likelihood"]["mean"])
    assert run.data.params["parameters"] == str(metrics["parameters"])
    assert run.data.params["train.epochs"] == "3"
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert names == {path.name for path in (tmp_path / "runs" / "one").iterdir()} - {"checkpoint.safetensors"}
    # A fit that comes to nothing before it trains leaves nothing there.
    assert cli("fit", iris, *FIT, "--force", "--drop", "nope", "--track", "mlflow").status != 0
    assert len(client.search_runs([run.info.experiment_id])) == 1


@pytest.mark.filterwarnings("ignore")
def test_a_tracker_that_cannot_be_reached_is_told_before_training(cli, tmp_path, iris, monkeypatch):
    pytest.importorskip("mlflow")
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "file" / "mlruns").as_uri())
    done = cli("fit", iris, *FIT, "--track", "mlflow")
    assert done.status == 1
    assert done.err.startswith("flowcli: --track mlflow: ")
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow"])
def test_a_package_that_is_missing_is_named(cli, tmp_path, iris, monkeypatch, tracker):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == tracker else find(name, *rest))
    done = cli("fit", iris, *FIT, "--track", tracker)
    assert done.status == 2
    assert f"pip install 'flowcli[{tracker}]'" in done.err
    assert not (tmp_path / "runs").exists()


def test_another_word_is_refused(cli, iris):
    done = cli("fit", iris, *FIT, "--track", "wandb")
    assert done.status == 2
    assert "tensorboard" in done.err


@pytest.mark.filterwarnings("ignore")
def test_a_tracker_that_fails_later_ends_no_fit(cli, tmp_path, iris, monkeypatch):
    pytest.importorskip("tensorboard")
    from flowcli.tracking import TensorBoardLog

    def full(self, values, step):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TensorBoardLog, "figures", full)
    done = cli("fit", iris, *FIT[:-1], "--track", "tensorboard")
    assert (done.status, done.out) == (0, "runs/one\n")
    assert done.err.count("--track tensorboard ends here") == 1
    assert "No space left" in done.err
