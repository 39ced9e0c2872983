"""Linear maps that mix the columns: LU, orthogonal by the matrix exponential, and Givens rotations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowcli.transforms.bijection import Bijection, ValueAndLogDet


class LULinear(Bijection):
    """``x = L U z + b`` with ``L`` unit lower and ``U`` upper triangular, its diagonal positive.

    The parametrisation of Kingma & Dhariwal 2018, section 3.2, without its permutation.
    """

    decays_to_zero = False

    compiles = True

    def __init__(self, features: int, context_features: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(features))
        self.lower = nn.Parameter(torch.zeros(features, features))
        self.upper = nn.Parameter(torch.zeros(features, features))
        self.log_diagonal = nn.Parameter(torch.zeros(features))

    def _factors(self) -> tuple[Tensor, Tensor]:
        identity = torch.eye(len(self.shift), dtype=self.shift.dtype, device=self.shift.device)
        lower = torch.tril(self.lower, diagonal=-1) + identity
        return lower, torch.triu(self.upper, diagonal=1) + torch.diag(torch.exp(self.log_diagonal))

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        lower, upper = self._factors()
        return z @ upper.mT @ lower.mT + self.shift, self.log_diagonal.sum().expand(z.shape[:-1])

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        lower, upper = self._factors()
        rows = (x - self.shift).reshape(-1, x.shape[-1])
        rows = torch.linalg.solve_triangular(lower.mT, rows, upper=True, left=False, unitriangular=True)
        rows = torch.linalg.solve_triangular(upper.mT, rows, upper=False, left=False)
        return rows.reshape(x.shape), -self.log_diagonal.sum().expand(x.shape[:-1])


class Orthogonal(Bijection):
    """``x = exp(A - A') z``: a rotation. The exponential is torch's, exact to rounding at any norm."""

    decays_to_zero = False

    def __init__(self, features: int, context_features: int) -> None:
        super().__init__()
        self.generator = nn.Parameter(torch.zeros(features, features))

    def rotation(self) -> Tensor:
        """The orthogonal matrix ``(d, d)``."""
        upper = torch.triu(self.generator, diagonal=1)
        return torch.matrix_exp(upper - upper.mT)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        return z @ self.rotation().mT, z.new_zeros(z.shape[:-1])

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        return x @ self.rotation(), x.new_zeros(x.shape[:-1])


def butterfly_strides(features: int) -> list[int]:
    """Strides of sparse layers that let every column reach every other.

    For a power of two these are its log2(d) halvings; otherwise some columns have no partner in a layer,
    and the layers are gone through once more, back to the first.
    """
    strides = [2**level for level in range(max(features - 1, 0).bit_length())]
    return strides if features & (features - 1) == 0 else strides + strides[-2::-1]


class Givens(Bijection):
    """Layers of rotations of pairs of columns by an angle each, in butterfly order.

    A layer with stride ``s`` turns columns ``i`` and ``i + s`` where bit ``s`` of ``i`` is not set. Each
    column is touched once in a layer, so that a layer costs d multiplications, not d squared.
    """

    decays_to_zero = False

    compiles = True

    def __init__(self, features: int, context_features: int) -> None:
        super().__init__()
        self.strides = butterfly_strides(features)
        self.angles = nn.Parameter(torch.zeros(len(self.strides), features))
        for layer, stride in enumerate(self.strides):
            index = torch.arange(features)
            partner = index ^ stride
            partner = torch.where(partner < features, partner, index)
            self.register_buffer(f"partner{layer}", partner, persistent=False)
            # The pair's first column takes -sin of its partner, the second +sin; one without partner stays.
            sign = torch.where(partner == index, 0.0, torch.where(partner > index, -1.0, 1.0))
            self.register_buffer(f"sign{layer}", sign, persistent=False)
            self.register_buffer(f"first{layer}", torch.minimum(index, partner), persistent=False)

    def _turn(self, value: Tensor, layer: int, direction: float) -> Tensor:
        sign: Tensor = getattr(self, f"sign{layer}")
        angle = self.angles[layer][getattr(self, f"first{layer}")] * sign.abs()
        partner = value[..., getattr(self, f"partner{layer}")]
        return value * torch.cos(angle) + direction * sign * torch.sin(angle) * partner

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        for layer in range(len(self.strides)):
            z = self._turn(z, layer, 1.0)
        return z, z.new_zeros(z.shape[:-1])

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> ValueAndLogDet:
        for layer in reversed(range(len(self.strides))):
            x = self._turn(x, layer, -1.0)
        return x, x.new_zeros(x.shape[:-1])
