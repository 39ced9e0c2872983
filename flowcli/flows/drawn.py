"""What a density draws, as arrays. No torch here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Drawn(NamedTuple):
    """Rows drawn from a density: numbers ``(n, d)``, codes of labels ``(n, l)``, whole numbers ``(n, o)``."""

    numbers: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    ordinals: npt.NDArray[np.float64]
