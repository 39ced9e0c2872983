"""The way back from the map that shortens heavy tails, for flows that see columns as they are."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from flowcli.transforms.bijection import Skipping, ValueAndLogDet, only, sum_features
from flowcli.transforms.support import Support
from flowcli.transforms.supports import Supports


class KeptTails(Skipping):
    """``x = (arcsinh(z) - center) / spread`` of columns whose support is that map; the others stay as they are.

    ``z`` is then the column in units of its quartiles. Nothing in it is trained.
    """

    registered_name = "heavy_tails"
    compiles = True

    def __init__(self, supports: Sequence[Support]) -> None:
        super().__init__()
        self.maps = Supports(
            [Support(s.map, s.center, s.spread) if s.map == "arcsinh" else Support() for s in supports]
        )

    def forward_and_log_det(
        self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        x, log_slopes = self.maps.to_real(z)
        return only(x, present), sum_features(log_slopes, present)

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        z = self.maps.from_real(x)
        return only(z, present), -sum_features(self.maps.to_real(z)[1], present)
