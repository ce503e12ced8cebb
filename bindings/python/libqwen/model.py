"""`Model`: weights, tokenizer and chat template."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from . import _native
from .batch import Batch
from .errors import QwenBufferError
from .handles import Owned
from .interrupts import interruptible
from .results import Result
from .session import (
    ChatInput,
    EventCallback,
    History,
    Prompt,
    Session,
    chat_request,
    generate_request,
)
from .stream import Stream

__all__ = ["Model", "ProgressCallback", "Specials"]

#: Called while a model loads with a stage and a fraction from 0 to 1; False stops the load.
ProgressCallback = Callable[[str, float], Optional[bool]]
#: Which control tokens: "none", "all", or their texts.
Specials = Union[str, Sequence[str]]


class Model(Owned):
    """A Qwen model: immutable once open, shared by any number of sessions and threads.

    A context manager; `close` is idempotent and happens by itself with the last reference. Pickling and
    copying open the same path with the same options again. After ``fork()`` the child's copy raises
    `QwenForkedError`.

        with Model("/models/Qwen-7B-Chat") as model:
            print(model.chat("你好").text)
    """

    _word = "model"
    _close_function = "qwen_model_close"

    def __init__(
        self,
        path: Union[str, "os.PathLike[str]"],
        *,
        progress: Optional[ProgressCallback] = None,
        **options: Any,
    ) -> None:
        """Opens a model.

        Args:
            path: a Hugging Face or ModelScope folder, or a .gguf file (any part of a model in parts).
            progress: called on this thread while the model loads; an exception from it stops the load
                and is raised here. So does Ctrl-C.
            **options: ``threads, load, compute, ...``: section "open" of
                `libqwen.describe("options")`. None means the default.

        Raises:
            QwenIOError: the path is missing or can't be read.
            QwenFormatError: a file breaks its format.
            QwenUnsupportedError: not a model this build can serve.
            QwenOptionError: an unknown option or a value out of range.
            QwenMemoryError: it does not fit.
            QwenCancelledError: `progress` returned False.
        """
        library = _native.library()
        self._path = os.fspath(path)
        self._options = dict(options)
        self._idle: List[Session] = []
        settings = _native.encode_options(options)

        def handle(step: Any) -> int:
            stage, fraction = step
            stops = progress is not None and progress(stage.decode("utf-8"), fraction) is False
            return int(stops)

        def work(receive: Callable[[Any], int]) -> ctypes.c_void_p:
            # The callback is there even if nobody asked for progress: it is what Ctrl-C stops.
            callback = _native.ProgressCallback(lambda stage, part, user: receive((stage, part)))
            opened, name = ctypes.c_void_p(), os.fsencode(self._path)
            library.call("qwen_model_open", ctypes.byref(opened), name, settings, callback, None)
            # Adopted here: if the main thread is leaving with an exception, it closes by itself.
            self._adopt(library, opened)
            return opened

        interruptible(work, handle, 1, lambda: None)

    @classmethod
    def from_pretrained(
        cls,
        name: Union[str, "os.PathLike[str]"],
        *,
        revision: Optional[str] = None,
        cache_dir: Any = None,
        local_files_only: bool = False,
        gguf_file: Optional[str] = None,
        progress: Optional[ProgressCallback] = None,
        **options: Any,
    ) -> "Model":
        """Opens a model by path or by name.

        Args:
            name: a path as in `Model`, or a name as "Qwen/Qwen-7B-Chat": taken from the cache of
                Hugging Face or ModelScope, else fetched by `huggingface_hub` or `modelscope`, if one
                is installed.
            revision: branch, tag or commit of a name.
            cache_dir: where to look, and where downloads go, instead of the usual caches.
            local_files_only: never ask a hub.
            gguf_file: the GGUF file to take of a folder or repository; the other parts of a model in
                parts come with it.
            progress: as in `Model`.
            **options: as in `Model`.

        Raises:
            QwenIOError: there is no such model; the sentence says how to get it.
            QwenError: as `Model`.
        """
        from .compat import folders

        path = folders.resolve(
            name,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            gguf_file=gguf_file,
        )
        return cls(path, progress=progress, **options)

    @staticmethod
    def plan(path: Union[str, "os.PathLike[str]"], **options: Any) -> Dict[str, Any]:
        """What a model and a session of it would take in memory, from the headers of its files.

        Args:
            path: as in `Model`.
            **options: those of `Model` and of `Session` together, and ``contexts``, a list of context
                lengths to look at.

        Returns:
            ``weights, session, total_bytes, fits, contexts, memory``; sizes in bytes.

        Raises:
            QwenError: as `Model`.
        """
        library, out = _native.library(), ctypes.c_void_p()
        settings = _native.encode_options(options)
        library.call("qwen_model_plan", os.fsencode(os.fspath(path)), settings, ctypes.byref(out))
        return library.take_json(out)

    @property
    def path(self) -> str:
        """The path it was opened with."""
        return self._path

    @property
    def options(self) -> Dict[str, Any]:
        """A copy of the options it was opened with."""
        return dict(self._options)

    @property
    def info(self) -> Dict[str, Any]:
        """Facts: family, sizes, formats, context, tokenizer, chat format, defaults, memory in bytes.

        Read anew each time: "memory" and "parts" change while mapped weights move ("pack").
        """
        out = ctypes.c_void_p()
        self._library.call("qwen_model_info", self.handle, ctypes.byref(out))
        return self._library.take_json(out)

    def close(self) -> None:
        """Drops the model; sessions that are open stay usable. Idempotent, any thread."""
        while self._idle:
            self._idle.pop().close()
        super().close()

    def __reduce__(self) -> Tuple[Any, ...]:
        """Pickles as path and options."""
        return _reopen, (self._path, self._options)

    def __repr__(self) -> str:
        """Path and state, for people."""
        return f"Model({self._path!r}{', closed' if self.closed else ''})"

    # ---- Text and tokens ---------------------------------------------------------------------

    def tokenize(
        self, text: str, *, special: Specials = "none", disallow: Optional[Specials] = None
    ) -> List[int]:
        """Text to token ids.

        Args:
            text: any text.
            special: the control tokens that are recognised in it; with "none" they are ordinary text.
            disallow: the control tokens that make it an error.

        Raises:
            QwenArgumentError: a disallowed control token, or a lone surrogate in `text`.
        """
        data = text.encode("utf-8")
        options = _native.encode_options({"special": _specials(special), "disallow": disallow})
        # No byte makes more than one token; normalisation adds a few bytes at worst.
        return self._ids("qwen_tokenize", len(data) + 8, data, len(data), options)

    def detokenize(
        self, ids: Sequence[int], *, skip_special: bool = False, errors: str = "replace"
    ) -> str:
        """Token ids to text.

        Args:
            ids: any ids of the vocabulary.
            skip_special: leave control tokens out.
            errors: for bytes that are not UTF-8: "replace" with U+FFFD or "ignore".

        Raises:
            QwenArgumentError: an id is not in the vocabulary.
        """
        return self._bytes(ids, {"skip_special": skip_special, "errors": errors}).decode("utf-8")

    def detokenize_bytes(self, ids: Sequence[int], *, skip_special: bool = False) -> bytes:
        """Token ids to bytes as they are, which need not be UTF-8. Errors as `detokenize`."""
        return self._bytes(ids, {"skip_special": skip_special, "errors": "bytes"})

    def token_bytes(self, id: int) -> bytes:
        """The bytes of one token, which need not be UTF-8; empty for a token without text.

        Raises:
            QwenArgumentError: no such token.
        """
        return self.detokenize_bytes([id])

    def token_id(self, text: Union[str, bytes]) -> Optional[int]:
        """The id of the token with exactly this text, control tokens included, or None."""
        data = text.encode("utf-8") if isinstance(text, str) else text
        found = ctypes.c_int32(-1)
        self._library.call("qwen_token_id", self.handle, data, len(data), ctypes.byref(found))
        return found.value if found.value >= 0 else None

    def render(
        self,
        messages: ChatInput,
        *,
        history: Optional[History] = None,
        system: Optional[str] = None,
        **options: Any,
    ) -> Tuple[List[int], str]:
        """The exact prompt that a chat makes, without running it; arguments as `Session.chat`.

        Returns:
            Its ids, and its text with control tokens spelled out.
        """
        request = _native.encode_options(chat_request(messages, history, system, options)) or b""
        out = ctypes.c_void_p()
        library, handle = self._library, self.handle
        ids, count, capacity = None, ctypes.c_size_t(), len(request) + 64
        while True:
            ids = (ctypes.c_int32 * capacity)()
            try:
                library.call(
                    "qwen_render", handle, request, ids, capacity, _ref(count), ctypes.byref(out)
                )
            except QwenBufferError:
                library.take(out)
                capacity = max(count.value, capacity + 1)
                continue
            return list(ids[: count.value]), library.take(out)

    def _ids(self, name: str, capacity: int, *arguments: Any) -> List[int]:
        """Calls a function with a buffer of ids last; grows the buffer if the guess was too small."""
        count = ctypes.c_size_t()
        while True:
            ids = (ctypes.c_int32 * capacity)()
            try:
                self._library.call(name, self.handle, *arguments, ids, capacity, _ref(count))
                return list(ids[: count.value])
            except QwenBufferError:
                capacity = max(count.value, capacity + 1)

    def _bytes(self, ids: Sequence[int], options: Mapping[str, Any]) -> bytes:
        """The bytes of tokens; grows the buffer if the guess was too small."""
        values, number = _native.id_array(ids)
        settings, length, capacity = _native.encode_options(options), ctypes.c_size_t(), 0
        capacity = 16 + 8 * number
        while True:
            text = ctypes.create_string_buffer(capacity)
            arguments = (values, number, settings, text, capacity, _ref(length))
            try:
                self._library.call("qwen_detokenize", self.handle, *arguments)
                return text.raw[: length.value]
            except QwenBufferError:
                capacity = max(length.value, capacity) + 1

    # ---- Runs in a session of the model's own ------------------------------------------------

    def session(self, **options: Any) -> Session:
        """Opens a session; see `Session`."""
        return Session(self, **options)

    def generate_batch(
        self,
        requests: Sequence[Union[str, Mapping[str, Any]]],
        *,
        max_sequences: int = 8,
        context: Optional[int] = None,
        **options: Any,
    ) -> List[Result]:
        """Answers many requests together, one pass over the weights for all of them.

        Each answer is the one that `generate` or `chat` would give by itself, to the bit.

        Args:
            requests: prompts, or requests as dictionaries with "prompt", "prompt_ids", "messages" or
                "query" and options of their own.
            max_sequences: how many are answered at once.
            context: tokens of each; None is the default of a session.
            **options: for all requests that do not say otherwise.

        Returns:
            The results, in the order of the requests.

        Raises:
            QwenError: that of the first request that failed.
        """
        with Batch(self, max_sequences=max_sequences, context=context) as batch:
            numbers = []
            for request in requests:
                own = {"prompt": request} if isinstance(request, str) else dict(request)
                numbers.append(batch.submit({**options, **own}))
            ended = dict(batch.run())
        for number in numbers:
            outcome = ended[number]
            if not isinstance(outcome, Result):
                raise outcome
        return [ended[number] for number in numbers]

    def generate(
        self, prompt: Prompt, *, on_event: Optional[EventCallback] = None, **options: Any
    ) -> Result:
        """`Session.generate` in a session of the model's own.

        One idle session is kept for the next call, so that a chat which repeats the last one is not
        read again; simultaneous calls get one each. Any thread.
        """
        with self._borrowed() as session:
            return session.generate(prompt, on_event=on_event, **options)

    def chat(
        self,
        messages: ChatInput,
        *,
        history: Optional[History] = None,
        system: Optional[str] = None,
        on_event: Optional[EventCallback] = None,
        **options: Any,
    ) -> Result:
        """`Session.chat` in a session of the model's own; see `generate`."""
        with self._borrowed() as session:
            return session.chat(
                messages, history=history, system=system, on_event=on_event, **options
            )

    def stream(self, prompt: Prompt, **options: Any) -> Stream:
        """`Session.stream` in a session of the model's own; see `generate`."""
        return self._streamed(generate_request(prompt, options))

    def stream_chat(
        self,
        messages: ChatInput,
        *,
        history: Optional[History] = None,
        system: Optional[str] = None,
        **options: Any,
    ) -> Stream:
        """`Session.stream_chat` in a session of the model's own; see `generate`."""
        return self._streamed(chat_request(messages, history, system, options))

    def _streamed(self, request: Dict[str, Any]) -> Stream:
        session = self._borrow()
        try:
            return Stream(session, request, on_close=lambda: self._give_back(session))
        except BaseException:
            self._give_back(session)
            raise

    @contextmanager
    def _borrowed(self) -> Iterator[Session]:
        session = self._borrow()
        try:
            yield session
        finally:
            self._give_back(session)

    def _borrow(self) -> Session:
        """The idle session, or a new one. List operations are atomic, no lock is needed."""
        _ = self.handle  # a closed or forked model says so itself
        try:
            return self._idle.pop()
        except IndexError:
            return Session(self)

    def _give_back(self, session: Session) -> None:
        """Keeps the session if none is idle."""
        if self.closed or session.closed or self._idle:
            session.close()
        else:
            self._idle.append(session)


def _reopen(path: str, options: Dict[str, Any]) -> Model:
    """What a pickle calls."""
    return Model(path, **options)


def _specials(special: Specials) -> Any:
    """An empty list of control tokens is "none"."""
    return special if isinstance(special, str) else (list(special) or "none")


def _ref(value: Any) -> Any:
    """`ctypes.byref`, shorter."""
    return ctypes.byref(value)
