"""Adam on few long tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Adam (Kingma & Ba 2015), or with decoupled weight decay AdamW (Loshchilov & Hutter 2019).

    torch's functions for it, without its ``Optimizer``, which takes longer than a small step does, and whose first use
    loads torch's compiler: more than a second of every fit.
    """

    def __init__(self, parameters: Sequence[tuple[Tensor, float]], decoupled: bool) -> None:
        """``parameters``: each with its weight decay."""
        self.parameters = [tensor for tensor, _ in parameters]
        self._decays = [decay for _, decay in parameters]
        self._function = adamw if decoupled else adam
        self._moments = [(torch.zeros_like(tensor), torch.zeros_like(tensor)) for tensor in self.parameters]
        # One of them for each, as torch wants it.
        self._steps = [torch.zeros((), device=tensor.device) for tensor in self.parameters]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move the parameters by their gradients."""
        for parameter, decay, (first, second), steps in zip(
            self.parameters, self._decays, self._moments, self._steps, strict=True
        ):
            if parameter.grad is None:
                raise ValueError("a parameter has no gradient")
            self._function(
                [parameter],
                [parameter.grad],
                [first],
                [second],
                [],
                [steps],
                fused=parameter.device.type in ("cpu", "cuda"),
                amsgrad=False,
                beta1=BETA1,
                beta2=BETA2,
                lr=learning_rate,
                weight_decay=decay,
                eps=EPSILON,
                maximize=False,
            )

    def state(self) -> dict[str, Tensor]:
        """The steps taken, and the moments of each parameter, by name."""
        named: dict[str, Tensor] = {}
        for number, ((first, second), steps) in enumerate(zip(self._moments, self._steps, strict=True)):
            named |= {f"{number}.step": steps, f"{number}.exp_avg": first, f"{number}.exp_avg_sq": second}
        return named

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up a state, from any device."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
