"""`Sampler`: chooses tokens from logits as a run does, for loops of your own."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Tuple

from . import _native
from .errors import QwenBufferError
from .handles import Owned

if TYPE_CHECKING:
    from .model import Model

__all__ = ["Sampler"]


class Sampler(Owned):
    """Filters, penalties and a random generator of its own. One call at a time."""

    _word = "sampler"
    _close_function = "qwen_sampler_close"

    def __init__(self, model: "Optional[Model]" = None, **options: Any) -> None:
        """Opens a sampler.

        Args:
            model: fills in its defaults and bars ids without text; None for neither.
            **options: ``temperature, top_p, seed, ...``: section "sampler" of
                `libqwen.describe("options")`.

        Raises:
            QwenOptionError: an unknown option or a value out of range.
        """
        library, handle = _native.library(), ctypes.c_void_p()
        given = None if model is None else model.handle
        library.call(
            "qwen_sampler_open", ctypes.byref(handle), given, _native.encode_options(options)
        )
        self._adopt(library, handle)

    def distribution(self, logits: Any, history: Sequence[int] = ()) -> List[Tuple[int, float]]:
        """The tokens that may follow `history` and their probabilities, likeliest first. Draws nothing.

        Args:
            logits: one float for each row of the vocabulary.
            history: the tokens so far, all of which count for penalties.
        """
        row, vocab = _row(logits)
        past, length = _native.id_array(history)
        count, capacity = ctypes.c_size_t(), 64
        while True:
            ids = (ctypes.c_int32 * capacity)()
            parts = (ctypes.c_float * capacity)()
            arguments = (past, length, row, vocab, ids, parts, capacity, ctypes.byref(count))
            try:
                self._library.call("qwen_sampler_distribution", self.handle, *arguments)
            except QwenBufferError:
                capacity = count.value
                continue
            return list(zip(ids[: count.value], parts[: count.value]))

    def sample(self, logits: Any, history: Sequence[int] = ()) -> int:
        """Draws the token that follows; arguments as `distribution`."""
        row, vocab = _row(logits)
        past, length = _native.id_array(history)
        found = ctypes.c_int32(-1)
        self._library.call(
            "qwen_sampler_sample", self.handle, past, length, row, vocab, ctypes.byref(found)
        )
        return found.value


def _row(logits: Any) -> Tuple[Any, int]:
    """A row of logits as a C array; it lives as long as the caller keeps it."""
    values = logits.tolist() if hasattr(logits, "tolist") else list(logits)
    return (ctypes.c_float * max(len(values), 1))(*values), len(values)
