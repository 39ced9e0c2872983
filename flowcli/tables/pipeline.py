"""A table's chunks worked on by threads, while the caller's own reads and writes others."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

Chunk = TypeVar("Chunk", bound=Sized)
Result = TypeVar("Result")

# With more, the one thread that reads cannot keep up, and each has a chunk's activations in memory.
MOST_THREADS = 8
# So many of a thread's chunks are read ahead, so that it need not wait while the caller writes.
CHUNKS_PER_THREAD = 2
# A number of threads is tried for so long; twice as many are worth it if they do so many times the rows.
SECONDS_OF_A_TRIAL = 0.3
LEAST_GAIN = 1.15


class Pace:
    """How many threads work at a time: as many as were asked for, or the fastest number.

    That is found while they work: the number is doubled from one on as long as that pays. What keeps it from paying
    may be other processes, a slow source or a slow reader of the results just as well as the work itself.
    """

    def __init__(self, threads: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """``threads``: use so many; ``None``: find out, with :func:`usable_cpus` and ``MOST_THREADS`` as the limit."""
        self.threads = threads or 1
        self._most = threads or min(usable_cpus(), MOST_THREADS)
        self._clock = clock
        self._slower: tuple[int, float] | None = None
        # The first chunk pays for what is set up only once.
        self._passed_over, self._rows, self._since = 1, 0, 0.0

    def done(self, rows: int) -> None:
        """Take note of a chunk's results, of so many rows, and change the number of threads."""
        if self.threads == self._most and self._slower is None:
            return
        now = self._clock()
        if self._passed_over:
            self._passed_over -= 1
            self._rows, self._since = 0, now
            return
        self._rows += rows
        if now - self._since < SECONDS_OF_A_TRIAL:
            return
        rate = self._rows / (now - self._since)
        if self._slower is not None and rate < LEAST_GAIN * self._slower[1]:
            self.threads = self._most = self._slower[0]
            self._slower = None
        elif self.threads == self._most:
            self._slower = None
        else:
            self._slower = self.threads, rate
            self.threads = min(2 * self.threads, self._most)
            # These were begun by fewer threads.
            self._passed_over = CHUNKS_PER_THREAD * self.threads


def usable_cpus() -> int:
    """The processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(work: Callable[[Chunk], Result], chunks: Iterable[Chunk], pace: Pace) -> Iterator[Result]:
    """What ``work`` makes of each chunk, in the chunks' order.

    The chunks are read in the caller's thread; ``work`` must allow several threads to call it at once. An error, of
    reading or of the work, comes when its turn has come, behind all results before it.

    Args:
        work: does not change its chunk.
        pace: how many threads work.
    """
    tasks: SimpleQueue[tuple[Future[Result], Chunk] | None] = SimpleQueue()
    pending: deque[tuple[Future[Result], int]] = deque()
    source, threads = iter(chunks), 0

    def finished() -> Result:
        future, rows = pending.popleft()
        result = future.result()
        pace.done(rows)
        return result

    try:
        while True:
            while threads != pace.threads:
                if threads < pace.threads:
                    # A daemon: after Ctrl-C nobody waits for the chunk under way.
                    Thread(target=_work, args=(work, tasks), daemon=True).start()
                    threads += 1
                else:
                    tasks.put(None)
                    threads -= 1
            future: Future[Result] = Future()
            try:
                chunk = next(source)
            except StopIteration:
                break
            except Exception as error:
                future.set_exception(error)
                pending.append((future, 0))
                break
            tasks.put((future, chunk))
            pending.append((future, len(chunk)))
            while pending and (len(pending) > CHUNKS_PER_THREAD * pace.threads or pending[0][0].done()):
                yield finished()
        while pending:
            yield finished()
    finally:
        for waiting, _ in pending:
            waiting.cancel()
        for _ in range(threads):
            tasks.put(None)


def _work(work: Callable[[Chunk], Result], tasks: SimpleQueue[tuple[Future[Result], Chunk] | None]) -> None:
    """Do tasks until there is a ``None``."""
    while (task := tasks.get()) is not None:
        future, chunk = task
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work(chunk))
            except BaseException as error:
                future.set_exception(error)
