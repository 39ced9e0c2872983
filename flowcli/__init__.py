"""flowcli: density estimation with normalizing flows, at the shell prompt and from Python.

>>> import flowcli
>>> model = flowcli.fit("data/iris.csv", "gaussian")  # or a DataFrame, an Arrow table, an array, a dict
>>> model.log_prob("data/iris.csv").shape  # in nats, one for each row
(150,)
>>> model.sample(2, seed=0).columns.tolist()
['sepal_length', 'sepal_width', 'petal_length', 'petal_width', 'species']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from flowcli.estimator import FlowDensity
    from flowcli.model import Model
    from flowcli.tables.frames import TableLike

__version__ = "0.1.0"
__all__ = ["FlowDensity", "__version__", "fit", "load"]


def fit(
    table: TableLike,
    config: str | Path | Mapping[str, Any] | None = None,
    *,
    max_time: float | str | None = None,
    device: str = "auto",
    **settings: Any,
) -> Model:
    """Fit a density to a table.

    Warnings, of columns that are left out say, go to the log ``flowcli``, as does the course of the fit at the levels
    ``INFO`` and ``DEBUG``.

    Args:
        table: a DataFrame of pandas (its index is left out) or polars, an Arrow table, whatever else has the Arrow
            PyCapsule or the dataframe interface, a mapping of columns, an array ``(n, d)``, whose columns are called
            ``x1..xd``, or the names of one or several files, as the command line reads them.
        config: a preset's name, a config file, or a mapping of what a file would hold.
        max_time: how long it may take, in seconds or as ``"90s"``, ``"10m"``, ``"1.5h"``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        settings: config keys with ``__`` for the dot, like ``train__epochs=100`` or ``data__context=["y"]``.

    Returns:
        The trained model; its ``header.metrics`` hold the test log-likelihood.

    Raises:
        ConfigError: the config is wrong.
        UsageError: there is no such preset or file.
        DataError: the table cannot be modelled.

    Example:
        >>> import numpy as np, flowcli
        >>> rows = np.random.default_rng(0).normal([0, 5], [1, 2], size=(500, 2))
        >>> model = flowcli.fit(rows, {"train": {"epochs": 2}}, seed=1)
        >>> model.log_prob(rows).shape, model.sample(3, seed=0, as_="numpy").shape
        ((500,), (3, 2))
        >>> round(model.header.metrics["test_log_likelihood"]["mean"])
        -4
    """
    from flowcli.door import fit_model

    options = {key: (key.replace("__", "."), value) for key, value in settings.items()}
    if max_time is not None:
        options["max_time"] = ("train.max_time", max_time)
    return fit_model(table, config, options, device)


def load(path: str | Path | None = None, device: str = "auto") -> Model:
    """Load a run folder or a model file; by default ``$FLOWCLI_MODEL``, else the newest run under ``runs/``.

    Raises:
        UsageError: there is no such model.
        ModelError: the file is damaged or is not a model of flowcli.

    Example:
        >>> import flowcli, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "iris.safetensors"
        >>> flowcli.fit("data/iris.csv", "gaussian").save(file)
        >>> flowcli.load(file)
        Model of 5 columns: sepal_length, sepal_width, petal_length, petal_width, species
    """
    from flowcli.model import Model

    return Model.load(path, device)


def __getattr__(name: str) -> Any:
    """``FlowDensity``, which brings scikit-learn with it."""
    if name == "FlowDensity":
        from flowcli.estimator import FlowDensity

        return FlowDensity
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
