"""`Session`: one conversation with a model."""

from __future__ import annotations

import ctypes
import sys
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterator,
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from . import _native
from .errors import QwenArgumentError, QwenCancelledError, QwenError
from .interrupts import interruptible
from .results import Event, EventKind, Reply, Result
from .state import SessionState
from .stream import WAIT_MILLISECONDS, Stream, copy_event

if TYPE_CHECKING:
    from .model import Model

__all__ = ["ChatInput", "EventCallback", "History", "Prompt", "Session"]

#: A text to continue, or the token ids of one.
Prompt = Union[str, Sequence[int]]
#: A question, or messages with "role" and "content".
ChatInput = Union[str, Sequence[Mapping[str, Any]]]
#: Earlier (question, answer) pairs.
History = Iterable[Sequence[str]]
#: Called for each event; returns a `Reply` or None.
EventCallback = Callable[[Event], Optional[int]]


class Session(SessionState):
    """One conversation: its cached keys and values, its position, its random generator.

    A context manager; `close` is idempotent. A run continues what the session has cached: what a chat
    repeats of the last one is not read again.

    Options of a run (keyword arguments of `generate`, `chat`, `stream`, `stream_chat` and the async
    forms; None means the default, which is the model's generation_config, then the library's):
    ``max_new_tokens, min_new_tokens, temperature, top_k, top_p, min_p, repetition_penalty,
    frequency_penalty, presence_penalty, do_sample, seed, stop`` (strings), ``stop_ids``, ``logprobs``
    (how many alternatives), ``deadline_ms, special`` (control tokens in a text prompt: "none", "all" or
    a list), ``skip_special``. `libqwen.describe("options")` has the table with ranges and defaults.

    Chats take beside these ``tools`` (OpenAI's {"type": "function", "function": {...}}, or the release's
    {"name_for_model", "name_for_human", "description_for_model", "parameters"}), ``tool_choice`` ("auto",
    "none", "required" or {"function": {"name": ...}}), ``tool_format`` ("auto", "react", "hermes"),
    ``react_wording, parallel_tool_calls, enable_thinking, max_window_size`` and
    ``continue_final_message``. Calls come back in `Result.tool_calls` and in `Result.message`; to go on,
    append that message and one {"role": "tool", "tool_call_id": ..., "content": ...} a call.

    Threads: one call at a time, a second one raises `QwenBusyError`; `cancel` and `close` from any.
    Ctrl-C cancels the run and raises KeyboardInterrupt, also in calls that block.
    """

    _word = "session"
    _close_function = "qwen_session_close"

    def __init__(self, model: "Model", **options: Any) -> None:
        """Opens a session.

        Args:
            model: may be closed afterwards, the session keeps what it needs.
            **options: ``context, kv_cache, ...``: section "session" of `libqwen.describe("options")`.

        Raises:
            QwenOptionError: an unknown option or a value out of range.
            QwenMemoryError: the cache does not fit.
        """
        library, handle = model.library, ctypes.c_void_p()
        library.call(
            "qwen_session_open",
            ctypes.byref(handle),
            model.handle,
            _native.encode_options(options),
        )
        self._adopt(library, handle)

    # ---- State -------------------------------------------------------------------------------

    def info(self) -> Dict[str, Any]:
        """Facts: position, context, tokens cached, memory in bytes."""
        out = ctypes.c_void_p()
        self._library.call("qwen_session_info", self.handle, ctypes.byref(out))
        return self._library.take_json(out)

    def reset(self) -> None:
        """Forgets everything said.

        Raises:
            QwenBusyError: a run is under way.
        """
        self._library.call("qwen_session_reset", self.handle)

    def cancel(self) -> None:
        """Stops the run that is under way within 50 ms; without one it does nothing. Any thread.

        The run keeps what it said and finishes with "cancelled"; before the first word it raises
        `QwenCancelledError` where it was started.
        """
        self._library.call("qwen_session_cancel", self.handle)

    # ---- Runs --------------------------------------------------------------------------------

    def generate(
        self, prompt: Prompt, *, on_event: Optional[EventCallback] = None, **options: Any
    ) -> Result:
        """Continues a text.

        Args:
            prompt: text, or token ids.
            on_event: called for each event on this thread; may return a `Reply`. An exception from it
                undoes the run and is raised here. The session can't be used from inside it.
            **options: see the class.

        Returns:
            The result.

        Raises:
            QwenContextError: the prompt does not fit.
            QwenOptionError: a wrong option.
            QwenCancelledError: cancelled before the first word, or undone by `on_event`.
            QwenDeadlineError: ``deadline_ms`` passed before the first word.
            QwenBusyError: another call is under way.
        """
        request = generate_request(prompt, options)
        if on_event is None:
            return Stream(self, request).wait()
        text = str(request.pop("prompt", "")).encode("utf-8")
        settings = _native.encode_options(request)
        return self._push(on_event, "qwen_generate", text, len(text), settings)

    def chat(
        self,
        messages: ChatInput,
        *,
        history: Optional[History] = None,
        system: Optional[str] = None,
        on_event: Optional[EventCallback] = None,
        **options: Any,
    ) -> Result:
        """Answers a chat.

        Args:
            messages: a question, with `history` and `system` beside it; or all messages, each with
                "role" ("system", "user", "assistant", "tool") and "content".
            history: the earlier (question, answer) pairs.
            system: the system text; None is the model's own.
            on_event: as in `generate`.
            **options: see the class.

        Returns:
            The result with `message` and `history`, the pairs including this turn.

        Raises:
            QwenError: as `generate`.
        """
        request = chat_request(messages, history, system, options)
        if on_event is None:
            return Stream(self, request).wait()
        return self._push(on_event, "qwen_chat", _native.encode_options(request))

    def stream(self, prompt: Prompt, **options: Any) -> Stream:
        """Continues a text piece by piece; arguments and errors as `generate`.

        Returns:
            An iterator of text with `Stream.result` at its end. Closing it cancels.
        """
        return Stream(self, generate_request(prompt, options))

    def stream_chat(
        self,
        messages: ChatInput,
        *,
        history: Optional[History] = None,
        system: Optional[str] = None,
        **options: Any,
    ) -> Stream:
        """Answers a chat piece by piece; arguments and errors as `chat`.

        Returns:
            An iterator of text with `Stream.result` at its end. Closing it cancels.
        """
        return Stream(self, chat_request(messages, history, system, options))

    # ---- Runs from asyncio -------------------------------------------------------------------

    async def agenerate(self, prompt: Prompt, **options: Any) -> Result:
        """`generate` without blocking the event loop. Cancelling the task cancels the run."""
        return await self._wait(generate_request(prompt, options))

    async def achat(
        self,
        messages: ChatInput,
        *,
        history: Optional[History] = None,
        system: Optional[str] = None,
        **options: Any,
    ) -> Result:
        """`chat` without blocking the event loop. Cancelling the task cancels the run."""
        return await self._wait(chat_request(messages, history, system, options))

    async def astream(self, prompt: Prompt, **options: Any) -> AsyncIterator[str]:
        """`stream` as an async generator. Closing it or cancelling the task cancels the run."""
        async for event in self._events(generate_request(prompt, options)):
            if event.kind is EventKind.TEXT and event.text:
                yield event.text

    async def astream_chat(
        self,
        messages: ChatInput,
        *,
        history: Optional[History] = None,
        system: Optional[str] = None,
        **options: Any,
    ) -> AsyncIterator[str]:
        """`stream_chat` as an async generator. Closing it or cancelling the task cancels the run."""
        async for event in self._events(chat_request(messages, history, system, options)):
            if event.kind is EventKind.TEXT and event.text:
                yield event.text

    async def _wait(self, request: Dict[str, Any]) -> Result:
        """The result of a run."""
        result: Optional[Result] = None
        async for event in self._events(request):
            result = event.result or result
        if result is None:
            raise QwenCancelledError("the session was closed during the run")
        return result

    async def _events(self, request: Dict[str, Any]) -> AsyncIterator[Event]:
        """The events of a run; each wait is in a thread, so the loop stays free."""
        import asyncio  # here, since importing it costs more than the rest of the package

        stream = await asyncio.to_thread(Stream, self, request)
        try:
            while not stream.done:
                event = await asyncio.to_thread(stream.poll, WAIT_MILLISECONDS)
                if event is not None:
                    yield event
        finally:
            stream.close()

    # ---- Scores ------------------------------------------------------------------------------

    def logits(self, ids: Sequence[int], first: int = 0) -> Any:
        """Logits after each of the given tokens from index `first` on.

        The session's conversation is replaced by `ids`; a cached prefix is reused.

        Returns:
            A NumPy array [len(ids) - first, vocab_size] of float32 if NumPy can be imported, else a
            list of rows, each a memoryview of floats.

        Raises:
            QwenContextError: the tokens don't fit.
        """
        values, count = _native.id_array(ids)
        if not 0 <= first < max(count, 1):
            raise QwenArgumentError(f"first is {first}, expected 0 ... {max(count - 1, 0)}")
        floats = self._floats("qwen_logits", values, count, first)
        rows = max(count - first, 1)
        if _is_numpy(floats):
            return floats.reshape(rows, -1)
        view, width = memoryview(floats), len(floats) // rows
        return [view[row * width : (row + 1) * width] for row in range(rows)]

    def score(self, ids: Sequence[int]) -> Any:
        """Natural-log probability of each token given those before it.

        The session's conversation is replaced by `ids`.

        Returns:
            ``len(ids) - 1`` floats, value i for ``ids[i + 1]``: a NumPy array of float32 if NumPy can
            be imported, else ``array.array("f")``.

        Raises:
            QwenContextError: the tokens don't fit.
        """
        values, count = _native.id_array(ids)
        return self._floats("qwen_score", values, count)

    def _floats(self, name: str, *arguments: Any) -> Any:
        """Calls a function with a buffer of floats last, asking for the size first."""
        written = ctypes.c_size_t()
        self._library.call(name, self.handle, *arguments, None, 0, ctypes.byref(written))
        floats, address = _new_floats(written.value)
        rest = (address, written.value, ctypes.byref(written))

        def work(receive: Callable[[Any], int]) -> int:
            return self._library.call(name, self.handle, *arguments, *rest)

        interruptible(work, lambda item: _native.CANCEL, _native.CANCEL, self._cancel_if_open)
        return floats

    # ---- Push --------------------------------------------------------------------------------

    def _push(self, on_event: EventCallback, name: str, *arguments: Any) -> Result:
        """Runs with a callback, which is called on this thread."""

        def handle(event: Any) -> int:
            found = copy_event(self._library, event.contents)
            return _native.CONTINUE if found is None else _reply(on_event(found))

        def work(receive: Callable[[Any], int]) -> Result:
            callback = _native.EventCallback(lambda event, user: receive(event))
            out = ctypes.c_void_p()
            self._library.call(name, self.handle, *arguments, callback, None, ctypes.byref(out))
            return Result(self._library.take_json(out))

        return interruptible(work, handle, _native.CANCEL, self._cancel_if_open)

    def _cancel_if_open(self) -> None:
        """Cancels; what another thread has closed is ending anyway."""
        try:
            self.cancel()
        except QwenError:
            pass


