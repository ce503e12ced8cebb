"""Exceptions: one class per status of the C interface, all of them `QwenError`.

Where Python already has a word for the kind of failure, the class inherits it too, so that
``except ValueError``, ``except OSError``, ``except MemoryError`` and ``except TimeoutError`` work as
they would for code written in Python.
"""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Mapping, Optional, Tuple, Type

__all__ = [
    "QwenArgumentError",
    "QwenBufferError",
    "QwenBusyError",
    "QwenCancelledError",
    "QwenContextError",
    "QwenDeadlineError",
    "QwenError",
    "QwenForkedError",
    "QwenFormatError",
    "QwenHandleError",
    "QwenIOError",
    "QwenInternalError",
    "QwenLibraryError",
    "QwenLimitError",
    "QwenMemoryError",
    "QwenNumericError",
    "QwenOptionError",
    "QwenUnsupportedError",
    "error_from_status",
]


class QwenError(Exception):
    """A call into libqwen failed.

    Attributes:
        code: the status number of the C interface, for instance -5.
        name: its name, for instance ``"QWEN_ERROR_FORMAT"``.
        message: the sentence: where, what, what to do.
        hint: what to do about it, when the library says it apart from the sentence, else None.
        path: the file concerned, or None.
        key: the option or request key concerned, or None.
        offset: the byte of the file concerned, or None.
        details: everything the library reported, as a dictionary.
    """

    code: int = 0
    name: str = "QWEN_UNKNOWN"

    default_code: ClassVar[int] = 0
    default_name: ClassVar[str] = "QWEN_UNKNOWN"

    def __init__(
        self,
        message: str = "",
        *,
        code: Optional[int] = None,
        name: Optional[str] = None,
        details: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """Makes an error; code and name default to those of the class."""
        super().__init__(message)
        self.code = self.default_code if code is None else code
        self.name = self.default_name if name is None else name
        self.message = message
        self.details: Dict[str, Any] = dict(details or {})
        self.hint: Optional[str] = self.details.get("hint")
        self.path: Optional[str] = self.details.get("path")
        self.key: Optional[str] = self.details.get("key")
        self.offset: Optional[int] = self.details.get("offset")

    def __str__(self) -> str:
        """The sentence, with the hint behind it when the sentence does not contain it."""
        text = self.message or self.name
        if self.hint and self.hint not in text:
            text = f"{text} ({self.hint})"
        return text

    def __reduce__(self) -> Tuple[Any, ...]:
        """Pickles completely, so that errors cross process borders."""
        return _rebuild, (type(self), self.message, self.code, self.name, self.details)


def _rebuild(
    kind: Type[QwenError], message: str, code: int, name: str, details: Dict[str, Any]
) -> QwenError:
    return kind(message, code=code, name=name, details=details)


class QwenArgumentError(QwenError, ValueError):
    """An impossible argument, or text that is not UTF-8."""

    default_code, default_name = -1, "QWEN_ERROR_ARGUMENT"


class QwenHandleError(QwenError, ValueError):
    """A model or session that is closed."""

    default_code, default_name = -2, "QWEN_ERROR_HANDLE"


class QwenMemoryError(QwenError, MemoryError):
    """Not enough memory, or ``max_memory`` would be exceeded."""

    default_code, default_name = -3, "QWEN_ERROR_MEMORY"


class QwenIOError(QwenError, OSError):
    """The operating system refused a file operation; ``filename`` is set when it is known."""

    default_code, default_name = -4, "QWEN_ERROR_IO"

    def __init__(
        self,
        message: str = "",
        *,
        code: Optional[int] = None,
        name: Optional[str] = None,
        details: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """Makes an error; see `QwenError`."""
        super().__init__(message, code=code, name=name, details=details)
        self.filename = self.path


class QwenFormatError(QwenError, ValueError):
    """A file breaks its format."""

    default_code, default_name = -5, "QWEN_ERROR_FORMAT"


class QwenUnsupportedError(QwenError, NotImplementedError):
    """A valid file or request that this build can't serve."""

    default_code, default_name = -6, "QWEN_ERROR_UNSUPPORTED"


class QwenLimitError(QwenError, ValueError):
    """A documented limit is exceeded."""

    default_code, default_name = -7, "QWEN_ERROR_LIMIT"


class QwenContextError(QwenError, ValueError):
    """The prompt does not fit into the context."""

    default_code, default_name = -8, "QWEN_ERROR_CONTEXT"


class QwenCancelledError(QwenError):
    """Cancelled before there was a result to keep, or undone by a callback."""

    default_code, default_name = -9, "QWEN_ERROR_CANCELLED"


class QwenBusyError(QwenError, RuntimeError):
    """The session is at work in another call."""

    default_code, default_name = -10, "QWEN_ERROR_BUSY"


class QwenNumericError(QwenError, ArithmeticError):
    """The model produced a number that is not finite."""

    default_code, default_name = -11, "QWEN_ERROR_NUMERIC"


class QwenBufferError(QwenError, BufferError):
    """A buffer given to the library was too small. The binding sizes its buffers itself."""

    default_code, default_name = -12, "QWEN_ERROR_BUFFER"


class QwenOptionError(QwenError, ValueError):
    """An option or request key is unknown, ill-typed or out of range; ``key`` names it."""

    default_code, default_name = -13, "QWEN_ERROR_OPTION"


class QwenDeadlineError(QwenError, TimeoutError):
    """``deadline_ms`` passed before there was a result to keep."""

    default_code, default_name = -14, "QWEN_ERROR_DEADLINE"


class QwenForkedError(QwenError, RuntimeError):
    """A model or session of the parent process was used after ``fork()``."""

    default_code, default_name = -15, "QWEN_ERROR_FORKED"


class QwenInternalError(QwenError, RuntimeError):
    """A broken promise inside the library: please report it."""

    default_code, default_name = -16, "QWEN_ERROR_INTERNAL"


class QwenLibraryError(QwenError, ImportError):
    """The shared library was not found, can't be loaded, or is too old for this package."""

    name: str  # ImportError has one too, which may be None

    default_name = "QWEN_LIBRARY"


_BY_CODE: Dict[int, Type[QwenError]] = {
    kind.default_code: kind
    for kind in (
        QwenArgumentError,
        QwenHandleError,
        QwenMemoryError,
        QwenIOError,
        QwenFormatError,
        QwenUnsupportedError,
        QwenLimitError,
        QwenContextError,
        QwenCancelledError,
        QwenBusyError,
        QwenNumericError,
        QwenBufferError,
        QwenOptionError,
        QwenDeadlineError,
        QwenForkedError,
        QwenInternalError,
    )
}


def error_from_status(
    status: int, name: str, message: str, details: Optional[Mapping[str, Any]] = None
) -> QwenError:
    """Returns the exception for a status; numbers of a newer library give plain `QwenError`."""
    kind = _BY_CODE.get(status, QwenError)
    return kind(message or name, code=status, name=name, details=details)
