"""A chat model for LangChain (langchain-core 1.8.3 is what it is tested with).

from libqwen.integrations.langchain import ChatLibQwen

chat = ChatLibQwen(model="/models/Qwen2.5-0.5B-Instruct", max_new_tokens=256)
chat.invoke("Hello").content
chat.bind_tools([my_tool]).invoke("Use it").tool_calls
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Union

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    convert_to_openai_messages,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

from ..model import Model
from ..results import EventKind, Result
from .openai import run_options

__all__ = ["ChatLibQwen"]


class ChatLibQwen(BaseChatModel):
    """A model in this process as a LangChain chat model: invoke, stream, batch, tools.

    Attributes:
        model: a path, or a `libqwen.Model`, which stays the caller's.
        model_options: of `libqwen.Model`, when `model` is a path.
        options: of each run: ``do_sample, max_new_tokens, temperature, seed, tool_format, ...``;
        those of
            `invoke` and `bind` go before them, by OpenAI's names too (``max_tokens``, ``stop``).
    """

    model: Any
    model_options: Dict[str, Any] = {}
    options: Dict[str, Any] = {}
    _opened: Optional[Model] = PrivateAttr(default=None)

    def __init__(self, model: Union[str, Model], **options: Any) -> None:
        """Names a model; it is opened with the first use.

        Args:
            model: see the class.
            **options: `model_options`, what LangChain's own models take (``cache, callbacks, tags,
            ...``),
                and options of each run.
        """
        known = set(type(self).model_fields)
        own = {key: options.pop(key) for key in list(options) if key in known}
        own["options"] = {**own.get("options", {}), **options}
        super().__init__(**{"model": model, **own})

    @property
    def _llm_type(self) -> str:
        return "libqwen"

    @property
    def _identifying_params(self) -> Dict[str, Any]:
        path = self.model.path if isinstance(self.model, Model) else str(self.model)
        return {"model": path, **self.options}

    @property
    def libqwen(self) -> Model:
        """The model behind it."""
        if isinstance(self.model, Model):
            return self.model
        if self._opened is None:
            self._opened = Model(self.model, **self.model_options)
        return self._opened

    # ---- Runs --------------------------------------------------------------------------------

    def _generate(
        self,
        messages: List[BaseMessage],
        stop: Optional[List[str]] = None,
        run_manager: Optional[CallbackManagerForLLMRun] = None,
        **kwargs: Any,
    ) -> ChatResult:
        result = self.libqwen.chat(_messages(messages), **self._options(stop, kwargs))
        message = AIMessage(
            content=result.text,
            additional_kwargs=_reasoning(result.reasoning),
            tool_calls=[
                {"name": call.name, "args": call.arguments, "id": call.id, "type": "tool_call"}
                for call in result.tool_calls
                if call.arguments is not None
            ],
            invalid_tool_calls=[
                {
                    "name": call.name,
                    "args": call.arguments_text,
                    "id": call.id,
                    "error": call.error,
                    "type": "invalid_tool_call",
                }
                for call in result.tool_calls
                if call.arguments is None
            ],
            usage_metadata=_usage(result),
            response_metadata=_facts(result),
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: List[BaseMessage],
        stop: Optional[List[str]] = None,
        run_manager: Optional[CallbackManagerForLLMRun] = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        options = self._options(stop, kwargs)
        with self.libqwen.stream_chat(_messages(messages), **options) as run:
            for event in run.events():
                chunk: Optional[AIMessageChunk] = None
                if event.kind is EventKind.TEXT:
                    chunk = AIMessageChunk(content=event.text)
                elif event.kind is EventKind.REASONING:
                    chunk = AIMessageChunk(content="", additional_kwargs=_reasoning(event.text))
                elif event.kind is EventKind.TOOL_CALL:
                    part = tool_call_chunk(
                        name=event.name, args="", id=event.call_id, index=event.call
                    )
                    chunk = AIMessageChunk(content="", tool_call_chunks=[part])
                elif event.kind is EventKind.TOOL_ARGUMENTS:
                    part = tool_call_chunk(name=None, args=event.text, id=None, index=event.call)
                    chunk = AIMessageChunk(content="", tool_call_chunks=[part])
                elif event.result is not None:
                    chunk = AIMessageChunk(
                        content="",
                        usage_metadata=_usage(event.result),
                        response_metadata=_facts(event.result),
                    )
                if chunk is not None:
                    made = ChatGenerationChunk(message=chunk)
                    if run_manager is not None and event.kind is EventKind.TEXT:
                        run_manager.on_llm_new_token(event.text, chunk=made)
                    yield made

    def _options(self, stop: Optional[List[str]], given: Dict[str, Any]) -> Dict[str, Any]:
        options = run_options({**self.options, **given})
        if stop:
            options["stop"] = [*options.get("stop", []), *stop]
        return options

    def bind_tools(
        self,
        tools: Sequence[Union[Dict[str, Any], type, Callable[..., Any], BaseTool]],
        *,
        tool_choice: Optional[Union[str, Dict[str, Any], bool]] = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools: LangChain's, functions, pydantic classes, or OpenAI's dictionaries.

        Args:
            tools: what may be called.
            tool_choice: "auto", "none", "required" or "any", True, the name of a tool, or a dictionary.
            **kwargs: other options to bind.
        """
        formatted = [convert_to_openai_tool(one) for one in tools]
        if tool_choice is not None and tool_choice is not False:
            kwargs["tool_choice"] = _choice(tool_choice)
        return self.bind(tools=formatted, **kwargs)


def _choice(choice: Any) -> Any:
    if choice is True or choice == "any":
        return "required"
    if isinstance(choice, str) and choice not in ("auto", "none", "required"):
        return {"function": {"name": choice}}
    return choice


def _messages(messages: Sequence[BaseMessage]) -> List[Dict[str, Any]]:
    """Messages as the library takes them."""
    found: Any = convert_to_openai_messages(list(messages))
    return [{key: value for key, value in one.items() if value is not None} for one in found]


def _reasoning(text: Optional[str]) -> Dict[str, Any]:
    return {"reasoning_content": text} if text else {}


def _usage(result: Result) -> UsageMetadata:
    read = result.usage.get("prompt_tokens", 0)
    written = result.usage.get("completion_tokens", 0)
    return UsageMetadata(
        input_tokens=read,
        output_tokens=written,
        total_tokens=read + written,
        input_token_details={"cache_read": result.usage.get("cached_tokens", 0)},
    )


def _facts(result: Result) -> Dict[str, Any]:
    return {"finish_reason": result.finish_reason, "model_provider": "libqwen"}
