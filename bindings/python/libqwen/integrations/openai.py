"""Objects with the calls and field names of OpenAI's client, without a server or its package.

from libqwen.integrations.openai import OpenAI

client = OpenAI(model="/models/Qwen2.5-0.5B-Instruct")
reply = client.chat.completions.create(messages=[{"role": "user", "content": "Hello"}])
print(reply.choices[0].message.content)
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Sequence, Union

from ..errors import QwenOptionError
from ..model import Model
from ..results import Event, EventKind, Result
from ..stream import Stream

__all__ = ["OpenAI", "Record", "RunStream", "run_options"]

#: Arguments that change nothing here.
NO_EFFECT = frozenset(
    """extra_headers extra_query metadata model prediction reasoning_effort service_tier store
    stream_options user verbosity prompt_cache_key safety_identifier""".split()
)
_REASONS = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "deadline": "length"}


class Record(Dict[str, Any]):
    """A JSON object whose members are attributes too; what is not there is None."""

    def __getattr__(self, name: str) -> Any:
        """The member of this name, or None for a name that does not begin with an underscore."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self.get(name)

    def model_dump(self, **keywords: Any) -> Dict[str, Any]:
        """Plain dictionaries and lists, as pydantic's models give them."""
        value: Dict[str, Any] = json.loads(self.model_dump_json())
        return value

    to_dict = model_dump

    def model_dump_json(self, indent: Optional[int] = None, **keywords: Any) -> str:
        """The JSON text."""
        return json.dumps(self, ensure_ascii=False, indent=indent)

    to_json = model_dump_json


