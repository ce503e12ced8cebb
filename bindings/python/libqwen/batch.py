"""`Batch`: many requests answered together, one pass over the weights for all of them."""

from __future__ import annotations

import ctypes
import json
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from . import _native
from .errors import QwenError, error_from_status
from .handles import Owned
from .interrupts import interruptible
from .results import Result

if TYPE_CHECKING:
    from .model import Model

__all__ = ["Batch"]

_ERROR = 9


class Batch(Owned):
    """Requests of one model that are answered together.

    Each answer is, to the bit, the one that a session of its own would give. `submit` and `cancel` may come
    from any thread, `step` from one at a time.
    """

    _word = "batch"
    _close_function = "qwen_batch_close"

    def __init__(self, model: "Model", **options: Any) -> None:
        """Opens a batch.

        Args:
            model: may be closed afterwards.
            **options: ``max_sequences, context, ...``: section "batch" of `libqwen.describe("options")`.

        Raises:
            QwenOptionError: an unknown option or a value out of range.
            QwenMemoryError: its sequences do not fit.
        """
        library, handle = model.library, ctypes.c_void_p()
        library.call(
            "qwen_batch_open", ctypes.byref(handle), model.handle, _native.encode_options(options)
        )
        self._remaining = 0
        self._adopt(library, handle)

    def submit(self, request: Mapping[str, Any]) -> int:
        """Queues a request: "prompt", "prompt_ids", "messages" or "query", and options beside it.

        Returns:
            Its number, as `step` reports it.

        Raises:
            QwenOptionError: a wrong request.
            QwenContextError: the prompt does not fit.
        """
        found = ctypes.c_int64()
        text = _native.encode_options(request)
        self._library.call("qwen_batch_submit", self.handle, text, ctypes.byref(found))
        self._remaining += 1
        return found.value

    def cancel(self, request: int) -> None:
        """Ends a request at the next step; its result has what was said.

        Raises:
            QwenArgumentError: it is not under way.
        """
        self._library.call("qwen_batch_cancel", self.handle, request)

    @property
    def remaining(self) -> int:
        """Requests that are not over, as of the last step."""
        return self._remaining

    def step(
        self, on_text: Optional[Callable[[int, str], Any]] = None
    ) -> List[Tuple[int, "Result | QwenError"]]:
        """One pass: a token of each answer under way.

        Args:
            on_text: called with number and text of each piece.

        Returns:
            The requests that ended, each with its result, or with the error that ended it.
        """
        ended: List[Tuple[int, Any]] = []

        def handle(item: Tuple[int, int, str]) -> int:
            number, kind, text = item
            if kind == _native.EVENT_DONE:
                ended.append((number, Result(json.loads(text))))
            elif kind == _ERROR:
                ended.append((number, _error(text)))
            elif kind == _native.EVENT_TEXT and on_text is not None and text:
                on_text(number, text)
            return _native.CONTINUE

        def work(receive: Callable[[Any], int]) -> None:
            def forward(number: int, event: Any, user: Any) -> int:
                content = event.contents
                return receive((number, content.kind, self._library.text_of(content)))

            remaining = ctypes.c_size_t()
            callback = _native.BatchCallback(forward)
            try:
                self._library.call(
                    "qwen_batch_step", self.handle, callback, None, ctypes.byref(remaining)
                )
            finally:
                self._remaining = remaining.value

        interruptible(work, handle, _native.CANCEL, lambda: None)
        return ended

    def run(self) -> Iterator[Tuple[int, "Result | QwenError"]]:
        """Steps until every request is over; yields each as it ends."""
        while self._remaining:
            yield from self.step()


def _error(text: str) -> QwenError:
    details: Dict[str, Any] = json.loads(text)
    return error_from_status(
        int(details.get("status", -16)),
        str(details.get("name", "")),
        str(details.get("message", "")),
        details,
    )
