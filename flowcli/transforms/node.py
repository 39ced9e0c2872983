"""Several operations as one node of autograd's graph."""

from __future__ import annotations

import torch


def is_transformed() -> bool:
    """Whether torch.compile or torch.func looks into the operations, which a node of its own would hide from it.

    A node that torch.func knows takes twice as long as the plain operations.
    """
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


def is_mapped() -> bool:
    """Whether what looks into the operations is :func:`torch.vmap` alone."""
    if torch.compiler.is_compiling():
        return False
    levels = torch._C._functorch.get_interpreter_stack() or []
    return bool(levels) and all(level.key() == torch._C._functorch.TransformType.Vmap for level in levels)
