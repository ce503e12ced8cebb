"""The door to libqwen.so: finding it, its signatures, its statuses as exceptions.

Nothing is loaded when the package is imported; `library()` loads on first use. Calls release the
interpreter lock. Private: the classes in `model` and `session` are the interface.
"""

from __future__ import annotations

import ctypes
import json
import os
import threading
from typing import Any, Callable, Dict, List, Mapping, NoReturn, Optional, Tuple

from .errors import QwenArgumentError, QwenLibraryError, QwenOptionError, error_from_status

OK = 0
PENDING = 1
DONE = 2
ERROR_CANCELLED = -9
ERROR_BUFFER = -12

EVENT_TEXT = 1
EVENT_PROGRESS = 2
EVENT_DONE = 3
EVENT_REASONING = 4
EVENT_TOOL_CALL = 5
EVENT_TOOL_ARGUMENTS = 6

CONTINUE = 0
STOP = 1
CANCEL = 2

#: The interface version this package was written for; a library may be newer, never older.
ABI_VERSION = 2

_NAMES = ("libqwen.so.0", "libqwen.so")


class Event(ctypes.Structure):
    """`qwen_event`: fields may be added behind these, `size` tells how many the library has."""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("kind", ctypes.c_int32),
        ("text", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("id", ctypes.c_int32),
        ("logprob", ctypes.c_float),
        ("fraction", ctypes.c_double),
        ("call", ctypes.c_int32),
    ]


EventPointer = ctypes.POINTER(Event)
EventCallback = ctypes.CFUNCTYPE(ctypes.c_int32, EventPointer, ctypes.c_void_p)
ProgressCallback = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_char_p, ctypes.c_double, ctypes.c_void_p
)
BatchCallback = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_int64, EventPointer, ctypes.c_void_p
)
LogCallback = ctypes.CFUNCTYPE(None, ctypes.c_int32, ctypes.c_char_p, ctypes.c_void_p)

_handle = ctypes.c_void_p
_handle_out = ctypes.POINTER(ctypes.c_void_p)
_text = ctypes.c_char_p
_text_out = ctypes.POINTER(ctypes.c_void_p)
_size = ctypes.c_size_t
_size_out = ctypes.POINTER(ctypes.c_size_t)
_status = ctypes.c_int32
_ids = ctypes.POINTER(ctypes.c_int32)
_floats = ctypes.c_void_p
_user = ctypes.c_void_p

