"""The trained model: numbers in the data's own units, and a file that survives or is refused."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load, save
from scipy.stats import multivariate_normal

from flowcli.config.load import dump_config, load_config
from flowcli.errors import DataError, ModelError
from flowcli.fitting import Fitted, fit_table
from flowcli.flows.flow import Flow
from flowcli.model import Model
from flowcli.tables.table import from_dataframe

DATA = Path(__file__).resolve().parent.parent / "data"
QUICK = ("train.epochs=5", "seed=3")
ALL_ROWS = ("data.validation=0.0", "data.test=0.0")


def fit(frame: pd.DataFrame, *settings: str, config: str | None = None) -> Fitted:
    return fit_table(from_dataframe(frame), load_config(config, list(settings)), device="cpu")


def weights(model: Model) -> dict[str, torch.Tensor]:
    return model.density.state_dict()


@pytest.fixture(scope="module")
def mixed() -> pd.DataFrame:
    """Two numbers and two labels that hang together."""
    generator = np.random.default_rng(0)
    group = generator.choice(["a", "b", "c"], 400, p=[0.5, 0.3, 0.2])
    shift = pd.Series(group).map({"a": 0.0, "b": 4.0, "c": -3.0}).to_numpy()
    height = 100 + 10 * (shift + generator.normal(size=400))
    weight = np.exp(0.01 * height + 0.2 * generator.normal(size=400))
    size = np.where(height + 5 * generator.normal(size=400) > 105, "large", "small")
    return pd.DataFrame({"height": height, "group": group, "weight": weight, "size": size})


@pytest.fixture(scope="module")
def fitted(mixed: pd.DataFrame) -> Fitted:
    return fit(mixed, *QUICK)


@pytest.fixture(scope="module")
def iris() -> pd.DataFrame:
    return pd.read_csv(DATA / "iris.csv")


@pytest.fixture
def file(fitted: Fitted, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(fitted.model.to_bytes())
    return path


# --- the same numbers, however they are asked for


def test_a_loaded_model_scores_the_same(fitted: Fitted, mixed: pd.DataFrame, file: Path) -> None:
    loaded = Model.load(file, "cpu")
    assert np.array_equal(loaded.log_prob(mixed), fitted.model.log_prob(mixed))
    pd.testing.assert_frame_equal(loaded.sample(50, seed=1), fitted.model.sample(50, seed=1))
    assert loaded.header == fitted.model.header
    again, saved = load(loaded.to_bytes()), load(file.read_bytes())
    assert set(again) == set(saved)
    assert all(torch.equal(again[name], saved[name]) for name in saved)


def test_a_score_depends_on_its_row_alone(fitted: Fitted, mixed: pd.DataFrame) -> None:
    expected = fitted.model.log_prob(mixed)
    order = np.random.default_rng(1).permutation(len(mixed))
    np.testing.assert_allclose(fitted.model.log_prob(mixed.iloc[order]), expected[order], atol=1e-5)
    for size, rows in ((1, 50), (7, len(mixed))):
        parts = [fitted.model.log_prob(mixed.iloc[at : at + size]) for at in range(0, rows, size)]
        np.testing.assert_allclose(np.concatenate(parts)[:rows], expected[:rows], atol=1e-5)
    # Columns are found by name.
    np.testing.assert_array_equal(fitted.model.log_prob(mixed[["size", "weight", "group", "height"]]), expected)


def test_shorter_samples_start_longer_ones(fitted: Fitted) -> None:
    long = fitted.model.sample(5000, seed=4)
    assert len(long) == 5000
    pd.testing.assert_frame_equal(fitted.model.sample(10, seed=4), long.head(10))
    assert not fitted.model.sample(10, seed=5).equals(long.head(10))
    assert len(fitted.model.sample(0, seed=4)) == 0


def test_encode_and_decode(fitted: Fitted, mixed: pd.DataFrame) -> None:
    latent = fitted.model.encode(mixed)
    assert latent.column_names == ["z1", "z2", "group", "size"]
    back = fitted.model.decode(latent.to_pandas()).to_pandas()
    assert list(back) == list(mixed)
    np.testing.assert_allclose(back[["height", "weight"]], mixed[["height", "weight"]], rtol=1e-6)
    assert back["group"].tolist() == mixed["group"].tolist()


def test_an_unseen_label_is_impossible(fitted: Fitted, mixed: pd.DataFrame) -> None:
    log_prob = fitted.model.log_prob(mixed.head(3).assign(group=["a", "z", "b"]))
    assert np.isneginf(log_prob).tolist() == [False, True, False]


def test_a_row_that_cannot_be_scored(fitted: Fitted, mixed: pd.DataFrame) -> None:
    bad = mixed.head(3).assign(height=[100.0, math.nan, 90.0])
    with pytest.raises(DataError, match="row 2, column 'height'") as refused:
        fitted.model.log_prob(bad)
    assert "\n" not in str(refused.value)
    assert np.isnan(fitted.model.log_prob(bad, on_bad_row="empty")).tolist() == [False, True, False]


@pytest.mark.parametrize("far", [1e6, 1e20, 1e200, 1e308, -1e308])
def test_a_far_row_has_a_number(fitted: Fitted, mixed: pd.DataFrame, far: float) -> None:
    log_prob = fitted.model.log_prob(mixed.head(2).assign(height=[100.0, far]))
    assert not np.isnan(log_prob).any()
    assert log_prob[1] < log_prob[0]


# --- a density, in the data's own units


def axis(values: pd.Series, points: int, margin: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Nodes around the values, and trapezoidal weights."""
    reach = margin * (values.max() - values.min())
    nodes = np.linspace(values.min() - reach, values.max() + reach, points)
    return nodes, np.full(points, nodes[1] - nodes[0])


