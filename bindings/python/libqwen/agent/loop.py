"""The loop: the model calls tools and gets their results until it has a final answer."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

from ..errors import QwenDeadlineError
from ..model import Model
from ..results import Result, ToolCall
from ..session import Session
from .tools import Tool, ToolError, tool

__all__ = ["Agent", "AgentLimits", "Step", "Trace"]

#: Called after each step; False ends the run.
StepCallback = Callable[["Step"], Optional[bool]]


@dataclass(frozen=True)
class AgentLimits:
    """How far a run may go.

    Attributes:
        rounds: answers of the model.
        calls: calls of tools in one answer; those beyond are refused.
        seconds: of the whole run, tools included.
        tool_seconds: of one call of a tool. A function can't be killed: one that takes longer is left
            behind in its thread, and the model is told.
        result_characters: of one result; what is beyond is cut, and the model is told.
    """

    rounds: int = 8
    calls: int = 8
    seconds: float = 300.0
    tool_seconds: float = 60.0
    result_characters: int = 8000


@dataclass(frozen=True)
class Step:
    """One thing that happened.

    Attributes:
        kind: "thought", "call", "result", "error" (a result that tells of a failure) or "answer".
        text: the thought, the arguments as written, the result, or the answer.
        name: of the tool, for calls and results.
        call_id: which call a result belongs to.
        seconds: that it took, since the step before or, for a result, in the tool.
    """

    kind: str
    text: str
    name: str = ""
    call_id: str = ""
    seconds: float = 0.0


@dataclass
class Trace:
    """What a run did.

    Attributes:
        answer: the final answer; what was said last if there was none.
        ended_by: "answer", "rounds", "time", "length" (an answer that was cut) or "callback".
        steps: in order.
        messages: the whole conversation, ready for the next run.
        usage: tokens of all answers together.
        seconds: of the whole run.
    """

    answer: str = ""
    ended_by: str = "answer"
    steps: List[Step] = field(default_factory=list)
    messages: List[Dict[str, Any]] = field(default_factory=list)
    usage: Dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def calls(self) -> List[Tuple[str, str]]:
        """The calls as (name, arguments as written)."""
        return [(step.name, step.text) for step in self.steps if step.kind == "call"]

    def __str__(self) -> str:
        """The steps, for people."""
        lines = []
        for step in self.steps:
            name = f" {step.name}" if step.name else ""
            lines.append(f"{step.kind}{name}: {step.text}")
        return "\n".join(lines)


class Agent:
    """A model with tools. Holds nothing between runs. Any thread, each run in a session of its own."""

    def __init__(
        self,
        model: Model,
        tools: Iterable[Union[Tool, Callable[..., Any]]] = (),
        *,
        system: Optional[str] = None,
        limits: Optional[AgentLimits] = None,
        tool_format: Optional[str] = None,
        on_step: Optional[StepCallback] = None,
        **options: Any,
    ) -> None:
        """Puts a model and tools together.

        Args:
            model: the model; stays the caller's.
            tools: `Tool` values, or functions with annotations and a docstring.
            system: the system text; None is the model's own.
            limits: see `AgentLimits`.
            tool_format: "react" or "hermes"; None is what the model's family was trained with.
            on_step: called after each step; False ends the run.
            **options: of each answer: ``max_new_tokens, do_sample, seed, ...``; greedy by default,
            which
                is what the release recommends for tools.

        Raises:
            ValueError: two tools of one name.
        """
        self.model = model
        self.tools: Dict[str, Tool] = {}
        for one in tools:
            made = one if isinstance(one, Tool) else tool(one)
            if made.name in self.tools:
                raise ValueError(f"there are two tools with the name {made.name}")
            self.tools[made.name] = made
        self.system = system
        self.limits = limits or AgentLimits()
        self.tool_format = tool_format
        self.on_step = on_step
        self.options = {"do_sample": False, "max_new_tokens": 1024, **options}

    def run(
        self, query: str, *, messages: Sequence[Mapping[str, Any]] = (), **options: Any
    ) -> Trace:
        """Works on a question until there is an answer or a limit is met.

        Args:
            query: the question.
            messages: the conversation before it, for instance `Trace.messages` of the last run.
            **options: instead of the agent's own for this run.

        Raises:
            QwenError: the model could not be run; a deadline that is met ends the run instead.
        """
        with self.model.session() as session:
            return _Run(self, session, {**self.options, **options}).work(query, messages)


class _Run:
    """One run of an agent."""

    def __init__(self, agent: Agent, session: Session, options: Dict[str, Any]) -> None:
        self.agent = agent
        self.session = session
        self.options = options
        self.trace = Trace()
        self.started = self.last = time.monotonic()
        self.stopped = False

    def work(self, query: str, messages: Sequence[Mapping[str, Any]]) -> Trace:
        talk = self.trace.messages = [dict(message) for message in messages]
        if self.agent.system is not None and not talk:
            talk.append({"role": "system", "content": self.agent.system})
        talk.append({"role": "user", "content": query})
        self.trace.ended_by = "rounds"
        for _ in range(self.agent.limits.rounds):
            ended_by = self._round(talk)
            if ended_by is not None:
                self.trace.ended_by = ended_by
                break
        self.trace.seconds = time.monotonic() - self.started
        return self.trace

    def _round(self, talk: List[Dict[str, Any]]) -> Optional[str]:
        """One answer and its calls; returns why the run is over, or None."""
        left = self._left()
        if left <= 0:
            return "time"
        try:
            result = self.session.chat(talk, **self._request(left))
        except QwenDeadlineError:
            return "time"
        for name, count in result.usage.items():
            self.trace.usage[name] = self.trace.usage.get(name, 0) + count
        message = dict(result.message or {"role": "assistant", "content": result.text})
        talk.append(message)
        thought = str(message.get("reasoning_content") or "").strip()
        if thought:
            self._note(Step("thought", thought))
        calls = result.tool_calls
        self.trace.answer = result.text
        if not calls:
            self._note(Step("answer", result.text))
            return self._why(result)
        for index, call in enumerate(calls):
            self._call(talk, call, refused=index >= self.agent.limits.calls)
            if self.stopped:
                return "callback"
        return None

    def _why(self, result: Result) -> str:
        if self.stopped:
            return "callback"
        return {"length": "length", "deadline": "time"}.get(result.finish_reason, "answer")

    def _request(self, left: float) -> Dict[str, Any]:
        request = {**self.options, "deadline_ms": max(int(left * 1000), 1)}
        if self.agent.tools:
            request["tools"] = [self._described(one) for one in self.agent.tools.values()]
            if self.agent.tool_format is not None:
                request["tool_format"] = self.agent.tool_format
        return request

    @staticmethod
    def _described(one: Tool) -> Dict[str, Any]:
        """The release's form keeps more (the human name, the format of arguments)."""
        return one.to_qwen()

    def _call(self, talk: List[Dict[str, Any]], call: ToolCall, refused: bool) -> None:
        name, text, call_id = call.name, call.arguments_text, call.id
        self._note(Step("call", text, name, call_id))
        began = time.monotonic()
        if refused:
            kind, result = "error", "too many calls in one answer; this one was not run"
        else:
            kind, result = self._result(name, call.arguments, text)
        result = self._cut(result)
        self._note(Step(kind, result, name, call_id, time.monotonic() - began))
        answer = {"role": "tool", "content": result, "name": name}
        if call_id:
            answer["tool_call_id"] = call_id
        talk.append(answer)

    def _result(self, name: str, arguments: Any, text: str) -> Tuple[str, str]:
        """What a call gives, and whether it is a result or tells of an error."""
        found = self.agent.tools.get(name)
        if found is None:
            known = ", ".join(self.agent.tools) or "none"
            return "error", f"there is no tool {name!r}; there are: {known}"
        box: List[Tuple[str, str]] = []

        def work() -> None:
            try:
                box.append(("result", found.call(arguments, text)))
            except ToolError as error:
                box.append(("error", str(error)))
            except Exception as error:
                box.append(("error", f"{type(error).__name__}: {error}"))

        limit = min(self.agent.limits.tool_seconds, max(self._left(), 0.01))
        thread = threading.Thread(target=work, name=f"libqwen tool {name}", daemon=True)
        thread.start()
        thread.join(limit)
        if not box:
            return "error", f"{name} took longer than {limit:.0f} seconds and was left"
        return box[0]

    def _cut(self, text: str) -> str:
        limit = self.agent.limits.result_characters
        if len(text) <= limit:
            return text
        return text[:limit] + f"\n[cut: {len(text) - limit} more characters]"

    def _note(self, step: Step) -> None:
        now = time.monotonic()
        if not step.seconds:
            step = Step(step.kind, step.text, step.name, step.call_id, now - self.last)
        self.last = now
        self.trace.steps.append(step)
        if self.agent.on_step is not None and self.agent.on_step(step) is False:
            self.stopped = True

    def _left(self) -> float:
        return self.agent.limits.seconds - (time.monotonic() - self.started)
