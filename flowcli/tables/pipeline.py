"""A table's chunks worked on by threads, while another reads and the caller's own writes."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Condition, Thread
from typing import Generic, TypeVar

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
    """What ``work`` makes of each chunk, in the chunks' order, each as soon as it can be had.

    A thread of its own reads the chunks, no more of them than keep the others busy. An error, of reading or of the
    work, comes when its turn has come, behind all results before it.

    Args:
        work: does not change its chunk, and allows several threads to call it at once.
        pace: how many threads work.
    """
    return _Stream(work, chunks, pace).results()


class _Stream(Generic[Chunk, Result]):
    """Chunks on their way: read, worked on, or waiting for their turn. Nobody waits for its threads to end."""

    def __init__(self, work: Callable[[Chunk], Result], chunks: Iterable[Chunk], pace: Pace) -> None:
        self._work, self._chunks, self._pace = work, chunks, pace
        self._tasks: SimpleQueue[tuple[Future[Result], Chunk] | None] = SimpleQueue()
        self._pending: deque[tuple[Future[Result], int]] = deque()
        self._threads = 0
        self._ended = self._stopped = False
        self._changed = Condition()

    def results(self) -> Iterator[Result]:
        Thread(target=self._read, daemon=True).start()
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._pending or self._ended)
                    if not self._pending:
                        return
                    future, rows = self._pending[0]
                result = future.result()
                self._pace.done(rows)
                with self._changed:
                    self._pending.popleft()
                    self._changed.notify_all()
                yield result
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
                for waiting, _ in self._pending:
                    waiting.cancel()
                for _ in range(self._threads):
                    self._tasks.put(None)

    def _read(self) -> None:
        try:
            for chunk in self._chunks:
                if not self._add(chunk):
                    return
        except BaseException as error:
            failed: Future[Result] = Future()
            failed.set_exception(error)
            with self._changed:
                self._pending.append((failed, 0))
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _add(self, chunk: Chunk) -> bool:
        """Hand a chunk to the threads, and wait until the next one is needed; false if none is needed any more."""
        with self._changed:
            if self._stopped:
                return False
            future: Future[Result] = Future()
            self._pending.append((future, len(chunk)))
            self._tasks.put((future, chunk))
            wanted = min(self._pace.threads, len(self._pending))
            while self._threads < wanted:
                Thread(target=_work, args=(self._work, self._tasks), daemon=True).start()
                self._threads += 1
            while self._threads > self._pace.threads:
                self._tasks.put(None)
                self._threads -= 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._stopped or len(self._pending) < CHUNKS_PER_THREAD * self._pace.threads)
            return not self._stopped


def _work(work: Callable[[Chunk], Result], tasks: SimpleQueue[tuple[Future[Result], Chunk] | None]) -> None:
    """Do tasks until there is a ``None``."""
    while (task := tasks.get()) is not None:
        future, chunk = task
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work(chunk))
            except BaseException as error:
                future.set_exception(error)