def test_one_column_integrates_to_one() -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.normal(2000, 30, 300), generator.normal(2300, 60, 200)])
    frame = pd.DataFrame({"x": values})
    model = fit(frame, *QUICK).model
    nodes, weight = axis(frame["x"], 20_001)
    assert np.exp(model.log_prob(pd.DataFrame({"x": nodes}))) @ weight == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("config", [None, "maf", "nsf_coupling"])
def test_two_columns_integrate_to_one(config: str | None) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=500)
    frame = pd.DataFrame({"x": 1e-3 * x, "y": 50 + 20 * (x**2 + 0.3 * generator.normal(size=500))})
    model = fit(frame, *QUICK, config=config).model
    (x_nodes, x_weight), (y_nodes, y_weight) = axis(frame["x"], 601, 0.5), axis(frame["y"], 601, 0.5)
    grid = pd.DataFrame({"x": np.repeat(x_nodes, len(y_nodes)), "y": np.tile(y_nodes, len(x_nodes))})
    density = np.exp(model.log_prob(grid)).reshape(len(x_nodes), len(y_nodes))
    assert x_weight @ density @ y_weight == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("factor", "tolerance"), [(1024, 1e-5), (1 / 1024, 1e-5), (1000, 0.02)])
def test_units_change_the_score_by_their_logarithm(
    mixed: pd.DataFrame, fitted: Fitted, factor: float, tolerance: float
) -> None:
    scaled = mixed.assign(height=mixed["height"] * factor)
    expected = fitted.model.log_prob(mixed) - math.log(factor)
    np.testing.assert_allclose(fit(scaled, *QUICK).model.log_prob(scaled), expected, atol=tolerance)


def test_an_offset_changes_nothing(mixed: pd.DataFrame, fitted: Fitted) -> None:
    moved = mixed.assign(weight=mixed["weight"] + 1000)
    np.testing.assert_allclose(fit(moved, *QUICK).model.log_prob(moved), fitted.model.log_prob(mixed), atol=0.02)


# --- the same again


def test_the_resolved_config_fits_the_same_weights(mixed: pd.DataFrame, fitted: Fitted, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(fitted.model.header.config))
    again = fit(mixed, config=str(path)).model
    assert again.header.config == fitted.model.header.config
    for name, weight in weights(fitted.model).items():
        assert torch.equal(weight, weights(again)[name]), name


def test_another_seed_fits_other_weights(mixed: pd.DataFrame, fitted: Fitted) -> None:
    other = fit(mixed, "train.epochs=5", "seed=4").model
    assert not all(torch.equal(weight, weights(other)[name]) for name, weight in weights(fitted.model).items())


