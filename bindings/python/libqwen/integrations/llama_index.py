"""A language model for LlamaIndex (llama-index-core 0.14.25 is what it is tested with).

from libqwen.integrations.llama_index import LibQwenLLM

llm = LibQwenLLM("/models/Qwen2.5-0.5B-Instruct", max_new_tokens=256)
llm.complete("The capital of France is")
llm.chat([ChatMessage(role="user", content="Hello")])
"""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Union

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.custom import CustomLLM

from ..model import Model
from .openai import run_options

__all__ = ["LibQwenLLM"]


class LibQwenLLM(CustomLLM):
    """A model in this process for LlamaIndex: complete, chat, and both streamed."""

    options: Dict[str, Any] = {}
    _model: Model = PrivateAttr()

    def __init__(self, model: Union[str, Model], **options: Any) -> None:
        """Opens a model, or takes one.

        Args:
            model: a path, or a `libqwen.Model`, which stays the caller's.
            **options: of each run: ``max_new_tokens, do_sample, seed, ...``.
        """
        super().__init__(options=options)
        self._model = model if isinstance(model, Model) else Model(model)

    @classmethod
    def class_name(cls) -> str:
        """The name in LlamaIndex's records."""
        return "LibQwenLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex plans prompts by."""
        return LLMMetadata(
            context_window=int(self._model.info["context"]),
            num_output=int(self.options.get("max_new_tokens", 256)),
            is_chat_model=True,
            model_name=self._model.path,
        )

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Continues a text."""
        result = self._model.generate(prompt, **self._run(kwargs))
        return CompletionResponse(text=result.text, raw=result.raw)

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """Continues a text piece by piece."""

        def pieces() -> CompletionResponseGen:
            text = ""
            with self._model.stream(prompt, **self._run(kwargs)) as run:
                for piece in run:
                    text += piece
                    yield CompletionResponse(text=text, delta=piece)

        return pieces()

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answers a chat."""
        result = self._model.chat(_messages(messages), **self._run(kwargs))
        message = ChatMessage(role=MessageRole.ASSISTANT, content=result.text)
        return ChatResponse(message=message, raw=result.raw)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answers a chat piece by piece."""

        def pieces() -> ChatResponseGen:
            text = ""
            with self._model.stream_chat(_messages(messages), **self._run(kwargs)) as run:
                for piece in run:
                    text += piece
                    message = ChatMessage(role=MessageRole.ASSISTANT, content=text)
                    yield ChatResponse(message=message, delta=piece)

        return pieces()

    def _run(self, given: Dict[str, Any]) -> Dict[str, Any]:
        return run_options({**self.options, **given})


def _messages(messages: Sequence[ChatMessage]) -> List[Dict[str, Any]]:
    return [{"role": one.role.value, "content": one.content or ""} for one in messages]
