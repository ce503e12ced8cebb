"""What a session holds: forks, positions, saved states, and evaluation token by token."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any, List, Optional, Sequence, TypeVar, Union

from . import _native
from .errors import QwenBufferError
from .handles import Owned

if TYPE_CHECKING:
    from .model import Model

__all__ = ["SessionState"]

_Self = TypeVar("_Self", bound="SessionState")
Path = Union[str, "os.PathLike[str]"]


class SessionState(Owned):
    """The part of `Session` that deals with what it holds. Each method raises `QwenBusyError` during a run."""

    def tokens(self) -> List[int]:
        """The token ids that are evaluated and cached."""
        count, capacity = ctypes.c_size_t(), 0
        while True:
            ids = (ctypes.c_int32 * max(capacity, 1))()
            try:
                self._library.call(
                    "qwen_session_tokens", self.handle, ids, capacity, ctypes.byref(count)
                )
            except QwenBufferError:
                pass
            if count.value <= capacity:
                return list(ids[: count.value])
            capacity = count.value

    def rewind(self, position: int) -> None:
        """Forgets the tokens from `position` on.

        Raises:
            QwenArgumentError: there are fewer tokens.
        """
        self._library.call("qwen_session_rewind", self.handle, position)

    def fork(self: _Self) -> _Self:
        """A second session that goes on from here; both share what is evaluated, nothing is copied.

        Raises:
            QwenMemoryError: the buffers of another session do not fit.
        """
        handle = ctypes.c_void_p()
        self._library.call("qwen_session_fork", ctypes.byref(handle), self.handle)
        forked = type(self).__new__(type(self))
        forked._adopt(self._library, handle)
        return forked

    def save(self, path: Path) -> None:
        """Saves tokens, keys and values to a file, which is there as a whole or not at all.

        Raises:
            QwenIOError: the file can't be written.
        """
        self._library.call("qwen_session_save", self.handle, os.fsencode(path))

    def load(self, path: Path) -> None:
        """Puts a saved state in the place of what the session holds; on an error nothing changes.

        Raises:
            QwenIOError: the file can't be read.
            QwenFormatError: it is no saved session, or damaged.
            QwenUnsupportedError: it belongs to another model or other options.
            QwenContextError: it has more tokens than the context.
        """
        self._library.call("qwen_session_load", self.handle, os.fsencode(path))

    def save_bytes(self) -> bytes:
        """The same state as bytes."""
        size = ctypes.c_size_t()
        self._library.call("qwen_session_save_buffer", self.handle, None, 0, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._library.call(
            "qwen_session_save_buffer", self.handle, buffer, size.value, ctypes.byref(size)
        )
        return buffer.raw[: size.value]

    def load_bytes(self, state: bytes) -> None:
        """`load` from what `save_bytes` gave."""
        self._library.call("qwen_session_load_buffer", self.handle, state, len(state))

    def set_draft(self, draft: "Optional[Model]") -> None:
        """A smaller model with the same vocabulary that guesses in runs with ``speculative="draft"``; None for none.

        Raises:
            QwenUnsupportedError: its vocabulary is another.
        """
        handle = None if draft is None else draft.handle
        self._library.call("qwen_session_set_draft", self.handle, handle)

    def feed(self, ids: Sequence[int]) -> None:
        """Evaluates tokens behind what the session holds, for loops of your own; then `fed_logits`.

        Raises:
            QwenContextError: they do not fit.
            QwenArgumentError: an id is outside the vocabulary.
        """
        values, count = _native.id_array(ids)
        self._library.call("qwen_session_feed", self.handle, values, count)

    def fed_logits(self, row: int = -1) -> Any:
        """Logits behind token `row` of those fed last, -1 for the last: as one row of `Session.logits`.

        Raises:
            QwenArgumentError: nothing was fed since the last run.
            QwenLimitError: the row is further back than ``prefill_chunk``.
        """
        return self._floats("qwen_session_logits", row)

    def embed(
        self, text: str, *, pooling: str = "mean", normalize: bool = True, special: Any = "none"
    ) -> Any:
        """A vector for a text: its final hidden states pooled. The conversation is replaced by the text.

        Args:
            text: any text of at least one token.
            pooling: "mean" of all tokens, or "last".
            normalize: scale to length 1.
            special: control tokens recognised in the text.

        Returns:
            ``hidden_size`` floats, as `Session.score` returns them.
        """
        data = text.encode("utf-8")
        options = _native.encode_options(
            {"pooling": pooling, "normalize": normalize, "special": special}
        )
        return self._floats("qwen_embed", data, len(data), options)

    def _floats(self, name: str, *arguments: Any) -> Any:
        raise NotImplementedError