def test_a_fit_leaves_the_global_generator_alone(mixed: pd.DataFrame) -> None:
    before = torch.random.get_rng_state()
    fit(mixed.head(60), "train.epochs=1")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_no_training_row_is_kept(fitted: Fitted, mixed: pd.DataFrame) -> None:
    content = fitted.model.to_bytes()
    for value in mixed["height"]:
        assert repr(value).encode() not in content
    for name, weight in load(content).items():
        assert len(mixed) not in weight.shape, name


# --- against closed forms


def parts(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = frame.to_numpy(float)
    return rows, rows.mean(0), np.cov(rows.T, ddof=0)


def test_the_gaussian_preset_is_the_closed_form(iris: pd.DataFrame) -> None:
    frame = iris.drop(columns="species")
    rows, mean, covariance = parts(frame)
    fitted = fit(frame, *ALL_ROWS, config="gaussian")
    expected = multivariate_normal(mean, covariance).logpdf(rows)
    log_prob = fitted.model.log_prob(frame)
    assert log_prob.mean() == pytest.approx(expected.mean(), abs=0.01)
    np.testing.assert_allclose(log_prob, expected, atol=1e-3)
    # Latents of zero and of one standard deviation each, decoded: the mean and the factor of the covariance.
    latent = pd.DataFrame(np.vstack([np.zeros(4), np.eye(4)]), columns=["z1", "z2", "z3", "z4"])
    decoded = fitted.model.decode(latent).to_pandas()[list(frame)].to_numpy()
    factor = (decoded[1:] - decoded[0]).T
    np.testing.assert_allclose(decoded[0], mean, rtol=1e-5)
    np.testing.assert_allclose(factor @ factor.T, covariance, rtol=0.01)


def test_gaussian_samples_have_its_moments(iris: pd.DataFrame) -> None:
    frame = iris.drop(columns="species")
    _, mean, covariance = parts(frame)
    drawn = fit(frame, *ALL_ROWS, config="gaussian").model.sample(20_000, seed=0)
    scale = np.sqrt(np.diag(covariance))
    assert np.abs((drawn.mean() - mean) / scale).max() < 4 / math.sqrt(20_000)
    np.testing.assert_allclose(np.corrcoef(drawn.T), covariance / np.outer(scale, scale), atol=0.03)


def test_samples_of_a_data_frame_are_on_its_grid(iris: pd.DataFrame) -> None:
    # Tenths, as from the same table in a file.
    frame = iris.assign(whole=np.arange(150) % 7, half=(np.arange(150) % 5) / 2)
    drawn = fit(frame, config="gaussian").model.sample(200, seed=0)
    assert drawn["whole"].dtype.kind == "i"
    for name in [*iris.columns[:4], "half"]:
        np.testing.assert_allclose(drawn[name] * 10, np.round(drawn[name] * 10), atol=1e-9)


@pytest.fixture(scope="module")
def iris_model(iris: pd.DataFrame) -> Model:
    return fit(iris, *QUICK).model


def test_summing_over_the_label_gives_the_marginal(iris: pd.DataFrame, iris_model: Model) -> None:
    species = sorted(iris["species"].unique())
    joint = np.stack([iris_model.log_prob(iris.assign(species=name)) for name in species])
    frequencies = iris_model.density.factors[0].labels.frequencies.numpy()
    assert frequencies.sum() == pytest.approx(1, abs=1e-6)
    columns = {column.name: column for column in iris_model.header.columns}
    numbers = [columns[name] for name in iris if name != "species"]
    assert columns["species"].categories == tuple(species)
    units = np.stack([(iris[c.name] - c.mean) / c.scale for c in numbers], axis=1)
    # One column has a bound at zero, and is taken to the real line by the inverse of the softplus.
    assert [c.map for c in numbers] == ["none", "none", "none", "softplus"]
    standardized, log_slope = units.copy(), -np.log1p(-np.exp(-units[:, 3])) - math.log(numbers[3].spread)
    standardized[:, 3] = (np.log(np.expm1(units[:, 3])) - numbers[3].center) / numbers[3].spread
    flow = iris_model.density.factors[0].flow
    assert isinstance(flow, Flow)
    by_hand = []
    for position, probability in enumerate(frequencies):
        one_hot = torch.eye(3, dtype=torch.float64)[position].expand(len(iris), -1)
        with torch.inference_mode():
            given_species = flow.log_prob(torch.from_numpy(standardized), one_hot).numpy()
        log_det = log_slope - sum(math.log(c.scale) for c in numbers)
        by_hand.append(given_species + log_det + math.log(probability))
    np.testing.assert_allclose(joint, np.stack(by_hand), atol=1e-6)
    np.testing.assert_allclose(np.exp(joint).sum(0), np.exp(np.stack(by_hand)).sum(0), rtol=1e-6)


def test_sampled_labels_have_their_frequencies(iris_model: Model) -> None:
    drawn = iris_model.sample(20_000, seed=0)["species"].value_counts(normalize=True)
    for name, probability in zip(
        iris_model.header.columns[-1].categories, iris_model.density.factors[0].labels.frequencies.tolist(), strict=True
    ):
        assert drawn[name] == pytest.approx(probability, abs=4 * math.sqrt(probability * (1 - probability) / 20_000))


def test_context_shifts_the_gaussian_as_a_regression_does(iris: pd.DataFrame) -> None:
    frame = iris[["petal_length", "petal_width", "sepal_length"]]
    model = fit(frame, *ALL_ROWS, "data.context=[sepal_length]", config="gaussian").model
    inputs = np.column_stack([np.ones(len(frame)), frame["sepal_length"]])
    y = frame[["petal_length", "petal_width"]].to_numpy()
    weight = np.linalg.lstsq(inputs, y, rcond=None)[0]
    residual = y - inputs @ weight
    expected = multivariate_normal(np.zeros(2), residual.T @ residual / len(y)).logpdf(residual)
    np.testing.assert_allclose(model.log_prob(frame), expected, atol=1e-3)
    drawn = model.sample(4000, given=pd.DataFrame({"sepal_length": [5.0, 7.0]}), seed=0)
    assert (drawn["sepal_length"] == np.repeat([5.0, 7.0], 4000)).all()
    for value, part in drawn.groupby("sepal_length"):
        wanted = np.array([1, value]) @ weight
        error = residual.std(0) * 4 / math.sqrt(4000)
        assert (np.abs(part[["petal_length", "petal_width"]].mean().to_numpy() - wanted) < error).all()


def test_reported_scores_are_those_of_the_test_rows(mixed: pd.DataFrame, fitted: Fitted) -> None:
    test = mixed.iloc[fitted.test_rows - 1]
    np.testing.assert_allclose(fitted.model.log_prob(test), fitted.test_log_prob, atol=1e-9)
    reported = fitted.metrics["test_log_likelihood"]
    assert reported["mean"] == pytest.approx(fitted.test_log_prob.mean())
    assert reported["n"] == 40
    # The validation value of the best epoch, in the data's own units.
    best = fitted.training.epochs[fitted.metrics["best_epoch"] - 1]
    assert best.validation_log_likelihood == pytest.approx(
        fitted.metrics["validation_log_likelihood"]["mean"], abs=1e-3
    )


# --- damaged files


def refuse(path: Path) -> ModelError:
    with pytest.raises(ModelError) as refused:
        Model.load(path, "cpu")
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)
    return refused.value