def generate_request(prompt: Prompt, options: Mapping[str, Any]) -> Dict[str, Any]:
    """The request that continues `prompt`."""
    if isinstance(prompt, str):
        return {"prompt": prompt, **options}
    if isinstance(prompt, (bytes, bytearray)):
        raise QwenArgumentError("prompt is bytes, expected str or token ids; decode it first")
    values, count = _native.id_array(prompt)
    return {"prompt_ids": list(values[:count]), **options}


def chat_request(
    messages: ChatInput,
    history: Optional[History],
    system: Optional[str],
    options: Mapping[str, Any],
) -> Dict[str, Any]:
    """The request that answers `messages`, a question or a list of messages."""
    if isinstance(messages, str):
        request: Dict[str, Any] = {"query": messages, **options}
        if history is not None:
            request["history"] = check_history(history)
        if system is not None:
            request["system"] = system
        return request
    if history is not None or system is not None:
        raise QwenArgumentError(
            "history and system go with a question; messages contain both already"
        )
    return {"messages": [dict(message) for message in messages], **options}


def check_history(history: History) -> List[Tuple[str, str]]:
    """History as a list of pairs.

    Raises:
        QwenArgumentError: an entry is not a pair of texts, for instance a message or a lone string.
    """
    pairs: List[Tuple[str, str]] = []
    for index, pair in enumerate(history):
        is_pair = isinstance(pair, (list, tuple)) and len(pair) == 2
        if not is_pair or not all(isinstance(text, str) for text in pair):
            raise QwenArgumentError(
                f"history[{index}] is {pair!r}, expected a (question, answer) pair of strings"
            )
        pairs.append((pair[0], pair[1]))
    return pairs


def _reply(value: Any) -> int:
    """The answer of a callback as the library wants it."""
    if value is None:
        return _native.CONTINUE
    if isinstance(value, bool) or value not in (0, 1, 2):
        raise TypeError(f"the callback returned {value!r}, expected None or a libqwen.Reply")
    return int(Reply(value))


def _numpy() -> Any:
    """NumPy, or None. Looked up on use, so that importing this package stays cheap."""
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def _new_floats(count: int) -> Tuple[Any, Optional[int]]:
    """A buffer of `count` floats with its address."""
    numpy = _numpy()
    if numpy is not None:
        values = numpy.empty(count, dtype=numpy.float32)
        return values, values.ctypes.data if count else None
    import array

    plain = array.array("f", bytes(4 * count))
    return plain, plain.buffer_info()[0] if count else None


def _is_numpy(values: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(values, numpy.ndarray)
