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
from typing import Any, Dict

from . import _native
from ._version import __version__
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
from .session import Session
from .stream import Stream

__all__ = [
    "AutoConfig",
    "AutoModelForCausalLM",
    "AutoTokenizer",
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
]


def library_version() -> str:
    """The version of the shared library, as "major.minor.patch".

    Raises:
        QwenLibraryError: it can't be loaded.
    """
    version: bytes = _native.library().functions.qwen_version()
    return version.decode("ascii")


def describe(what: str) -> Dict[str, Any]:
    """What the library can do: "build", "cpu", "formats", "models", "options" or "errors".

    Raises:
        QwenArgumentError: another word.
    """
    library, out = _native.library(), _ctypes.c_void_p()
    library.call("qwen_describe", what.encode("utf-8"), _ctypes.byref(out))
    return library.take_json(out)