def header_length(content: bytes) -> int:
    return int(struct.unpack("<Q", content[:8])[0])


def rewritten(path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, str]], Any]) -> None:
    """The file with other weights or metadata."""
    content = path.read_bytes()
    metadata = json.loads(content[8 : 8 + header_length(content)])["__metadata__"]
    tensors = load(content)
    change(tensors, metadata)
    path.write_bytes(save(tensors, metadata=metadata))


def test_a_cut_file(file: Path) -> None:
    content = file.read_bytes()
    start = 8 + header_length(content)
    for length in [0, 1, 7, 8, 9, 100, start - 1, start, start + 1, len(content) - 1]:
        file.write_bytes(content[:length])
        refuse(file)


def test_a_longer_file(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"0")
    refuse(file)


def test_flipped_bytes_of_the_header(file: Path) -> None:
    content = file.read_bytes()
    for place in [*range(8), *range(8, 8 + header_length(content), 37)]:
        changed = bytearray(content)
        changed[place] ^= 0x80  # no longer ASCII
        file.write_bytes(changed)
        refuse(file)


def test_flipped_bits_are_refused_or_harmless(file: Path, mixed: pd.DataFrame) -> None:
    # A changed letter of a name is not to be seen; a traceback is.
    content = file.read_bytes()
    messages = []
    places = np.random.default_rng(0).integers(0, 8 + header_length(content) + 64, 400)
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << int(place % 7)
        file.write_bytes(changed)
        try:
            model = Model.load(file, "cpu")
            model.log_prob(mixed.head(2), on_bad_row="empty")
            model.sample(2, seed=0)
        except (ModelError, DataError) as error:
            messages.append(str(error))
    assert messages
    assert not any("\n" in message for message in messages)


