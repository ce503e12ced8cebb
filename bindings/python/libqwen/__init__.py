"""Qwen language models inside your own Python process, on the CPU.

Two ways in. The native one:

    import libqwen
    with libqwen.Model("/models/Qwen-7B-Chat") as model, model.session() as session:
        for piece in session.stream_chat("你好"):
            print(piece, end="", flush=True)

And the one that code written for the first Qwen release already uses:

    from libqwen import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
    tokenizer = AutoTokenizer.from_pretrained("/models/Qwen-7B-Chat", trust_remote_code=True)
    model = AutoModelForCausalLM.from_pretrained("/models/Qwen-7B-Chat", device_map="cpu").eval()
    response, history = model.chat(tokenizer, "你好", history=None)

Importing the package loads nothing; the shared library is loaded with the first use, from the path in
LIBQWEN_LIBRARY if that is set, else from inside the package, else through the system loader.
"""

from __future__ import annotations

import ctypes as _ctypes
from typing import Any, Callable, Dict, Optional

from . import _native
from ._version import __version__
from .batch import Batch
from .compat import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BatchEncoding,
    BitsAndBytesConfig,
    CausalLM,
    GenerationConfig,
    Tasks,
    Tokenizer,
    pipeline,
)
from .conversion import convert
from .errors import (
    QwenArgumentError,
    QwenBufferError,
    QwenBusyError,
    QwenCancelledError,
    QwenContextError,
    QwenDeadlineError,
    QwenError,
    QwenForkedError,
    QwenFormatError,
    QwenHandleError,
    QwenInternalError,
    QwenIOError,
    QwenLibraryError,
    QwenLimitError,
    QwenMemoryError,
    QwenNumericError,
    QwenOptionError,
    QwenUnsupportedError,
)
from .model import Model
from .results import Event, EventKind, Reply, Result, ToolCall
from .sampler import Sampler
from .session import Session
from .stream import Stream

__all__ = [
    "AutoConfig",
    "AutoModelForCausalLM",
    "AutoTokenizer",
    "Batch",
    "BatchEncoding",
    "BitsAndBytesConfig",
    "CausalLM",
    "Event",
    "EventKind",
    "GenerationConfig",
    "Model",
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
    "Reply",
    "Result",
    "Sampler",
    "Session",
    "Stream",
    "Tasks",
    "Tokenizer",
    "ToolCall",
    "__version__",
    "convert",
    "describe",
    "library_version",
    "pipeline",
    "set_log",
]


def library_version() -> str:
    """The version of the shared library, as "major.minor.patch".

    Raises:
        QwenLibraryError: it can't be loaded.
    """
    version: bytes = _native.library().functions.qwen_version()
    return version.decode("ascii")


def describe(what: str) -> Dict[str, Any]:
    """What the library can do: "build", "cpu", "formats", "models", "options", "errors" or "metrics".

    Raises:
        QwenArgumentError: another word.
    """
    library, out = _native.library(), _ctypes.c_void_p()
    library.call("qwen_describe", what.encode("utf-8"), _ctypes.byref(out))
    return library.take_json(out)


_log_callback: Any = None


def set_log(callback: Optional[Callable[[int, str], Any]], level: int = 3) -> None:
    """Sends the library's log to `callback`; None, the beginning, sends nothing.

    Args:
        callback: called with level and line, on any thread; it must not use this package.
        level: 1 errors of the library, 2 failed calls, 3 openings and closings, 4 each run.
    """
    global _log_callback

    def forward(line_level: int, line: bytes, user: Any) -> None:
        if callback is not None:
            callback(line_level, line.decode("utf-8", "replace"))

    made = _native.LogCallback(forward) if callback is not None else _native.LogCallback()
    _native.library().functions.qwen_set_log(made, None, level)
    # The one before may still be called by another thread for a moment: keep both.
    _log_callback = (made, _log_callback[0] if _log_callback else None)
