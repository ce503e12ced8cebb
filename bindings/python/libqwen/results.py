"""What comes back: the result of a run, the events on the way, the answer of a callback."""

from __future__ import annotations

import enum
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

__all__ = ["Event", "EventKind", "Reply", "Result", "ToolCall"]


class EventKind(enum.IntEnum):
    """What an event says."""

    TEXT = 1
    """A piece of the answer, whole characters only."""
    PROGRESS = 2
    """The prompt is being read; ``fraction`` runs from 0 to 1."""
    DONE = 3
    """The run is over; ``result`` is there."""
    REASONING = 4
    """A piece of the reasoning before the answer."""
    TOOL_CALL = 5
    """A call begins: ``call``, ``call_id`` and ``name`` are there. A second one with the same ``call``
    takes the place of the first."""
    TOOL_ARGUMENTS = 6
    """A piece of the text of the arguments of call number ``call``."""


class Reply(enum.IntEnum):
    """What an event callback may return; None means CONTINUE."""

    CONTINUE = 0
    """Go on."""
    STOP = 1
    """Stop and keep what was said."""
    CANCEL = 2
    """Stop and undo: the session is as before, the call raises `QwenCancelledError`."""


class Event(NamedTuple):
    """One event of a run; a copy, valid for ever."""

    kind: EventKind
    text: str = ""
    """TEXT, REASONING, TOOL_ARGUMENTS: the piece."""
    id: int = -1
    """The token that completed the piece, -1 if none."""
    logprob: float = 0.0
    """Its natural-log probability if ``logprobs`` was asked for."""
    fraction: float = 0.0
    """PROGRESS: the part of the prompt that is read."""
    result: Optional["Result"] = None
    """DONE: the result."""
    call: int = -1
    """TOOL_CALL, TOOL_ARGUMENTS: number of the call in the answer, from 0."""
    call_id: str = ""
    """TOOL_CALL: its id."""
    name: str = ""
    """TOOL_CALL: the tool."""


class ToolCall(NamedTuple):
    """One call of a tool as the model wrote it."""

    id: str
    """Unique in the conversation; the answer to it is a message with this ``tool_call_id``."""
    name: str
    """The tool; the model may write one that does not exist."""
    arguments: Optional[Dict[str, Any]]
    """The arguments, or None if they can't be read as an object (code, for instance)."""
    arguments_text: str
    """The arguments as they were written."""
    repaired: bool = False
    """Whether the text was not JSON as it stood."""
    cut: bool = False
    """Whether its end was missing."""
    error: Optional[str] = None
    """Why ``arguments`` is None."""


class Result:
    """The result of a run, immutable; ``str(result)`` is the answer.

    Attributes that a run doesn't have are None or empty. ``raw`` is everything as the library gave it.
    """

    __slots__ = ("raw",)

    raw: Dict[str, Any]

    def __init__(self, raw: Mapping[str, Any]) -> None:
        """Wraps the result JSON of the library."""
        self.raw = dict(raw)

    @property
    def text(self) -> str:
        """The answer, without the stop string that ended it."""
        return str(self.raw.get("text", ""))

    @property
    def ids(self) -> List[int]:
        """The tokens of the answer."""
        return list(self.raw.get("ids") or [])

    @property
    def finish_reason(self) -> str:
        """Why it ended: "stop", "tool_calls", "length", "cancelled" or "deadline"."""
        return str(self.raw.get("finish_reason", ""))

    @property
    def stop_match(self) -> Any:
        """The stop string or token that ended it, or None."""
        return self.raw.get("stop_match")

    @property
    def usage(self) -> Dict[str, int]:
        """Token counts: prompt_tokens, cached_tokens, evaluated_tokens, completion_tokens."""
        return dict(self.raw.get("usage") or {})

    @property
    def timings(self) -> Dict[str, float]:
        """Seconds and tokens per second of prefill and decode."""
        return dict(self.raw.get("timings") or {})

    @property
    def seed(self) -> Optional[int]:
        """The seed that gives this answer again."""
        return self.raw.get("seed")

    @property
    def logprobs(self) -> Any:
        """Log probabilities if ``logprobs`` was asked for, else None."""
        return self.raw.get("logprobs")

    @property
    def effective_options(self) -> Dict[str, Any]:
        """Every option with the value that was used."""
        return dict(self.raw.get("effective_options") or {})

    @property
    def speculation(self) -> Dict[str, int]:
        """Steps with guesses, tokens drafted, tokens accepted; empty without ``speculative``."""
        return dict(self.raw.get("speculation") or {})

    @property
    def replay(self) -> Dict[str, Any]:
        """Library, model, options and the whole request: what makes the same answer again."""
        return dict(self.raw.get("replay") or {})

    @property
    def message(self) -> Optional[Dict[str, Any]]:
        """Chat: the answer as a message, else None: role, content, reasoning_content and tool_calls as
        OpenAI's messages have them. Append it to the messages before the results of the tools."""
        return self.raw.get("message")

    @property
    def tool_calls(self) -> List[ToolCall]:
        """Chat with tools: the calls in order, else empty."""
        return [
            ToolCall(
                id=str(call["id"]),
                name=str(call["name"]),
                arguments=call.get("arguments"),
                arguments_text=str(call.get("arguments_text", "")),
                repaired=bool(call.get("repaired", False)),
                cut=bool(call.get("cut", False)),
                error=call.get("error"),
            )
            for call in self.raw.get("tool_calls") or []
        ]

    @property
    def reasoning(self) -> Optional[str]:
        """Chat: what the model thought before its answer, or None."""
        message = self.message
        return None if message is None else message.get("reasoning_content")

    @property
    def raw_text(self) -> str:
        """Everything that was written, reasoning and calls included."""
        return str(self.raw.get("raw_text", self.text))

    @property
    def history(self) -> List[Tuple[str, str]]:
        """Chat: the (question, answer) pairs including this turn, else empty."""
        return [(str(pair[0]), str(pair[1])) for pair in self.raw.get("history") or []]

    def __str__(self) -> str:
        """The answer."""
        return self.text

    def __repr__(self) -> str:
        """Answer and reason, for people."""
        return f"Result(text={self.text!r}, finish_reason={self.finish_reason!r})"

    def __eq__(self, other: object) -> bool:
        """Equal when everything the library reported is."""
        return self.raw == other.raw if isinstance(other, Result) else NotImplemented

    __hash__ = None  # type: ignore[assignment]
