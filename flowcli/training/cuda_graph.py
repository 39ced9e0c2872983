"""A function of a module's parameters as CUDA graphs: one launch instead of one for each of its operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from flowcli.errors import first_line
from flowcli.flows.cuda_graph import capturing, without_waiting
from flowcli.flows.density import Density
from flowcli.flows.rows import Rows
from flowcli.training.alike import TOLERANCE, difference
from flowcli.transforms.normalizing import BatchNorm

# Each shape of the inputs has a graph of its own, which keeps its memory; batches have one size or two.
MOST_SHAPES = 4


def can_be_graphed(density: Density, device: torch.device) -> bool:
    """Whether to try: on a GPU, unless running statistics would be counted more often than once."""
    return device.type == "cuda" and not any(isinstance(module, BatchNorm) for module in density.modules())


def graphed_log_prob(density: Density, on_failure: Callable[[str], None]) -> Callable[[Rows, Tensor], Tensor]:
    """The density's :meth:`log_prob_there`; a call overwrites what the one before gave."""

    def log_prob(numbers: Tensor, labels: Tensor, ordinals: Tensor, context: Tensor, log_det: Tensor) -> Tensor:
        return density.log_prob_there(Rows(numbers, labels, ordinals, context), log_det)

    graphed = GraphedFunction(density, log_prob, on_failure)
    return lambda rows, log_det: graphed(rows.numbers, rows.labels, rows.ordinals, rows.context, log_det)


class GraphedFunction:
    """A function, captured when it is first called; as it is where that cannot be done, or gives other numbers."""

    def __init__(self, module: nn.Module, function: Callable[..., Tensor], on_failure: Callable[[str], None]) -> None:
        """``function``: of tensors and the module's parameters; ``on_failure`` is told why it is not captured."""
        self._module, self._function = module, function
        self._trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._on_failure = on_failure
        self._graphed: dict[tuple[torch.Size, ...], Callable[..., Tensor]] = {}
        self._most = MOST_SHAPES

    def __call__(self, *tensors: Tensor) -> Tensor:
        shapes = tuple(tensor.shape for tensor in tensors)
        if shapes not in self._graphed and len(self._graphed) < self._most:
            self._graphed[shapes] = self._captured(tensors)
        return self._graphed.get(shapes, self._function)(*tensors)

    def _captured(self, tensors: Sequence[Tensor]) -> Callable[..., Tensor]:
        # Captured with the rows in another order: were anything of theirs kept in the graph, the comparison would tell.
        others = tuple(tensor.roll(1, 0) for tensor in tensors)
        try:
            with capturing(tensors[0].device):
                with without_waiting():
                    torch.autograd.grad(self._function(*others).mean(), self._trained, allow_unused=True)
                module = _WithParameters(self._module, self._function)
                graphed = cast(nn.Module, torch.cuda.make_graphed_callables(module, others, allow_unused_input=True))
            wrong = difference(
                lambda: self._function(*tensors).mean(),
                lambda: graphed(*tensors).mean(),
                self._trained,
            )
        except Exception as error:  # whatever a graph does not hold, such as a look at a number
            return self._gives_up(f"{type(error).__name__}: {first_line(error)[:200]}")
        return graphed if wrong <= TOLERANCE else self._gives_up(f"the captured step is off by {wrong:.1g}")

    def _gives_up(self, why: str) -> Callable[..., Tensor]:
        self._on_failure(f"training goes on without a CUDA graph: {why}")
        self._most = 0
        return self._function


class _WithParameters(nn.Module):
    """The function as a module that has the parameters."""

    def __init__(self, module: nn.Module, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.module = module
        self._function = function

    def forward(self, *tensors: Tensor) -> Tensor:
        return self._function(*tensors)