def _record(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Record({key: _record(one) for key, one in value.items()})
    if isinstance(value, (list, tuple)):
        return [_record(one) for one in value]
    return value


class RunStream(Iterator[Record]):
    """Chunks of an answer; closing it, or leaving its ``with`` block, cancels the run."""

    def __init__(self, chunks: Iterator[Record], close: Callable[[], None]) -> None:
        self._chunks = chunks
        self.close = close

    def __next__(self) -> Record:
        """The next chunk."""
        return next(self._chunks)

    def __enter__(self) -> "RunStream":
        """The stream itself."""
        return self

    def __exit__(self, *details: Any) -> None:
        """Closes."""
        self.close()


class OpenAI:
    """A client of one model in this process: ``chat.completions``, ``completions``, ``models``.

    Any thread. A context manager; closing it closes a model that it opened.
    """

    def __init__(
        self, model: Union[str, Model], *, name: Optional[str] = None, **options: Any
    ) -> None:
        """Opens a model, or takes one.

        Args:
            model: a path, or a `Model`, which stays the caller's.
            name: what answers say in ``model``; the path's last part by default.
            **options: of `Model`: ``threads, compute, weights, ...``.
        """
        self._own = not isinstance(model, Model)
        self.libqwen = model if isinstance(model, Model) else Model(model, **options)
        self.name = name or self.libqwen.path.rstrip("/").rpartition("/")[2]
        self.chat = _Chat(self)
        self.completions = _Completions(self)
        self.models = _Models(self)

    def close(self) -> None:
        """Closes the model if it was opened here. Idempotent."""
        if self._own:
            self.libqwen.close()

    def __enter__(self) -> "OpenAI":
        """The client itself."""
        return self

    def __exit__(self, *details: Any) -> None:
        """Closes."""
        self.close()


class _Chat:
    def __init__(self, client: OpenAI) -> None:
        self.completions = _ChatCompletions(client)


class _ChatCompletions:
    def __init__(self, client: OpenAI) -> None:
        self._client = client

    def create(
        self,
        *,
        messages: Sequence[Mapping[str, Any]],
        stream: bool = False,
        n: Optional[int] = None,
        **options: Any,
    ) -> Any:
        """Answers a chat.

        Args:
            messages: with "role" and "content" (a text, or a list of parts of type "text").
            stream: return an iterator of chunks.
            n: answers; the seeds of those after the first count up.
            **options: OpenAI's ``temperature, top_p, max_tokens, max_completion_tokens, stop,
            seed, tools,
                tool_choice, logprobs, top_logprobs, presence_penalty, frequency_penalty, logit_bias,
                timeout, stream_options, extra_body``; in ``extra_body`` any option of libqwen.
                Others that have no meaning here are accepted: ``model, user, metadata, ...``.

        Returns:
            A ``chat.completion``, or with `stream` an iterator of ``chat.completion.chunk``.

        Raises:
            QwenError: as `libqwen.Session.chat`; an unknown option is a QwenOptionError.
        """
        client, count = self._client, 1 if n is None else int(n)
        given = run_options(options)
        with_usage = bool((options.get("stream_options") or {}).get("include_usage"))
        head = _head("chat.completion.chunk" if stream else "chat.completion", client.name)
        if stream:
            if count != 1:
                raise QwenOptionError("n: a stream has one answer", details={"key": "n"})
            run = client.libqwen.stream_chat(messages, **given)
            return RunStream(_chunks(run, head, with_usage), run.close)
        results = [client.libqwen.chat(messages, **_seeded(given, index)) for index in range(count)]
        choices = []
        for index, result in enumerate(results):
            choices.append(
                {
                    "index": index,
                    "message": _message(result),
                    "logprobs": _logprobs(result),
                    "finish_reason": _REASONS.get(result.finish_reason, "stop"),
                }
            )
        return _record({**head, "choices": choices, "usage": _usage(results)})


class _Completions:
    def __init__(self, client: OpenAI) -> None:
        self._client = client

    def create(
        self,
        *,
        prompt: Union[str, Sequence[int]],
        stream: bool = False,
        echo: bool = False,
        **options: Any,
    ) -> Any:
        """Continues a text; options as in ``chat.completions.create``, without tools.

        Returns:
            A ``text_completion``, or with `stream` an iterator of them with pieces of the text.
        """
        client = self._client
        given = run_options(options)
        head = _head("text_completion", client.name, "cmpl-")
        if stream:
            run = client.libqwen.stream(prompt, **given)
            return RunStream(_pieces(run, head), run.close)
        result = client.libqwen.generate(prompt, **given)
        text = result.text
        if echo:
            text = (prompt if isinstance(prompt, str) else client.libqwen.detokenize(prompt)) + text
        reason = _REASONS.get(result.finish_reason, "stop")
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
        return _record({**head, "choices": [choice], "usage": _usage([result])})


class _Models:
    def __init__(self, client: OpenAI) -> None:
        self._client = client

    def list(self) -> Record:
        """The one model that there is."""
        one = {"id": self._client.name, "object": "model", "created": 0, "owned_by": "libqwen"}
        listed: Record = _record({"object": "list", "data": [one]})
        return listed


# ---- Options -------------------------------------------------------------------------------------


def run_options(given: Mapping[str, Any]) -> Dict[str, Any]:
    """Options of libqwen from those of OpenAI; names that nobody knows pass and are refused by it."""
    options: Dict[str, Any] = {}
    for key, value in given.items():
        if value is None or key in NO_EFFECT or key == "extra_body":
            continue
        if key in ("max_tokens", "max_completion_tokens"):
            options["max_new_tokens"] = value
        elif key == "temperature":
            options["do_sample"] = value > 0
            if value > 0:
                options["temperature"] = value
        elif key == "stop":
            options["stop"] = [value] if isinstance(value, str) else list(value)
        elif key == "timeout":
            options["deadline_ms"] = max(int(float(value) * 1000), 1)
        elif key == "logprobs":
            if value is not False:
                options.setdefault("logprobs", 0 if value is True else value)
        elif key == "top_logprobs":
            options["logprobs"] = value
        elif key == "logit_bias":
            options["logit_bias"] = {str(token): float(bias) for token, bias in value.items()}
        elif key == "response_format":
            if value.get("type", "text") != "text":
                raise QwenOptionError(
                    f"response_format {value.get('type')!r} is not possible; leave it out",
                    details={"key": key},
                )
        elif key == "functions":
            options["tools"] = [{"type": "function", "function": one} for one in value]
        elif key == "function_call":
            options["tool_choice"] = value if isinstance(value, str) else {"function": value}
        else:
            options[key] = value
    return {**options, **(given.get("extra_body") or {})}


def _seeded(options: Dict[str, Any], index: int) -> Dict[str, Any]:
    if index == 0 or options.get("seed") is None:
        return options
    return {**options, "seed": options["seed"] + index}


# ---- Answers -------------------------------------------------------------------------------------


def _head(kind: str, name: str, prefix: str = "chatcmpl-") -> Dict[str, Any]:
    return {
        "id": prefix + uuid.uuid4().hex,
        "object": kind,
        "created": int(time.time()),
        "model": name,
        "system_fingerprint": None,
    }


def _message(result: Result) -> Dict[str, Any]:
    message = dict(result.message or {"role": "assistant", "content": result.text})
    message.setdefault("refusal", None)
    if "tool_calls" in message:
        message["tool_calls"] = [
            _call(call.id, call.name, call.arguments_text) for call in result.tool_calls
        ]
    return message


def _call(call_id: str, name: str, arguments: str) -> Dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _usage(results: Sequence[Result]) -> Dict[str, Any]:
    """Tokens; the prompt counts once."""
    first = results[0].usage
    written = sum(result.usage.get("completion_tokens", 0) for result in results)
    read = first.get("prompt_tokens", 0)
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": first.get("cached_tokens", 0)},
    }


