"""ReAct as the first Qwen release documents it: the prompt, and reading what comes back.

`Agent` lets the library do this. These functions are for code that was written after the release's own
example: it builds the text, calls ``model.chat`` with stop words, and reads the action itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Iterable, List, Mapping, Optional, Union

from .tools import Tool

__all__ = ["STOP_WORDS", "Action", "parse", "prompt"]

#: What ends a turn that waits for a tool.
STOP_WORDS = ("Observation:", "Observation:\n")

_SUFFIXES = {
    "json": " Format the arguments as a JSON object.",
    "code": " Enclose the code within triple backticks (`) at the beginning and end of the code.",
}
_FORMAT = """Answer the following questions as best you can. You have access to the following {word}:

{texts}

Use the following format:

Question: the input question you must answer
Thought: you should always think about what to do
Action: the action to take, should be one of [{names}]
Action Input: the input to the action
Observation: the result of the action
... (this Thought/Action/Action Input/Observation can be repeated zero or more times)
Thought: I now know the final answer
Final Answer: the final answer to the original input question

Begin!

Question: {query}"""


@dataclass(frozen=True)
class Action:
    """What a model wants done.

    Attributes:
        name: of the tool.
        arguments: the text of the arguments.
        text: what the model wrote, up to and with ``Observation:``.
    """

    name: str
    arguments: str
    text: str


def prompt(
    tools: Iterable[Union[Tool, Mapping[str, Any]]], query: str, *, wording: str = "tools"
) -> str:
    """The user turn that describes the tools and asks the question.

    Args:
        tools: `Tool` values, or the release's dictionaries.
        query: the question.
        wording: "tools" as in the release's document, "apis" as in its demo of several turns.
    """
    described = [one.to_qwen() if isinstance(one, Tool) else one for one in tools]
    if wording not in ("tools", "apis"):
        raise ValueError(f'wording is {wording!r}, expected "tools" or "apis"')
    names: List[str] = [one["name_for_model"] for one in described]
    return _FORMAT.format(
        word="tools" if wording == "tools" else "APIs",
        texts="\n\n".join(_line(one) for one in described),
        names=(",", ", ")[wording == "apis"].join(names),
        query=query,
    )


def _line(one: Mapping[str, Any]) -> str:
    human = one["name_for_human"]
    parameters = json.dumps(one["parameters"], ensure_ascii=False)
    return (
        f"{one['name_for_model']}: Call this tool to interact with the {human} API. "
        f"What is the {human} API useful for? {one['description_for_model']} "
        f"Parameters: {parameters}{_SUFFIXES[one.get('args_format', 'json')]}"
    )


def parse(text: str) -> Optional[Action]:
    """The last action in a text, or None; by the last occurrences of the words, as in the release."""
    action = text.rfind("\nAction:")
    given = text.rfind("\nAction Input:")
    observation = text.rfind("\nObservation:")
    if not 0 <= action < given:
        return None
    if observation < given:
        text = text.rstrip() + "\nObservation:"
        observation = text.rfind("\nObservation:")
    name = text[action + len("\nAction:") : given].strip()
    arguments = text[given + len("\nAction Input:") : observation].strip()
    return Action(name, arguments, text[: observation + len("\nObservation:")])
