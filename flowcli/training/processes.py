"""The processes that train together, as torchrun starts them. Torch is imported only where there are several."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flowcli.errors import FlowcliError, UsageError, first_line
from flowcli.training.devices import check_device_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

T = TypeVar("T")

# What torchrun tells each process; see torch.distributed.
_PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_RESTARTS = "TORCHELASTIC_RESTART_COUNT"
# One process may have more to read than another, which waits for it.
LONGEST_WAIT = timedelta(minutes=30)


@dataclass(frozen=True)
class Place:
    """Which process of how many this is, of those on its machine, and how often torchrun has started them anew."""

    rank: int
    world: int
    local_rank: int
    restarts: int


def place_of_process() -> Place | None:
    """The place that torchrun gives this process; ``None`` if it is not torchrun that started it.

    Raises:
        UsageError: the environment names a place that is none.
    """
    said = [os.environ.get(name) for name in _PLACE]
    if None in said:
        return None
    try:
        rank, world, local_rank = (int(word or "") for word in said)
        restarts = int(os.environ.get(_RESTARTS, "0"))
    except ValueError:
        rank = world = local_rank = restarts = -1
    if not 0 <= rank < world or local_rank < 0:
        raise UsageError(f"{', '.join(_PLACE)} are set, to what torchrun does not set them to")
    return Place(rank, world, local_rank, restarts)


class Processes:
    """All processes of a training. Each takes the same steps; what one must know of another, it learns here."""

    def __init__(self, place: Place | None = None) -> None:
        """``place``: where torchrun has put this one; ``None``: it is alone."""
        self.place = place
        self.rank, self.world = (0, 1) if place is None else (place.rank, place.world)
        # Of an error that several have, one tells.
        self._tells = self.first
        self._lost = False

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and tells."""
        return self.rank == 0

    @property
    def restarted(self) -> bool:
        """Whether torchrun has started the processes anew, after one had failed."""
        return self.place is not None and self.place.restarts > 0

    def part_of(self, count: int) -> slice:
        """This one's part of so many things, one after the other; their sizes differ by one at most."""
        return slice(count * self.rank // self.world, count * (self.rank + 1) // self.world)

    def every(self, value: T) -> list[T]:
        """What each process has, in order.

        Raises:
            FlowcliError: what has gone wrong here, within :meth:`failing_together`.
            SystemExit: another process has failed, and tells.
        """
        return [value] if self.world == 1 else self._exchange(value, None)

    def of_first(self, find: Callable[[], T]) -> T:
        """What the first process finds."""
        return cast(T, self.every(find() if self.first else None)[0])

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process."""
        return any(self.every(flag))

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Within the block the processes meet in :meth:`every` alone; an error of one ends all, and is told once."""
        try:
            yield
        except FlowcliError as error:
            if self.world > 1 and not self._lost:
                self._exchange(None, error)
            raise

    @contextmanager
    def telling_once(self) -> Iterator[None]:
        """Errors that leave the block are told by the process that is to tell them; the others end without a word."""
        try:
            yield
        except FlowcliError as error:
            if not self._tells:
                raise SystemExit(error.exit_code) from None
            raise
        except KeyboardInterrupt:
            if not self.first:
                raise SystemExit(130) from None
            raise

    def _exchange(self, value: Any, error: FlowcliError | None) -> list[Any]:
        from torch import distributed

        found: list[Any] = [None] * self.world
        with self.connected():
            distributed.all_gather_object(found, (value, None if error is None else error.exit_code))
        statuses = [status for _, status in found]
        failed = [rank for rank, status in enumerate(statuses) if status is not None]
        if not failed:
            return [each for each, _ in found]
        self._tells = self.rank == failed[0]
        if error is not None and self._tells:
            # torchrun ends this process when it sees that another has ended; the error is to be told before.
            if hasattr(signal, "pthread_sigmask"):
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            raise error
        raise SystemExit(statuses[failed[0]])

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Within the block a process that has gone is an error, which Gloo and NCCL tell each in their own way."""
        try:
            yield
        except RuntimeError as error:
            self._lost = True
            raise FlowcliError(
                f"a process of this training is gone, and this one ends: {first_line(error)[:200]}"
            ) from None

    def make_alike(self, module: nn.Module) -> None:
        """Give the module the first process's numbers; what is whole, as orders of columns, comes from the seed."""
        if self.world > 1:
            import torch
            from torch import distributed

            with self.connected():
                for tensor in filter(torch.is_floating_point, module.state_dict().values()):
                    distributed.broadcast(tensor, 0)

    def sums(self, tensors: list[Tensor]) -> list[Tensor]:
        """The sums over all processes of tensors ``(n,)`` of one type, bit for bit the same in each."""
        if self.world == 1:
            return tensors
        import torch
        from torch import distributed

        # All in one message.
        sent = torch.cat(tensors)
        with self.connected():
            distributed.all_reduce(sent)
        return list(torch.split(sent, [*map(len, tensors)]))


_current = Processes()


def current() -> Processes:
    """The processes that this one trains with; by default it is alone."""
    return _current


@contextmanager
def together(processes: Processes, device: str) -> Iterator[str]:
    """Within the block the processes are the :func:`current` ones; gives this one's device.

    Objects and processors' numbers go by Gloo, those of GPUs by NCCL.

    Raises:
        UsageError: a GPU is named, while each process takes that of its own number on its machine.
        FlowcliError: there are fewer GPUs than processes, or the others do not come.
    """
    global _current
    if processes.place is None or processes.world == 1:
        yield device
        return
    import torch
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    place = processes.place
    chosen = _device_of(place, device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
    try:
        store, rank, world = next(rendezvous("env://", timeout=LONGEST_WAIT))
        # After a restart torchrun's store still has the addresses of those that are gone.
        store = distributed.distributed_c10d.PrefixStore(f"flowcli/{place.restarts}/{world}", store)
        distributed.init_process_group(backend, timeout=LONGEST_WAIT, rank=rank, world_size=world, store=store)
    except (RuntimeError, ValueError) as error:
        raise FlowcliError(f"torchrun's processes do not find each other: {first_line(error)[:200]}") from None
    before, _current = _current, processes
    try:
        yield str(chosen)
    finally:
        _current = before
    distributed.destroy_process_group()


def _device_of(place: Place, name: str) -> torch.device:
    """The GPU with this process's number on its machine, or the processor."""
    import torch

    check_device_name(name)
    if ":" in name:
        raise UsageError(f"--device {name}: under torchrun each process takes a GPU of its own; say --device cuda")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if place.local_rank >= torch.cuda.device_count():
        raise FlowcliError(
            f"{torch.cuda.device_count()} GPUs for more processes of torchrun: a smaller --nproc-per-node, "
            "or --device cpu"
        )
    return torch.device("cuda", place.local_rank)
