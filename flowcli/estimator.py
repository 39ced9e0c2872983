"""The density as an estimator of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flowcli.door import fit_model
from flowcli.tables.frames import Library, as_table, is_frame, library_of

try:
    from sklearn.base import BaseEstimator, DensityMixin
    from sklearn.utils import Tags, check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    raise ImportError("flowcli.FlowDensity needs scikit-learn 1.6 or newer: pip install 'flowcli[sklearn]'") from None

if TYPE_CHECKING:
    from numpy.random import RandomState

    from flowcli.model import Model
    from flowcli.tables.table import Table

# One row has no spread; of fewer than these none is kept for validation.
LEAST_ROWS = 2
LEAST_FOR_VALIDATION = 5


class FlowDensity(DensityMixin, BaseEstimator):  # type: ignore[misc]
    """A normalizing flow, with the methods of :class:`sklearn.neighbors.KernelDensity`.

    Arrays are of numbers, with NaN for a missing one; DataFrames of pandas or polars and Arrow tables may have labels,
    dates and all that ``flowcli fit`` models. No row is kept for a test, as that is up to scikit-learn: ``data.test``
    is 0 unless the config says otherwise, and so is ``data.validation`` for fewer than five rows.

    Parameters:
        config: a preset's name, a config file, or a mapping of what a file would hold.
        max_time: how long it may take, in seconds or as ``"90s"``, ``"10m"``.
        random_state: the seed, of training and of samples; ``None``: the config's, else a fresh one.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Attributes:
        model_: the :class:`flowcli.model.Model`.
        n_features_in_: how many columns there were.
        feature_names_in_: their names, if all of them are texts.

    Example:
        >>> import numpy as np
        >>> from flowcli import FlowDensity
        >>> rows = np.random.default_rng(0).normal(size=(200, 2))
        >>> density = FlowDensity({"train": {"epochs": 2}}, random_state=0).fit(rows)
        >>> density.score_samples([[0, 0], [9, 9]]) > -10
        array([ True, False])
        >>> density.sample(3, random_state=1).shape
        (3, 2)
    """

    model_: Model
    n_features_in_: int
    _library: Library
    _names: list[str]

    def __init__(
        self,
        config: str | Path | Mapping[str, Any] | None = None,
        *,
        max_time: float | str | None = None,
        random_state: int | RandomState | None = None,
        device: str = "auto",
    ) -> None:
        self.config = config
        self.max_time = max_time
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: object = None) -> FlowDensity:  # noqa: N803 - scikit-learn's name
        """Fit the density to rows ``X``, ``(n, d)``; ``y`` is not used.

        Raises:
            ValueError: the rows cannot be modelled.
            ConfigError: the config is wrong.
        """
        self._library = library_of(X) if is_frame(X) else "numpy"
        rows = self._checked(X, fresh=True)
        options: dict[str, tuple[str, Any]] = {}
        defaults: dict[str, Any] = {"data.test": 0.0}
        if len(rows) < LEAST_FOR_VALIDATION:
            defaults["data.validation"] = 0.0
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        if self.random_state is None:
            defaults["seed"] = seed
        else:
            options["random_state"] = ("seed", seed)
        if self.max_time is not None:
            options["max_time"] = ("train.max_time", self.max_time)
        self.model_ = fit_model(rows, self.config, options, self.device, defaults, row_numbers=True)
        return self

    def score_samples(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: N803
        """Log-likelihood of each row in nats, ``(n,)``.

        Raises:
            ValueError: a row cannot be scored.
        """
        check_is_fitted(self)
        return self.model_.log_prob(self._checked(X))

    def score(self, X: Any, y: object = None) -> float:  # noqa: N803
        """The log-likelihood of all rows together; ``y`` is not used."""
        return float(self.score_samples(X).sum())

    def sample(self, n_samples: int = 1, random_state: int | RandomState | None = None) -> Any:
        """Draw rows ``(n_samples, d)``, in the kind of the ones it was fitted to: an array, or a DataFrame."""
        check_is_fitted(self)
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        return self.model_.sample(n_samples, seed=seed, as_=self._library)

    def _checked(self, X: Any, fresh: bool = False) -> Table:  # noqa: N803
        """The rows as a table, with scikit-learn's checks; of columns without names, by the names of the fit."""
        if is_frame(X):
            validate_data(self, X, reset=fresh, skip_check_array=True)
            rows = as_table(X)
        else:
            least = LEAST_ROWS if fresh else 1
            array = validate_data(self, X, reset=fresh, ensure_all_finite="allow-nan", ensure_min_samples=least)
            rows = as_table(array, names=None if fresh else self._names)
        if fresh:
            self._names = rows.names
        return rows

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
