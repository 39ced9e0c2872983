"""flowcli: density estimation with normalizing flows, at the shell prompt and from Python.

>>> import flowcli
>>> model = flowcli.fit(frame)          # a pandas DataFrame   # doctest: +SKIP
>>> model.log_prob(frame)               # nats, one for each row   # doctest: +SKIP
>>> model.sample(1000)                  # a pandas DataFrame   # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from flowcli.model import Model

__version__ = "0.1.0"
__all__ = ["__version__", "fit", "load"]


def fit(frame: pd.DataFrame, config: str | None = None, *, device: str = "auto", **settings: object) -> Model:
    """Fit a density to a pandas DataFrame.

    Args:
        frame: the rows; its index is left out.
        config: a config file or a preset's name.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        settings: config keys with ``__`` for the dot, like ``train__epochs=100`` or ``data__context=["y"]``.

    Returns:
        The trained model: ``log_prob(frame)``, ``sample(n)``, ``encode``, ``decode``; its ``header.metrics``
        hold the test log-likelihood.

    Raises:
        ConfigError: the config is wrong.
        DataError: the table cannot be modelled.
    """
    from flowcli.config.load import load_config
    from flowcli.fitting import fit_table
    from flowcli.tables.table import from_dataframe

    options = {key: (key.replace("__", "."), value) for key, value in settings.items()}
    return fit_table(from_dataframe(frame), load_config(config, options=options), device=device).model


def load(path: str | Path | None = None, device: str = "auto") -> Model:
    """Load a run folder or a model file; by default ``$FLOWCLI_MODEL``, else the newest run under ``runs/``.

    Raises:
        UsageError: there is no such model.
        ModelError: the file is damaged or is not a model of flowcli.
    """
    from flowcli.model import Model

    return Model.load(path, device)
