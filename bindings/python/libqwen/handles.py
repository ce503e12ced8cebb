"""Ownership of a native handle: closed once, by hand or by the collector, never after a fork."""

from __future__ import annotations

import ctypes
import os
import weakref
from types import TracebackType
from typing import Optional, Type, TypeVar

from . import _native
from .errors import QwenForkedError, QwenHandleError

_Self = TypeVar("_Self", bound="Owned")


class Owned:
    """Base of `Model` and `Session`: holds one handle and closes it exactly once."""

    _word = "handle"
    _close_function = ""

    def _adopt(self, library: _native.Library, handle: ctypes.c_void_p) -> None:
        """Takes the handle over; from here on it is closed with this object at the latest."""
        self._library = library
        self._value = handle.value or 0
        self._process = os.getpid()
        self._finalizer = weakref.finalize(
            self, _close, library, self._close_function, self._value, self._process
        )

    @property
    def library(self) -> _native.Library:
        """The loaded library that the handle belongs to."""
        return self._library

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._finalizer.alive

    @property
    def handle(self) -> ctypes.c_void_p:
        """The native handle.

        Raises:
            QwenHandleError: closed.
            QwenForkedError: this is a child of the process that opened it.
        """
        if not self._finalizer.alive:
            raise QwenHandleError(f"this {self._word} is closed")
        if os.getpid() != self._process:
            raise QwenForkedError(
                f"this {self._word} belongs to the parent process {self._process}; "
                "open the model again after fork(), or use the spawn start method"
            )
        return ctypes.c_void_p(self._value)

    def close(self) -> None:
        """Closes the native object; harmless when it is closed already. Any thread."""
        self._finalizer()

    def __enter__(self: _Self) -> _Self:
        """The object itself."""
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        """Closes."""
        self.close()


def _close(library: _native.Library, function: str, value: int, process: int) -> None:
    """The finaliser; holds no reference to the object. In a forked child it leaves the handle alone."""
    if os.getpid() == process:
        getattr(library.functions, function)(ctypes.c_void_p(value))
