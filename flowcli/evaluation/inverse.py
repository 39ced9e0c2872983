"""How exactly rows come back from their latents."""

from __future__ import annotations

import torch

from flowcli.flows.density import Density
from flowcli.flows.factor import are_present
from flowcli.flows.rows import Rows

# Above it, in units of a column's scale, decoded and sampled rows are not those that were scored.
LARGEST_INVERSE_ERROR = 1e-3


@torch.inference_mode()
def inverse_errors(density: Density, rows: Rows) -> list[float]:
    """Of each number column, how far the worst row comes back from where it was, in units of the column's scale.

    What does not come back as a number at all is infinitely far.
    """
    latent = density.encode(rows)
    back = density.decode(Rows(latent, rows.labels, rows.ordinals, rows.context))
    away = torch.nan_to_num((back - rows.numbers).abs(), nan=torch.inf)
    present = are_present(rows.labels, density.states)
    if present is not None:
        away = torch.where(present, away, 0.0)
    return [float(error) for error in away.amax(0)]