_SIGNATURES: Dict[str, Tuple[Any, List[Any]]] = {
    "qwen_version": (ctypes.c_char_p, []),
    "qwen_abi_version": (ctypes.c_int32, []),
    "qwen_status_name": (ctypes.c_char_p, [_status]),
    "qwen_last_error": (ctypes.c_char_p, []),
    "qwen_last_error_json": (ctypes.c_char_p, []),
    "qwen_describe": (_status, [_text, _text_out]),
    "qwen_string_free": (None, [ctypes.c_void_p]),
    "qwen_model_open": (_status, [_handle_out, _text, _text, ProgressCallback, _user]),
    "qwen_model_convert": (_status, [_text, _text, _text, ProgressCallback, _user]),
    "qwen_model_plan": (_status, [_text, _text, _text_out]),
    "qwen_model_info": (_status, [_handle, _text_out]),
    "qwen_model_close": (None, [_handle]),
    "qwen_tokenize": (_status, [_handle, _text, _size, _text, _ids, _size, _size_out]),
    "qwen_detokenize": (
        _status,
        [_handle, _ids, _size, _text, ctypes.c_char_p, _size, _size_out],
    ),
    "qwen_token_id": (_status, [_handle, _text, _size, ctypes.POINTER(ctypes.c_int32)]),
    "qwen_session_open": (_status, [_handle_out, _handle, _text]),
    "qwen_session_info": (_status, [_handle, _text_out]),
    "qwen_session_reset": (_status, [_handle]),
    "qwen_session_cancel": (_status, [_handle]),
    "qwen_session_close": (None, [_handle]),
    "qwen_generate": (_status, [_handle, _text, _size, _text, EventCallback, _user, _text_out]),
    "qwen_chat": (_status, [_handle, _text, EventCallback, _user, _text_out]),
    "qwen_begin": (_status, [_handle, _text]),
    "qwen_next": (_status, [_handle, ctypes.c_int64, ctypes.POINTER(EventPointer)]),
    "qwen_render": (_status, [_handle, _text, _ids, _size, _size_out, _text_out]),
    "qwen_logits": (_status, [_handle, _ids, _size, _size, _floats, _size, _size_out]),
    "qwen_set_log": (None, [LogCallback, _user, ctypes.c_int32]),
    "qwen_token_text": (
        _status,
        [_handle, ctypes.c_int32, ctypes.c_char_p, _size, _size_out],
    ),
    "qwen_session_tokens": (_status, [_handle, _ids, _size, _size_out]),
    "qwen_session_rewind": (_status, [_handle, _size]),
    "qwen_session_fork": (_status, [_handle_out, _handle]),
    "qwen_session_save": (_status, [_handle, _text]),
    "qwen_session_save_buffer": (_status, [_handle, ctypes.c_char_p, _size, _size_out]),
    "qwen_session_load": (_status, [_handle, _text]),
    "qwen_session_load_buffer": (_status, [_handle, ctypes.c_char_p, _size]),
    "qwen_session_set_draft": (_status, [_handle, _handle]),
    "qwen_session_feed": (_status, [_handle, _ids, _size]),
    "qwen_session_logits": (_status, [_handle, ctypes.c_int64, _floats, _size, _size_out]),
    "qwen_embed": (_status, [_handle, _text, _size, _text, _floats, _size, _size_out]),
    "qwen_sampler_open": (_status, [_handle_out, _handle, _text]),
    "qwen_sampler_distribution": (
        _status,
        [_handle, _ids, _size, _floats, _size, _ids, _floats, _size, _size_out],
    ),
    "qwen_sampler_sample": (_status, [_handle, _ids, _size, _floats, _size, _ids]),
    "qwen_sampler_close": (None, [_handle]),
    "qwen_batch_open": (_status, [_handle_out, _handle, _text]),
    "qwen_batch_submit": (_status, [_handle, _text, ctypes.POINTER(ctypes.c_int64)]),
    "qwen_batch_step": (_status, [_handle, BatchCallback, _user, _size_out]),
    "qwen_batch_cancel": (_status, [_handle, ctypes.c_int64]),
    "qwen_batch_close": (None, [_handle]),
    "qwen_score": (_status, [_handle, _ids, _size, _floats, _size, _size_out]),
}


