from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Type

import pytest

import libqwen
from libqwen.errors import error_from_status

PARENTS = [
    (-1, libqwen.QwenArgumentError, ValueError),
    (-2, libqwen.QwenHandleError, ValueError),
    (-3, libqwen.QwenMemoryError, MemoryError),
    (-4, libqwen.QwenIOError, OSError),
    (-5, libqwen.QwenFormatError, ValueError),
    (-6, libqwen.QwenUnsupportedError, NotImplementedError),
    (-7, libqwen.QwenLimitError, ValueError),
    (-8, libqwen.QwenContextError, ValueError),
    (-9, libqwen.QwenCancelledError, libqwen.QwenError),
    (-10, libqwen.QwenBusyError, RuntimeError),
    (-11, libqwen.QwenNumericError, ArithmeticError),
    (-12, libqwen.QwenBufferError, BufferError),
    (-13, libqwen.QwenOptionError, ValueError),
    (-14, libqwen.QwenDeadlineError, TimeoutError),
    (-15, libqwen.QwenForkedError, RuntimeError),
    (-16, libqwen.QwenInternalError, RuntimeError),
]


@pytest.mark.parametrize(("status", "kind", "parent"), PARENTS)
def test_each_status_has_a_class_with_the_parent_python_expects(
    status: int, kind: Type[libqwen.QwenError], parent: Type[BaseException]
) -> None:
    error = error_from_status(status, "QWEN_NAME", "a sentence", {"key": "top_p", "hint": "do so"})
    assert type(error) is kind
    assert isinstance(error, parent)
    assert (error.code, error.name, error.message) == (status, "QWEN_NAME", "a sentence")
    assert (error.key, error.hint, error.path, error.offset) == ("top_p", "do so", None, None)
    assert str(error) == "a sentence (do so)"


def test_an_unknown_status_is_a_plain_error() -> None:
    assert type(error_from_status(-99, "QWEN_UNKNOWN", "")) is libqwen.QwenError


def test_errors_survive_pickling() -> None:
    error = error_from_status(-4, "QWEN_ERROR_IO", "a: no such file", {"path": "a"})
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.code, copy.path, copy.filename) == (type(error), -4, "a", "a")


def run(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(Path(libqwen.__file__).parents[1]), **environment},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def test_importing_loads_neither_the_library_nor_other_packages() -> None:
    code = (
        "import sys; import libqwen; from libqwen import _native; "
        "print(_native._library, sorted({'numpy', 'torch', 'asyncio'} & set(sys.modules)))"
    )
    assert run(code) == "None []"


def test_a_library_that_is_not_there_is_an_error_that_says_what_to_do() -> None:
    code = (
        "import libqwen\n"
        "try: libqwen.library_version()\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    said = run(code, LIBQWEN_LIBRARY="/nowhere/libqwen.so")
    assert said.startswith("QwenLibraryError")
    assert "/nowhere/libqwen.so" in said
    assert "LIBQWEN_LIBRARY" in said
