"""`pipeline`: the call that ModelScope's examples for Qwen make.

from libqwen import pipeline
pipe = pipeline(task="chat", model="/models/Qwen-7B-Chat", device_map="auto")
history = None
for text in ["浙江的省会在哪里?", "它有什么好玩的地方?"]:
    results = pipe(text, history=history)
    response, history = results["response"], results["history"]
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Sequence, Union

from ..errors import QwenArgumentError, QwenOptionError
from ..session import History
from .causal_lm import AutoModelForCausalLM, CausalLM


class Tasks:
    """Names of tasks, as in `modelscope.utils.constant`."""

    chat = "chat"
    text_generation = "text-generation"


class ChatPipeline:
    """Text and history in, answer and history out; made by `pipeline`. Any thread.

    Attributes:
        model: the `CausalLM` behind it.
    """

    def __init__(self, model: CausalLM) -> None:
        self.model = model

    def __call__(
        self,
        text: str,
        history: Optional[History] = None,
        system: Optional[str] = None,
        append_history: bool = True,
        **settings: Any,
    ) -> Dict[str, Any]:
        """Answers a question.

        Args:
            text: the question.
            history: the earlier (question, answer) pairs; the list is not changed.
            system: the system text; None is the model's own.
            append_history: False returns the history without this turn.
            **settings: as in `CausalLM.chat`.

        Returns:
            ``{"response": str, "history": [(question, answer), ...]}``.

        Raises:
            QwenError: as `CausalLM.chat`.
        """
        response, pairs = self.model.chat(
            None, text, history, system=system, append_history=append_history, **settings
        )
        return {"response": response, "history": pairs}


class TextGenerationPipeline:
    """Text in, the same text continued out; made by `pipeline`. Any thread.

    Attributes:
        model: the `CausalLM` behind it.
    """

    def __init__(self, model: CausalLM) -> None:
        self.model = model

    def __call__(self, text: Union[str, Sequence[str]], **settings: Any) -> Any:
        """Continues a text.

        Args:
            text: a prompt, or several.
            **settings: ``max_new_tokens, temperature, seed, ...``.

        Returns:
            ``{"text": str}``, prompt and continuation; a list of them for several prompts.

        Raises:
            QwenError: as `libqwen.Model.generate`.
        """
        if not isinstance(text, str):
            made: List[Dict[str, str]] = [self(one, **settings) for one in text]
            return made
        return {"text": text + self.model.model.generate(text, **settings).text}


def pipeline(
    task: str = Tasks.chat,
    model: Any = None,
    *,
    model_revision: Optional[str] = None,
    device_map: Any = None,
    device: Any = None,
    **options: Any,
) -> Any:
    """Opens a model for a task.

    Args:
        task: "chat" or "text-generation".
        model: a path or a name as in `AutoModelForCausalLM.from_pretrained`, or a `CausalLM`.
        model_revision: branch, tag or commit of a name.
        device_map: None, "auto" or "cpu".
        device: the same.
        **options: those of `AutoModelForCausalLM.from_pretrained`.

    Raises:
        QwenArgumentError: no model.
        QwenOptionError: another task.
        QwenError: as `AutoModelForCausalLM.from_pretrained`.
    """
    kinds = {Tasks.chat: ChatPipeline, Tasks.text_generation: TextGenerationPipeline}
    if task not in kinds:
        raise QwenOptionError(
            f'task is {task!r}; this package has "chat" and "text-generation"',
            details={"key": "task"},
        )
    if model is None:
        raise QwenArgumentError('pipeline wants a model: pipeline("chat", model="/models/...")')
    if not isinstance(model, CausalLM):
        model = AutoModelForCausalLM.from_pretrained(
            os.fspath(model),
            revision=model_revision,
            device_map=device_map if device_map is not None else device,
            **options,
        )
    return kinds[task](model)
