"""The way back from the map that shortens heavy tails, for flows that see columns as they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flowcli.transforms.bijection import Skipping, ValueAndLogDet, only, sum_features
from flowcli.transforms.support import Support


class KeptTails(Skipping):
    """``x = (arcsinh(z) - center) / spread`` of columns whose support is that map; the others stay as they are.

    ``z`` is then the column in units of its quartiles. Nothing in it is trained.
    """

    center: Tensor
    spread: Tensor
    mapped: Tensor
    compiles = True

    def __init__(self, supports: Sequence[Support]) -> None:
        super().__init__()
        for name, values in (
            ("center", [support.center for support in supports]),
            ("spread", [support.spread for support in supports]),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64), persistent=False)
        self.register_buffer("mapped", torch.tensor([s.map == "arcsinh" for s in supports]), persistent=False)

    def forward_and_log_det(
        self, z: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        x = (torch.asinh(z) - self.center.to(z.dtype)) / self.spread.to(z.dtype)
        log_slope = -torch.log(torch.hypot(z, torch.ones_like(z))) - torch.log(self.spread).to(z.dtype)
        return self._where_mapped(z, x, log_slope, present)

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> ValueAndLogDet:
        z = torch.sinh(x * self.spread.to(x.dtype) + self.center.to(x.dtype))
        log_slope = torch.log(torch.hypot(z, torch.ones_like(z))) + torch.log(self.spread).to(x.dtype)
        return self._where_mapped(x, z, log_slope, present)

    def _where_mapped(self, before: Tensor, after: Tensor, log_slope: Tensor, present: Tensor | None) -> ValueAndLogDet:
        moved = torch.where(self.mapped, after, before)
        log_slope = torch.where(self.mapped, log_slope, torch.zeros_like(log_slope))
        return only(moved, present), sum_features(log_slope, present)
