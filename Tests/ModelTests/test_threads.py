"""What threads cost and take: nothing while nothing runs, and a run goes on beside a host that is busy itself."""

from __future__ import annotations

import multiprocessing
import os
import time

import libqwen
from conftest import FIXTURES, GREEDY

TINY = str(FIXTURES / "tiny" / "llama")


def test_an_open_session_is_idle_between_runs():
    with libqwen.Model(TINY, threads=4) as model, model.session() as session:
        session.generate("It was", max_new_tokens=16, **GREEDY)
        # Threads may spin for a moment behind a run.
        time.sleep(0.05)
        before = time.process_time()
        time.sleep(1)
        assert time.process_time() - before < 0.02


def spin(stop) -> None:
    while not stop.is_set():
        pass


def seconds_for(session) -> float:
    start = time.perf_counter()
    session.generate("It was", max_new_tokens=200, min_new_tokens=200, **GREEDY)
    return time.perf_counter() - start


def test_busy_neighbours_slow_a_run_down_and_do_not_stop_it():
    processors = len(os.sched_getaffinity(0))
    with libqwen.Model(TINY, threads=processors) as model, model.session() as session:
        quiet = min(seconds_for(session) for _ in range(3))
        stop = multiprocessing.Event()
        neighbours = [multiprocessing.Process(target=spin, args=(stop,)) for _ in range(processors)]
        for neighbour in neighbours:
            neighbour.start()
        try:
            busy = min(seconds_for(session) for _ in range(3))
        finally:
            stop.set()
            for neighbour in neighbours:
                neighbour.join()
    # Half of each processor is left; the rest is room for schedulers.
    assert busy < 6 * quiet + 0.5


def threads_left(most: int) -> int:
    """Threads of this process, as soon as they are no more than that: one that has been joined is listed for a moment yet."""
    end = time.monotonic() + 2
    while (count := len(os.listdir("/proc/self/task"))) > most and time.monotonic() < end:
        time.sleep(0.001)
    return count


def test_threads_beyond_the_processors_are_not_started():
    processors = len(os.sched_getaffinity(0))
    before = threads_left(1)
    texts = []
    for threads in (1, processors, 16 * processors):
        with libqwen.Model(TINY, threads=threads) as model, model.session() as session:
            texts.append(session.generate("It was", max_new_tokens=32, **GREEDY).text)
            most = before + min(threads, processors) - 1
            assert threads_left(most) <= most
    assert texts == [texts[0]] * 3


def test_threads_beyond_the_processors_cost_little():
    processors = len(os.sched_getaffinity(0))
    counts = (processors, 8 * processors)
    models = [libqwen.Model(TINY, threads=threads) for threads in counts]
    sessions = [model.session() for model in models]
    # In turn, so that neighbours slow both down.
    seconds = [[seconds_for(session) for session in sessions] for _ in range(5)]
    few, many = (min(times) for times in zip(*seconds))
    for owner in sessions + models:
        owner.close()
    assert many < 2 * few + 0.1
