"""A step that several processes take together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class _Noting(nn.Module):
    """A loss, to which parameters of zero add nothing; its derivative by them is what is noted.

    So what the processes must know of each other travels with the gradients, in no message of its own.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], notes: int) -> None:
        """``parameters``: what the losses depend on."""
        super().__init__()
        self.trained = nn.ParameterList(parameters)
        self.notes = nn.Parameter(parameters[0].detach().new_zeros(1 + notes))
        # Never used: DistributedDataParallel warns when it has to look for what is not, and finds nothing.
        self.idle = nn.Parameter(parameters[0].detach().new_zeros(1))

    def forward(self, loss: Callable[[], Tensor], noted: Sequence[float]) -> Tensor:
        own = loss()
        found = torch.cat([own.detach().reshape(1), own.new_tensor(noted)])
        return own + (self.notes * found).sum()


class SharedStep:
    """The gradients of a loss of which each process has a part, added up by ``DistributedDataParallel``."""

    def __init__(self, parameters: Sequence[nn.Parameter], notes: int, processes: int) -> None:
        """``parameters``: one or more, on one device; ``notes``: how many numbers travel with the gradients."""
        self._noting = _Noting(parameters, notes)
        self._processes = processes
        # A process can have no rows of a batch, and then uses no parameter.
        self._together = DistributedDataParallel(
            self._noting, find_unused_parameters=True, gradient_as_bucket_view=True
        )

    def differentiate(self, loss: Callable[[], Tensor], noted: Sequence[float]) -> Tensor:
        """Set the parameters' gradients to those of the sum of all losses; gives this sum, and those of the notes.

        Args:
            loss: works out this process's part; it need not depend on all parameters.

        Raises:
            RuntimeError: another process is gone.
        """
        self._noting.zero_grad(set_to_none=True)
        # The gradients will be means.
        whole: Tensor = self._together(loss, noted) * self._processes
        whole.backward()  # type: ignore[no-untyped-call]
        told = self._noting.notes.grad
        assert told is not None
        return told
