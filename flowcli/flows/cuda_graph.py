"""A density's function as a CUDA graph: one launch for a chunk of rows instead of one for each operation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]

# How far, absolutely or relatively, what a graph gives may be from what the function gives: graphs hold the same
# operations, so that one that is off has something else in it, such as numbers of the rows that it was captured with.
TOLERANCE = 1e-4


@contextmanager
def capturing(device: torch.device) -> Iterator[None]:
    """Within the block a graph is captured on the device; after an error CUDA's random numbers are as they were."""
    with torch.cuda.device(device), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        before = generator.clone_state()
        try:
            yield
        except BaseException:
            # A capture that fails leaves the generator as if it went on: whoever draws next would get an error.
            generator.graphsafe_set_state(before)
            raise


@contextmanager
def without_waiting() -> Iterator[None]:
    """Within the block an operation that waits for the GPU is an error: no graph holds one."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


class GraphedInference:
    """A function of tensors on a GPU, without gradients, captured when it is called with the same shapes again.

    As it is where that cannot be done, or gives other numbers.
    """

    def __init__(self, function: Callable[..., Tensors]) -> None:
        self._function = function
        self._shapes: list[torch.Size] = []
        self._tried = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: Tensors = ()
        self._outputs: Tensors = ()

    def __call__(self, *tensors: Tensor) -> Tensors:
        shapes = [tensor.shape for tensor in tensors]
        if self._graph is not None and shapes == self._shapes:
            return self._replayed(self._graph, tensors)
        found = self._function(*tensors)
        if not self._tried:
            if shapes == self._shapes:
                self._tried = True
                self._capture(tensors, found)
            self._shapes = shapes
        return found

    def _replayed(self, graph: torch.cuda.CUDAGraph, tensors: Tensors) -> Tensors:
        for kept, tensor in zip(self._inputs, tensors, strict=True):
            kept.copy_(tensor)
        graph.replay()
        return tuple(output.clone() for output in self._outputs)

    def _capture(self, tensors: Tensors, found: Tensors) -> None:
        # With the rows in another order: were anything of theirs kept in the graph, the comparison would tell.
        self._inputs = tuple(tensor.roll(1, 0) for tensor in tensors)
        graph = torch.cuda.CUDAGraph()
        try:
            with capturing(tensors[0].device):
                aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
                aside.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(aside), without_waiting():
                    self._function(*self._inputs)
                torch.cuda.current_stream().wait_stream(aside)
                # Other threads may read and copy rows meanwhile.
                with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                    self._outputs = self._function(*self._inputs)
            again = self._replayed(graph, tensors)
            alike = all(
                torch.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
                for one, other in zip(again, found, strict=True)
            )
        except Exception:  # whatever a graph does not hold, such as a look at a number
            alike = False
        if alike:
            self._graph = graph
        else:
            self._inputs = self._outputs = ()
