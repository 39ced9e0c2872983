"""Chunks worked on by threads, in order."""

import threading
import time

import pytest

from flowcli.tables import pipeline
from flowcli.tables.pipeline import CHUNKS_PER_THREAD, SECONDS_OF_A_TRIAL, Pace, in_order


def chunks(n):
    """Chunks of one row each: their numbers."""
    return [(number,) for number in range(n)]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_chunks(threads):
    def work(chunk):
        time.sleep(0.002 * (chunk[0] % 3))
        return chunk[0]

    assert list(in_order(work, chunks(40), Pace(threads))) == list(range(40))
    assert list(in_order(work, [], Pace(threads))) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_so_many_threads_work_at_a_time(threads):
    together = threading.Barrier(threads)
    at_work, most = set(), 0

    def work(chunk):
        nonlocal most
        at_work.add(chunk)
        most = max(most, len(at_work))
        together.wait(20)
        at_work.discard(chunk)

    list(in_order(work, chunks(4 * threads), Pace(threads)))
    assert most == threads


def test_the_caller_goes_on_while_others_work():
    written = threading.Event()

    def work(chunk):
        # The third chunk waits for the first one's result to have been taken.
        return chunk[0] < 2 or written.wait(20)

    results = in_order(work, chunks(3), Pace(1))
    next(results)
    written.set()
    assert list(results) == [True, True]


def test_a_result_does_not_wait_for_the_next_chunk():
    taken = threading.Event()

    def source():
        yield (0,)
        # Nothing more comes before the first result has been taken.
        assert taken.wait(20)
        yield (1,)

    results = in_order(len, source(), Pace(1))
    assert next(results) == 1
    taken.set()
    assert list(results) == [1]


@pytest.mark.parametrize("threads", [1, 4])
def test_no_more_is_read_ahead_than_is_needed(threads):
    read = 0

    def source():
        nonlocal read
        for chunk in chunks(100):
            read += 1
            yield chunk

    for taken, _ in enumerate(in_order(len, source(), Pace(threads)), 1):
        assert read - taken <= CHUNKS_PER_THREAD * threads
    assert taken == 100


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("where", ["reading", "work"])
def test_an_error_comes_behind_the_results_before_it(threads, where):
    read = 0

    def source():
        nonlocal read
        for chunk in chunks(100):
            if where == "reading" and chunk[0] == 7:
                raise ValueError(7)
            read += 1
            yield chunk

    def work(chunk):
        if where == "work" and chunk[0] >= 7:
            raise ValueError(chunk[0])  # of several, the first is told, also where a later one comes sooner
        time.sleep(0.002 * (7 - chunk[0]))
        return chunk[0]

    results = in_order(work, source(), Pace(threads))
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(ValueError, match=r"^7$"):
        next(results)
    assert read <= 8 + CHUNKS_PER_THREAD * threads


def test_when_the_results_are_not_wanted_any_more_the_work_ends():
    before, done, go_on = threading.active_count(), [], threading.Event()

    def work(chunk):
        done.append(chunk[0])
        assert not chunk[0] or go_on.wait(20)

    results = in_order(work, chunks(100), Pace(2))
    next(results)
    results.close()
    go_on.set()
    limit = time.monotonic() + 20
    while threading.active_count() > before:
        assert time.monotonic() < limit, "its threads are there still"
        time.sleep(0.001)
    assert len(done) <= 3


# How many threads


def settled(pace, now, rates, rows=100, first=1.0):
    """The number of threads in the end, where so many of them do that many rows a second."""
    for number in range(200):
        now[0] += rows / rates[pace.threads] * (first if number == 0 else 1)
        pace.done(rows)
    return pace.threads


@pytest.mark.parametrize(
    ("processors", "rates", "threads"),
    [
        (1, {1: 1000}, 1),
        (2, {1: 1000, 2: 1800}, 2),
        (2, {1: 1000, 2: 1010}, 1),  # another process has the other processor
        (2, {1: 1000, 2: 90}, 1),
        (4, {1: 1000, 2: 1900, 4: 3400}, 4),
        (4, {1: 1000, 2: 1900, 4: 2000}, 2),
        (3, {1: 1000, 2: 1900, 3: 2700}, 3),
        (64, {1: 1000, 2: 1900, 4: 3600, 8: 7000}, 8),
    ],
)
def test_the_fastest_number_of_threads_is_found(monkeypatch, processors, rates, threads):
    monkeypatch.setattr(pipeline, "usable_cpus", lambda: processors)
    now = [0.0]
    pace = Pace(clock=lambda: now[0])
    assert pace.threads == 1
    assert settled(pace, now, rates) == threads
    # It stays at that, whatever comes.
    assert settled(pace, now, dict.fromkeys(rates, 1)) == threads


def test_a_slow_first_chunk_does_not_count(monkeypatch):
    monkeypatch.setattr(pipeline, "usable_cpus", lambda: 2)
    now = [0.0]
    assert settled(Pace(clock=lambda: now[0]), now, {1: 1000, 2: 1010}, first=20) == 1


def test_a_trial_is_a_moment(monkeypatch):
    monkeypatch.setattr(pipeline, "usable_cpus", lambda: 2)
    now = [0.0]
    pace = Pace(clock=lambda: now[0])
    while pace.threads == 1 and now[0] < 10:
        now[0] += 0.01
        pace.done(10)
    assert now[0] == pytest.approx(SECONDS_OF_A_TRIAL, abs=0.03)


def test_an_asked_for_number_is_kept(monkeypatch):
    monkeypatch.setattr(pipeline, "usable_cpus", lambda: 2)
    now = [0.0]
    assert settled(Pace(5, clock=lambda: now[0]), now, {5: 1}) == 5
    assert settled(Pace(1, clock=lambda: now[0]), now, {1: 1000, 2: 2000}) == 1
