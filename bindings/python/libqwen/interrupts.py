"""Native calls that Ctrl-C can end.

Python turns a signal into KeyboardInterrupt only in the main thread and only between its own steps:
never inside a native call, and inside a callback too early for the callback to catch it (ctypes would
print and drop it). So the main thread does not enter long calls itself. It starts a thread for the
call, answers its callbacks, and can be interrupted all the time.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any, Callable, List, Tuple, TypeVar

from .errors import QwenError

_T = TypeVar("_T")

#: Makes a native call; what it is given is called back from there and returns a number.
Work = Callable[[Callable[[Any], int]], _T]


def interruptible(
    work: Work[_T], handle: Callable[[Any], int], refusal: int, cancel: Callable[[], None]
) -> _T:
    """Does `work`; its callbacks reach `handle` on the calling thread.

    Args:
        work: the call.
        handle: answers a callback. What it raises ends the call and is raised here.
        refusal: the answer to callbacks that tells the call to end.
        cancel: ends the call from outside.

    Raises:
        BaseException: what `handle` raised, KeyboardInterrupt, else what `work` raised.
    """
    if threading.current_thread() is threading.main_thread():
        return _beside(work, handle, refusal, cancel)
    return _within(work, handle, refusal)


def _within(work: Work[_T], handle: Callable[[Any], int], refusal: int) -> _T:
    """On this thread: no signal ever comes here."""
    raised: List[BaseException] = []

    def receive(item: Any) -> int:
        if not raised:
            try:
                return handle(item)
            except BaseException as error:
                raised.append(error)
        return refusal

    try:
        result = work(receive)
    except QwenError:
        if raised:
            raise raised[0] from None
        raise
    if raised:
        raise raised[0]
    return result


def _beside(
    work: Work[_T], handle: Callable[[Any], int], refusal: int, cancel: Callable[[], None]
) -> _T:
    """On another thread, which waits for this one whenever it calls back."""
    items: SimpleQueue[Tuple[Any, ...]] = SimpleQueue()
    answers: SimpleQueue[int] = SimpleQueue()
    stopping = threading.Event()
    results: List[_T] = []
    failures: List[BaseException] = []

    def receive(item: Any) -> int:
        if stopping.is_set():
            return refusal
        items.put((item,))
        return answers.get()

    def body() -> None:
        try:
            results.append(work(receive))
        except BaseException as error:
            failures.append(error)
        items.put(())

    thread = threading.Thread(target=body, name="libqwen", daemon=True)
    thread.start()
    try:
        while True:
            found = items.get()
            if not found:
                break
            answers.put(handle(found[0]))
        thread.join()
    except BaseException:
        stopping.set()
        answers.put(refusal)  # for a callback that may be waiting
        cancel()
        thread.join()
        raise
    if failures:
        raise failures[0]
    return results[0]
