"""A run driven by pull: an iterator over the pieces of an answer."""

from __future__ import annotations

import ctypes
import json
import threading
from types import TracebackType
from typing import Any, Callable, Iterator, Mapping, Optional, Protocol, Type

from . import _native
from .errors import QwenArgumentError, QwenError
from .results import Event, EventKind, Result

__all__ = ["Stream"]

#: Longest time in one native wait, so that Python handles signals (Ctrl-C) at least this often.
WAIT_MILLISECONDS = 50


class _Owner(Protocol):
    """What a stream needs of its session."""

    @property
    def closed(self) -> bool: ...
    @property
    def library(self) -> _native.Library: ...
    @property
    def handle(self) -> ctypes.c_void_p: ...
    def cancel(self) -> None: ...


class Stream(Iterator[str]):
    """The answer as it is made: iterate for pieces of text, `result` is there at the end.

    The run starts when the stream is made. Closing the stream early (``close()``, leaving a ``with``
    block, losing the last reference, Ctrl-C while iterating) cancels the run within 50 ms and leaves
    the session ready for the next call. Pieces hold whole characters only, and joined they are
    ``result.text``.

    Threads: one at a time; `cancel` may be called from any.
    """

    def __init__(
        self,
        session: _Owner,
        request: Mapping[str, Any],
        on_close: Optional[Callable[[], None]] = None,
    ) -> None:
        """Starts the run. Made by `Session.stream` and its siblings, not by you.

        Raises:
            QwenError: the request was refused, or the session is busy.
        """
        self._session = session
        self._on_close = on_close
        self._lock = threading.Lock()
        self._over = True
        self._result: Optional[Result] = None
        session.library.call("qwen_begin", session.handle, _native.encode_options(request))
        self._over = False

    @property
    def result(self) -> Result:
        """The result of the run.

        Raises:
            QwenArgumentError: the run is not over, or it was closed early.
        """
        if self._result is None:
            raise QwenArgumentError("this stream has no result: iterate to its end first")
        return self._result

    @property
    def done(self) -> bool:
        """Whether the run is over, by its end, by an error, or by `close`."""
        return self._over

    def poll(self, timeout_ms: int = 0) -> Optional[Event]:
        """Returns the next event, or None when there is none within the timeout or the run is over.

        Args:
            timeout_ms: how long to wait in the library; 0 does not wait, negative has no limit (and
                no chance for Ctrl-C).

        Raises:
            QwenError: the error that ended the run.
        """
        with self._lock:
            if self._over:
                return None
            library, event = self._session.library, _native.EventPointer()
            try:
                status = library.call(
                    "qwen_next", self._session.handle, timeout_ms, ctypes.byref(event)
                )
                if status == _native.PENDING:
                    return None
                if status == _native.DONE or not event:
                    self._finish()
                    return None
                found = copy_event(library, event.contents)
                if found is None:
                    return None
            except QwenError:
                self._finish()
                raise
            if found.kind is EventKind.DONE:
                self._result = found.result
                self._finish()
            return found

    def events(self) -> Iterator[Event]:
        """Iterates over all events, progress and the final one included.

        Raises:
            QwenError: the error that ended the run.
        """
        try:
            while not self._over:
                event = self.poll(WAIT_MILLISECONDS)
                if event is not None:
                    yield event
        finally:
            self.close()

    def __next__(self) -> str:
        """The next piece of text.

        Raises:
            StopIteration: the run is over.
            QwenError: the error that ended the run.
        """
        try:
            while not self._over:
                event = self.poll(WAIT_MILLISECONDS)
                if event is not None and event.kind is EventKind.TEXT:
                    return event.text
        except BaseException:
            self.close()
            raise
        raise StopIteration

    def wait(self) -> Result:
        """Runs to the end and returns the result. Ctrl-C cancels the run and raises.

        Raises:
            QwenError: the error that ended the run.
        """
        for _ in self:
            pass
        return self.result

    def cancel(self) -> None:
        """Stops the run, keeping what was said; iterate on to get the rest and the result."""
        if not self._over:
            self._session.cancel()

    def close(self) -> None:
        """Cancels the run if it is not over and waits for its end (up to 50 ms). Idempotent."""
        if self._over:
            return
        session = self._session
        if not session.closed:
            session.cancel()
        with self._lock:
            event = _native.EventPointer()
            while not self._over:
                status = -1
                if not session.closed:
                    # Errors don't matter any more: whatever ended the run, it is over.
                    status = session.library.functions.qwen_next(
                        session.handle, WAIT_MILLISECONDS, ctypes.byref(event)
                    )
                kind = event.contents.kind if status == _native.OK and event else 0
                if status < 0 or status == _native.DONE or kind == _native.EVENT_DONE:
                    self._finish()

    def __enter__(self) -> "Stream":
        """The stream itself."""
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        """Closes."""
        self.close()

    def __del__(self) -> None:
        """Closes, so that a forgotten stream does not keep the session busy."""
        if not getattr(self, "_over", True):
            try:
                self.close()
            except QwenError:
                pass

    def _finish(self) -> None:
        """Marks the run as over and gives the session back, once."""
        self._over = True
        done, self._on_close = self._on_close, None
        if done is not None:
            done()


def copy_event(library: _native.Library, event: _native.Event) -> Optional[Event]:
    """An event as a Python value; None for a kind that only a newer package knows."""
    try:
        kind = EventKind(event.kind)
    except ValueError:
        return None
    text = library.text_of(event)
    if kind is EventKind.DONE:
        return Event(kind, result=Result(json.loads(text) if text else {}))
    # The member came with the kinds that use it.
    call = event.call if kind in (EventKind.TOOL_CALL, EventKind.TOOL_ARGUMENTS) else -1
    if kind is EventKind.TOOL_CALL:
        facts = json.loads(text)
        return Event(
            kind, "", event.id, event.logprob, call=call, call_id=facts["id"], name=facts["name"]
        )
    return Event(kind, text, event.id, event.logprob, event.fraction, call=call)