def _logprobs(result: Result) -> Optional[Dict[str, Any]]:
    if not result.logprobs:
        return None

    def entry(one: Mapping[str, Any]) -> Dict[str, Any]:
        text = str(one["text"])
        return {"token": text, "logprob": one["logprob"], "bytes": list(text.encode("utf-8"))}

    content = [
        {**entry(one), "top_logprobs": [entry(other) for other in one.get("top") or []]}
        for one in result.logprobs
    ]
    return {"content": content, "refusal": None}


def _chunks(run: Stream, head: Dict[str, Any], with_usage: bool) -> Iterator[Record]:
    """The chunks of a chat: the role, pieces, the reason; then the usage if it was asked for."""

    def chunk(delta: Dict[str, Any], reason: Optional[str] = None) -> Record:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        made: Record = _record({**head, "choices": [choice]})
        return made

    yield chunk({"role": "assistant", "content": ""})
    for event in run.events():
        delta = _delta(event)
        if delta is not None:
            yield chunk(delta)
        if event.result is not None:
            yield chunk({}, _REASONS.get(event.result.finish_reason, "stop"))
            if with_usage:
                yield _record({**head, "choices": [], "usage": _usage([event.result])})


def _delta(event: Event) -> Optional[Dict[str, Any]]:
    if event.kind is EventKind.TEXT:
        return {"content": event.text}
    if event.kind is EventKind.REASONING:
        return {"reasoning_content": event.text}
    if event.kind is EventKind.TOOL_CALL:
        return {"tool_calls": [{"index": event.call, **_call(event.call_id, event.name, "")}]}
    if event.kind is EventKind.TOOL_ARGUMENTS:
        return {"tool_calls": [{"index": event.call, "function": {"arguments": event.text}}]}
    return None


def _pieces(run: Stream, head: Dict[str, Any]) -> Iterator[Record]:
    for event in run.events():
        if event.kind is EventKind.TEXT:
            choice = {"index": 0, "text": event.text, "logprobs": None, "finish_reason": None}
            yield _record({**head, "choices": [choice]})
        if event.result is not None:
            reason = _REASONS.get(event.result.finish_reason, "stop")
            choice = {"index": 0, "text": "", "logprobs": None, "finish_reason": reason}
            yield _record({**head, "choices": [choice], "usage": _usage([event.result])})
