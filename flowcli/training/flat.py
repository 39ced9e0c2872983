"""A module's parameters as few long tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn


class FlatParameters:
    """Groups of parameters, each as one tensor, of which the parameters become views.

    What works on all parameters alike, as an optimizer does, is then a few operations, however many parameters there
    are. Whatever sets a parameter in place sets its part of the tensor.
    """

    def __init__(
        self, groups: Sequence[Sequence[nn.Parameter]], masks: Mapping[nn.Parameter, Tensor] | None = None
    ) -> None:
        """``groups``: of one device each; parameters of a group that differ in type go into tensors of their own.

        ``masks``: of parameters that are zero where their mask is, as are their gradients.
        """
        masks = masks or {}
        self.of_group: list[list[Tensor]] = []
        self._members: list[tuple[Tensor, list[nn.Parameter]]] = []
        self._masks: list[Tensor | None] = []
        for group in groups:
            flat = []
            for dtype in dict.fromkeys(parameter.dtype for parameter in group):
                members = [parameter for parameter in group if parameter.dtype == dtype]
                whole = torch.cat([parameter.detach().reshape(-1) for parameter in members])
                for parameter, part in zip(members, torch.split(whole, [p.numel() for p in members]), strict=True):
                    parameter.data = part.view_as(parameter)
                flat.append(whole)
                self._members.append((whole, members))
                self._masks.append(
                    torch.cat([masks.get(parameter, torch.ones_like(parameter)).reshape(-1) for parameter in members])
                    if any(parameter in masks for parameter in members)
                    else None
                )
            self.of_group.append(flat)
        self.mask()

    @property
    def tensors(self) -> list[Tensor]:
        """All of them, ``(numbers,)`` each."""
        return [whole for whole, _ in self._members]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What they consist of, in order."""
        return [parameter for _, group in self._members for parameter in group]

    @torch.no_grad()
    def mask(self) -> None:
        """Make zero what the masks hide: to be called after the parameters were set from elsewhere."""
        for whole, mask in zip(self.tensors, self._masks, strict=True):
            if mask is not None:
                whole.mul_(mask)

    def differentiate(self, loss: Tensor) -> list[Tensor]:
        """Set the tensors' gradients, and return them; zero where the loss does not depend on a parameter."""
        members = self.parameters
        nothing: list[Tensor | None] = [None] * len(members)
        return self._set(torch.autograd.grad(loss, members, allow_unused=True) if loss.requires_grad else nothing)

    def gather(self) -> list[Tensor]:
        """Set the tensors' gradients to those that the parameters have, and return them."""
        return self._set([parameter.grad for parameter in self.parameters])

    def _set(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        """``gradients``: of all parameters, in order; none is zero."""
        left = iter(gradients)
        for (whole, group), mask in zip(self._members, self._masks, strict=True):
            parts = [
                torch.zeros_like(parameter).view(-1) if gradient is None else gradient.reshape(-1)
                for parameter, gradient in zip(group, left, strict=False)
            ]
            whole.grad = torch.cat(parts)
            if mask is not None:
                whole.grad.mul_(mask)
        return [cast(Tensor, whole.grad) for whole in self.tensors]