class Library:
    """One loaded libqwen.so with typed functions.

    Safe for any number of threads: the interface has no state of its own but the last error, which
    belongs to the calling thread.
    """

    def __init__(self, path: str) -> None:
        """Loads the library at `path`, or by name through the system loader.

        Raises:
            QwenLibraryError: it can't be loaded, lacks a function, or is older than this package.
        """
        self.path = path
        try:
            self.functions = ctypes.CDLL(path)
        except OSError as error:
            raise QwenLibraryError(f"{path}: can't be loaded: {error}") from error
        for name, (result, arguments) in _SIGNATURES.items():
            try:
                function = getattr(self.functions, name)
            except AttributeError:
                raise QwenLibraryError(
                    f"{path}: has no {name}; the library is older than this package, update it"
                ) from None
            function.restype = result
            function.argtypes = arguments
        abi = int(self.functions.qwen_abi_version())
        if abi < ABI_VERSION:
            raise QwenLibraryError(
                f"{path}: has interface {abi}, this package needs {ABI_VERSION}; update the library"
            )

    def call(self, name: str, *arguments: Any) -> int:
        """Calls a function that returns a status; returns it if it is not an error.

        Raises:
            QwenError: the subclass for the status.
        """
        status: int = getattr(self.functions, name)(*arguments)
        if status < 0:
            self.fail(status)
        return status

    def fail(self, status: int) -> NoReturn:
        """Raises the exception for `status` with this thread's last error."""
        raw = self.functions.qwen_last_error_json()
        name = self.functions.qwen_status_name(status).decode("ascii", "replace")
        try:
            details = json.loads(raw.decode("utf-8", "replace")) if raw else {}
        except ValueError:
            details = {}
        if not isinstance(details, dict) or details.get("status", status) != status:
            # A finaliser ran in this thread between the failure and here and had an error of its own.
            details = {}
        raise error_from_status(status, name, str(details.get("message") or ""), details)

    def take(self, pointer: ctypes.c_void_p) -> str:
        """Copies a string that the library handed out and frees it there."""
        if not pointer.value:
            return ""
        try:
            return ctypes.string_at(pointer.value).decode("utf-8")
        finally:
            self.functions.qwen_string_free(pointer)
            pointer.value = None

    def take_json(self, pointer: ctypes.c_void_p) -> Dict[str, Any]:
        """The same for JSON; an empty string is an empty object."""
        text = self.take(pointer)
        value: Dict[str, Any] = json.loads(text) if text else {}
        return value

    def text_of(self, event: Event) -> str:
        """Copies the text of an event."""
        if not event.text or not event.length:
            return ""
        return ctypes.string_at(event.text, event.length).decode("utf-8")


def _candidates() -> List[str]:
    """Where the library is: in LIBQWEN_LIBRARY, else in this package, else the loader may know."""
    named = os.environ.get("LIBQWEN_LIBRARY")
    if named:
        return [named]
    folder = os.path.dirname(os.path.abspath(__file__))
    inside = [os.path.join(folder, name) for name in _NAMES]
    return [path for path in inside if os.path.exists(path)][:1] or list(_NAMES)


_lock = threading.Lock()
_library: Optional[Library] = None


def library() -> Library:
    """Returns the library of this process, loading it on first use.

    Raises:
        QwenLibraryError: not found, can't be loaded, or too old.
    """
    global _library
    with _lock:
        if _library is None:
            failures = []
            for path in _candidates():
                try:
                    _library = Library(path)
                    break
                except QwenLibraryError as error:
                    failures.append(str(error))
            if _library is None:
                raise QwenLibraryError(
                    "libqwen.so was not found or not usable: "
                    + "; ".join(failures)
                    + ". Install a wheel that contains it, or set LIBQWEN_LIBRARY to its path."
                )
        return _library


def encode_options(options: Mapping[str, Any]) -> Optional[bytes]:
    """Options as JSON bytes; entries that are None are left out; None for no options at all.

    Raises:
        QwenOptionError: a value has no JSON form, for instance NaN or a set.
    """
    kept = {key: value for key, value in options.items() if value is not None}
    if not kept:
        return None
    try:
        text = json.dumps(kept, ensure_ascii=False, allow_nan=False, default=_plain)
        return text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise QwenOptionError(f"options can't be written as JSON: {error}") from error


def _plain(value: Any) -> Any:
    """JSON for what behaves like a number, a list or a path: NumPy scalars and arrays, Path."""
    for convert in ("tolist", "__fspath__"):
        method: Optional[Callable[[], Any]] = getattr(value, convert, None)
        if method is not None:
            return method()
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def id_array(ids: Any) -> Tuple[Any, int]:
    """Token ids as a C array with its count. The array lives as long as the caller keeps it.

    Raises:
        QwenArgumentError: an id is not an integer of 32 bits.
    """
    values = ids.tolist() if hasattr(ids, "tolist") else list(ids)
    for value in values:
        if not isinstance(value, int) or not -(2**31) <= value < 2**31:
            raise QwenArgumentError(f"token id {value!r} is not an integer of 32 bits")
    return (ctypes.c_int32 * max(len(values), 1))(*values), len(values)
