"""A model for smolagents, the successor of the Hugging Face Agent (1.26.0 is what it is tested with).

from smolagents import CodeAgent
from libqwen.integrations.smolagents import LibQwenModel

agent = CodeAgent(tools=[], model=LibQwenModel("/models/Qwen2.5-Coder-7B-Instruct"))
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Union

from smolagents.models import (
    ChatMessage,
    ChatMessageStreamDelta,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    ChatMessageToolCallStreamDelta,
    MessageRole,
    TokenUsage,
)
from smolagents.models import Model as SmolagentsModel

from ..model import Model
from ..results import EventKind, Result
from .openai import run_options

__all__ = ["LibQwenModel"]


class LibQwenModel(SmolagentsModel):
    """A model in this process for smolagents: text, stop words, tool calls, streaming."""

    def __init__(
        self,
        model: Union[str, Model],
        *,
        model_options: Optional[Dict[str, Any]] = None,
        **options: Any,
    ) -> None:
        """Opens a model, or takes one.

        Args:
            model: a path, or a `libqwen.Model`, which stays the caller's.
            model_options: of `libqwen.Model`, when `model` is a path.
            **options: of each run: ``max_new_tokens, do_sample, seed, tool_format, ...``.
        """
        opened = model if isinstance(model, Model) else Model(model, **(model_options or {}))
        super().__init__(model_id=opened.path, **options)
        self.libqwen = opened

    def generate(
        self,
        messages: List[Any],
        stop_sequences: Optional[List[str]] = None,
        response_format: Optional[Dict[str, str]] = None,
        tools_to_call_from: Optional[List[Any]] = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """Answers; see smolagents' Model."""
        request = self._request(messages, stop_sequences, tools_to_call_from, kwargs)
        result = self.libqwen.chat(request.pop("messages"), **request)
        calls = [
            ChatMessageToolCall(
                function=ChatMessageToolCallFunction(
                    arguments=call.arguments_text if call.arguments is None else call.arguments,
                    name=call.name,
                ),
                id=call.id,
                type="function",
            )
            for call in result.tool_calls
        ]
        return ChatMessage(
            role=MessageRole.ASSISTANT,
            content=result.text,
            tool_calls=calls or None,
            raw=result.raw,
            token_usage=_usage(result),
        )

    def generate_stream(
        self,
        messages: List[Any],
        stop_sequences: Optional[List[str]] = None,
        response_format: Optional[Dict[str, str]] = None,
        tools_to_call_from: Optional[List[Any]] = None,
        **kwargs: Any,
    ) -> Iterator[ChatMessageStreamDelta]:
        """Answers piece by piece."""
        request = self._request(messages, stop_sequences, tools_to_call_from, kwargs)
        with self.libqwen.stream_chat(request.pop("messages"), **request) as run:
            for event in run.events():
                if event.kind is EventKind.TEXT:
                    yield ChatMessageStreamDelta(content=event.text)
                elif event.kind is EventKind.TOOL_CALL:
                    function = ChatMessageToolCallFunction(arguments="", name=event.name)
                    part = ChatMessageToolCallStreamDelta(
                        index=event.call, id=event.call_id, type="function", function=function
                    )
                    yield ChatMessageStreamDelta(content="", tool_calls=[part])
                elif event.kind is EventKind.TOOL_ARGUMENTS:
                    function = ChatMessageToolCallFunction(arguments=event.text, name="")
                    part = ChatMessageToolCallStreamDelta(index=event.call, function=function)
                    yield ChatMessageStreamDelta(content="", tool_calls=[part])
                elif event.result is not None:
                    yield ChatMessageStreamDelta(content="", token_usage=_usage(event.result))

    def _request(
        self,
        messages: List[Any],
        stop_sequences: Optional[List[str]],
        tools: Optional[List[Any]],
        given: Dict[str, Any],
    ) -> Dict[str, Any]:
        prepared = self._prepare_completion_kwargs(
            messages=messages,
            stop_sequences=stop_sequences,
            tools_to_call_from=tools,
            **given,
        )
        talk = prepared.pop("messages")
        for message in talk:
            message["role"] = str(getattr(message["role"], "value", message["role"]))
        return {"messages": talk, **run_options(prepared)}


def _usage(result: Result) -> TokenUsage:
    usage = result.usage
    return TokenUsage(usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0))