@pytest.mark.parametrize("version", ["0", "2", "", "x"])
def test_an_unknown_format_version(file: Path, version: str) -> None:
    rewritten(file, lambda tensors, metadata: metadata.update(format_version=version))
    assert f"format version '{version}'" in str(refuse(file))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_weight_that_is_no_number(file: Path, value: float) -> None:
    def change(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        name = next(name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel())
        tensors[name].view(-1)[-1] = value

    rewritten(file, change)
    assert "not a finite number" in str(refuse(file))


def test_weights_of_another_shape(file: Path) -> None:
    def change(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        name = next(name for name, tensor in tensors.items() if tensor.dim() == 2)
        tensors[name] = tensors[name][:-1].contiguous()

    rewritten(file, change)
    refuse(file)


@pytest.mark.parametrize("kind", ["missing", "too many"])
def test_missing_and_unknown_weights(file: Path, kind: str) -> None:
    def change(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        if kind == "missing":
            tensors.pop(next(iter(tensors)))
        else:
            tensors["more"] = torch.zeros(2)

    rewritten(file, change)
    refuse(file)


def test_an_order_that_is_none(file: Path) -> None:
    def change(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        for name, tensor in tensors.items():
            if name.endswith("order"):
                tensor.zero_()

    rewritten(file, change)
    refuse(file)


def test_frequencies_that_are_none(file: Path) -> None:
    def change(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        tensors["factors.0.labels.frequencies"].neg_()

    rewritten(file, change)
    refuse(file)


@pytest.mark.parametrize("change", [{"flow": None}, {"columns": []}, {"columns": 3}, {"config": {}}, {"kind": "cake"}])
def test_a_header_that_does_not_fit(file: Path, change: dict[str, Any]) -> None:
    def tamper(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        metadata["flowcli"] = json.dumps({**json.loads(metadata["flowcli"]), **change})

    rewritten(file, tamper)
    refuse(file)


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    other = save({"weight": torch.zeros(3)})
    for content in (b"", b"a,b\n1,2\n" * 100, b"\x00" * 100, b"\xff" * 100, b"PK\x03\x04" + b"\x00" * 100, other):
        path.write_bytes(content)
        refuse(path)


def test_ordinals_far_from_zero_are_as_good_as_near_ones() -> None:
    counts = np.random.default_rng(0).poisson(20, 400)
    means = []
    for offset in (0, 1_700_000_000):
        frame = pd.DataFrame({"count": counts + offset})
        fitted = fit(frame, "data.kinds.count=ordinal", "train.epochs=20")
        means.append(fitted.model.log_prob(frame).mean())
        drawn = fitted.model.sample(500, seed=0)["count"]
        assert drawn.nunique() > 10
        assert drawn.mean() == pytest.approx(20 + offset, abs=1.5)
    assert means[0] == pytest.approx(means[1], abs=1e-6)


def test_latents_that_no_row_has_are_refused(iris: pd.DataFrame) -> None:
    numbers = iris.drop(columns="species")
    fitted = fit(numbers, "flow={base: uniform, transforms: [logit]}", "train.epochs=0")
    latent = fitted.model.encode(numbers.head(3)).to_pandas()
    latent.loc[1, "z2"] = 1.5
    with pytest.raises(DataError, match="row 2: no row of the model has these latents"):
        fitted.model.decode(latent)
