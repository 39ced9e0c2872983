"""Several operations as one node of autograd's graph."""

from __future__ import annotations

import torch


def is_transformed() -> bool:
    """Whether torch.compile or torch.func looks into the operations, which a node of its own would hide from it.

    A node that torch.func knows takes twice as long as the plain operations.
    """
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
