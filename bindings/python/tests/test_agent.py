"""The agent's loop with a model that says what it is told, tools, and the release's ReAct texts."""

from __future__ import annotations

import json
import time
from typing import Any, Dict, List, Literal, Optional, Sequence

import pytest

from libqwen import QwenDeadlineError, Result
from libqwen.agent import (
    Agent,
    AgentLimits,
    CodeInterpreter,
    Sandbox,
    Step,
    Tool,
    ToolError,
    react,
    tool,
)
from libqwen.agent.json5 import JSON5Error, loads, loads_tolerant


class Scripted:
    """A model whose answers are given: texts, or lists of calls as (name, arguments)."""

    def __init__(self, *answers: Any, delay: float = 0.0) -> None:
        self.answers = list(answers)
        self.requests: List[Dict[str, Any]] = []
        self.delay = delay

    def session(self) -> Scripted:
        return self

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *details: Any) -> None:
        pass

    def chat(self, messages: Sequence[Dict[str, Any]], **options: Any) -> Result:
        self.requests.append({"messages": [dict(message) for message in messages], **options})
        if self.delay:
            time.sleep(self.delay)
            if options["deadline_ms"] < self.delay * 1000:
                raise QwenDeadlineError("too late")
        answer = self.answers.pop(0)
        usage = {"prompt_tokens": 10, "completion_tokens": 2}
        if isinstance(answer, str):
            said: Dict[str, Any] = {"role": "assistant", "content": answer}
            return Result(
                {"text": answer, "message": said, "finish_reason": "stop", "usage": usage}
            )
        calls = []
        for index, (name, arguments) in enumerate(answer):
            text = arguments if isinstance(arguments, str) else json.dumps(arguments)
            given = None if isinstance(arguments, str) else arguments
            calls.append(
                {"id": f"call_{index}", "name": name, "arguments": given, "arguments_text": text}
            )
        message = {
            "role": "assistant",
            "content": None,
            "reasoning_content": "Hm.",
            "tool_calls": calls,
        }
        return Result(
            {
                "text": "",
                "message": message,
                "tool_calls": calls,
                "finish_reason": "tool_calls",
                "usage": usage,
            }
        )


def agent(model: Scripted, tools: Sequence[Any] = (), **options: Any) -> Agent:
    return Agent(model, tools, **options)  # type: ignore[arg-type]


@tool
def weather(city: str, days: int = 1) -> Dict[str, Any]:
    """The weather in a city.

    Args:
        city: where.
        days: how many days ahead.
    """
    return {"city": city, "days": days, "sky": "晴"}


def broken(query: str) -> str:
    """Always fails."""
    raise RuntimeError("no line")


# ---- The loop ------------------------------------------------------------------------------------


def test_calls_are_run_until_there_is_an_answer() -> None:
    model = Scripted([("weather", {"city": "Paris"})], "It is sunny.")
    seen: List[str] = []
    trace = agent(model, [weather], system="Be brief.", on_step=lambda s: seen.append(s.kind)).run(
        "How?"
    )
    assert trace.answer == "It is sunny." and trace.ended_by == "answer"
    assert [step.kind for step in trace.steps] == ["thought", "call", "result", "answer"] == seen
    assert trace.calls == [("weather", '{"city": "Paris"}')]
    assert trace.usage == {"prompt_tokens": 20, "completion_tokens": 4}
    roles = [message["role"] for message in trace.messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant"]
    result = trace.messages[3]
    assert result["content"] == '{"city": "Paris", "days": 1, "sky": "晴"}'
    assert (result["tool_call_id"], result["name"]) == ("call_0", "weather")
    assert model.requests[0]["do_sample"] is False
    assert model.requests[0]["tools"][0]["name_for_model"] == "weather"
    assert "weather: " in str(trace)


def test_a_conversation_goes_on() -> None:
    first = agent(Scripted("Hello."), system="S").run("Hi")
    model = Scripted("Again.")
    second = agent(model, system="S").run("More", messages=first.messages)
    assert [m["content"] for m in second.messages] == ["S", "Hi", "Hello.", "More", "Again."]
    assert "tools" not in model.requests[0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("nothing", {}), "there is no tool 'nothing'; there are: weather, broken"),
        (("broken", {"query": "x"}), "RuntimeError: no line"),
        (("weather", {"town": "x"}), "weather takes: city, days"),
        (("weather", "oops}"), "the arguments are not JSON"),
        (("weather", "[1]"), "must be a JSON object"),
    ],
)
def test_failures_are_told_to_the_model(call: Any, words: str) -> None:
    model = Scripted([call], "Sorry.")
    trace = agent(model, [weather, broken]).run("How?")
    step = next(step for step in trace.steps if step.kind == "error")
    assert words in step.text and trace.answer == "Sorry."
    assert model.requests[1]["messages"][-1]["content"] == step.text


def test_arguments_that_were_cut_are_completed() -> None:
    trace = agent(Scripted([("weather", '{"city": "Ro')], "ok"), [weather]).run("?")
    assert '"city": "Ro"' in trace.steps[2].text


def test_rounds_calls_and_results_are_limited() -> None:
    endless = Scripted(*[[("weather", {"city": "x"})]] * 9)
    trace = agent(endless, [weather], limits=AgentLimits(rounds=3)).run("?")
    assert trace.ended_by == "rounds" and len(trace.calls) == 3
    many = Scripted([("weather", {"city": str(n)}) for n in range(4)], "done")
    trace = agent(many, [weather], limits=AgentLimits(calls=2)).run("?")
    assert [s.kind for s in trace.steps if s.kind in ("result", "error")] == ["result"] * 2 + [
        "error"
    ] * 2
    assert [m["tool_call_id"] for m in trace.messages if m["role"] == "tool"] == [
        f"call_{n}" for n in range(4)
    ]
    long = Tool("long", "", [], lambda: "y" * 5000)
    trace = agent(
        Scripted([("long", {})], "done"), [long], limits=AgentLimits(result_characters=10)
    ).run("?")
    assert trace.steps[2].text == "y" * 10 + "\n[cut: 4990 more characters]"


def test_time_is_limited() -> None:
    trace = agent(Scripted("late", delay=0.2), limits=AgentLimits(seconds=0.1)).run("?")
    assert trace.ended_by == "time" and trace.answer == ""
    slow = Tool("slow", "", [], lambda: time.sleep(5))
    limits = AgentLimits(tool_seconds=0.1)
    started = time.monotonic()
    trace = agent(Scripted([("slow", {})], "done"), [slow], limits=limits).run("?")
    assert "took longer" in trace.steps[2].text and trace.answer == "done"
    assert time.monotonic() - started < 2


def test_a_callback_ends_the_run() -> None:
    def stop(step: Step) -> Optional[bool]:
        return step.kind != "result"

    trace = agent(Scripted([("weather", {"city": "x"})], "no"), [weather], on_step=stop).run("?")
    assert trace.ended_by == "callback" and trace.answer == ""


def test_names_are_unique_and_plain() -> None:
    with pytest.raises(ValueError, match="two tools"):
        agent(Scripted(), [weather, weather])
    with pytest.raises(ValueError, match="letters"):
        Tool("a b", "", [], print)


# ---- Tools ---------------------------------------------------------------------------------------


def test_a_function_becomes_a_tool() -> None:
    def find(
        query: str,
        kind: Literal["a", "b"] = "a",
        tags: Optional[List[str]] = None,
        exact: bool = False,
    ) -> str:
        """Finds things.

        In the archive.

        Args:
            query (str): what to find.
            tags: only with these.
        """
        return query

    made = tool(find)
    assert (made.name, made.description) == ("find", "Finds things. In the archive.")
    assert made.schema == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "what to find."},
            "kind": {"type": "string", "enum": ["a", "b"]},
            "tags": {
                "type": "array",
                "items": {"type": "string"},
                "description": "only with these.",
            },
            "exact": {"type": "boolean"},
        },
        "required": ["query"],
    }
    assert tool(name="other", description="D")(find).to_openai()["function"]["name"] == "other"


def test_the_release_form_becomes_a_schema() -> None:
    parameters = [
        {"name": "query", "description": "what", "required": True, "schema": {"type": "string"}},
        {"name": "n", "description": "", "required": False, "schema": {"type": "integer"}},
    ]
    made = Tool("s", "d", parameters, lambda query, n=1: f"{query}{n}", "Search")
    assert made.schema["required"] == ["query"]
    assert (
        made.to_qwen()["parameters"] == parameters and made.to_qwen()["name_for_human"] == "Search"
    )
    assert made.call({"query": "x", "n": 2}) == "x2"
    with pytest.raises(ToolError):
        made.call({"m": 2})


def test_tools_of_langchain_are_wrapped() -> None:
    class Old:
        name, description = "Search", "Finds."

        def run(self, text: str) -> str:
            return f"found {text}"

    made = Tool.from_langchain(Old())
    assert made.call({"query": "it"}) == "found it"
    assert made.to_qwen()["parameters"][0]["name"] == "query"

    class New:
        name, description = "add", "Adds."
        args = {"a": {"type": "integer"}, "b": {"type": "integer", "default": 1}}

        def invoke(self, given: Dict[str, int]) -> int:
            return given["a"] + given.get("b", 1)

    added = Tool.from_langchain(New())
    assert added.call({"a": 2}) == "3" and added.schema["required"] == ["a"]


def test_the_code_interpreter_keeps_what_cells_define() -> None:
    reason = Sandbox().why_not()
    if reason is not None:
        pytest.skip(reason)
    interpreter = CodeInterpreter()
    made = interpreter.tool()
    assert made.args_format == "code"
    assert made.call(None, "```py\nx = 6\nprint('six')\n```") == "six\n".strip()
    assert made.call({"code": "x * 7"}) == "42"
    assert "ZeroDivisionError" in made.call(None, "```\n1 / 0\n```")
    assert made.call(None, "print(x)") == "6"
    assert made.call(None, "y = 1") == "(no output)"
    interpreter.reset()
    assert "NameError" in interpreter.run("x")


# ---- ReAct ---------------------------------------------------------------------------------------

SEARCH: Dict[str, Any] = {
    "name_for_human": "谷歌搜索",
    "name_for_model": "google_search",
    "description_for_model": "A search engine.",
    "parameters": [
        {"name": "query", "description": "词", "required": True, "schema": {"type": "string"}}
    ],
}
PAINT: Dict[str, Any] = {
    **SEARCH,
    "name_for_model": "paint",
    "name_for_human": "P",
    "args_format": "code",
}


def test_the_prompt_of_react() -> None:
    assert react.prompt([SEARCH, PAINT], "谁?") == (
        "Answer the following questions as best you can. You have access to the following tools:\n\n"
        "google_search: Call this tool to interact with the 谷歌搜索 API. "
        "What is the 谷歌搜索 API useful for? A search engine. "
        'Parameters: [{"name": "query", "description": "词", "required": true, '
        '"schema": {"type": "string"}}] Format the arguments as a JSON object.\n\n'
        "paint: Call this tool to interact with the P API. What is the P API useful for? "
        'A search engine. Parameters: [{"name": "query", "description": "词", "required": true, '
        '"schema": {"type": "string"}}] Enclose the code within triple backticks (`) at the '
        "beginning and end of the code.\n\n"
        "Use the following format:\n\nQuestion: the input question you must answer\n"
        "Thought: you should always think about what to do\n"
        "Action: the action to take, should be one of [google_search,paint]\n"
        "Action Input: the input to the action\nObservation: the result of the action\n"
        "... (this Thought/Action/Action Input/Observation can be repeated zero or more times)\n"
        "Thought: I now know the final answer\n"
        "Final Answer: the final answer to the original input question\n\nBegin!\n\nQuestion: 谁?"
    )
    demo = react.prompt([SEARCH, PAINT], "?", wording="apis")
    assert "access to the following APIs:" in demo and "[google_search, paint]" in demo


def test_the_last_action_of_a_text() -> None:
    text = "Thought: a\nAction: x\nAction Input: {}\nObservation: o\nThought: b\n"
    text += "Action: y \nAction Input: {1}  "
    found = react.parse(text)
    assert found == react.Action("y", "{1}", text.rstrip() + "\nObservation:")
    assert react.parse("Thought: a\nFinal Answer: b") is None
    assert react.parse("Action: x\nAction Input: y") is None  # no line feed before it
    whole = react.parse("\nAction: x\nAction Input: y\nObservation: made up")
    assert whole is not None and whole.text.endswith("y\nObservation:")


# ---- JSON5 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{a: 1, 'b': \"c\", }", {"a": 1, "b": "c"}),
        ("[1, 2,] // end", [1, 2]),
        ("/* so */ {x: +.5, y: 0x1F, z: -Infinity}", {"x": 0.5, "y": 31, "z": float("-inf")}),
        ("'it\\'s \\x41\\u0042 \\\nb'", "it's AB b"),
        ('"\\ud83d\\ude00"', "😀"),
        ("[true, false, null, 5., 1e3]", [True, False, None, 5.0, 1000.0]),
        ("{$a_1: {}}", {"$a_1": {}}),
    ],
)
def test_json5(text: str, value: Any) -> None:
    assert loads(text) == value


@pytest.mark.parametrize(
    "text", ["", "{a b: 1}", "[1 2]", "[,]", "1 2", "01", '"a\nb"', "tru", "[" * 200]
)
def test_what_is_not_json5(text: str) -> None:
    with pytest.raises(JSON5Error, match="character"):
        loads(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('```json\n{"a": [1, 2]}\n```', {"a": [1, 2]}),
        ('{"a": 1, "b": "x', {"a": 1, "b": "x"}),
        ('{"a": {"b": [1,', {"a": {"b": [1]}}),
        ('{"a": "hi", "n": ', {"a": "hi"}),
        ('{"a": "hi"} and so on', {"a": "hi"}),
        ('{"a', {}),
    ],
)
def test_json_as_models_write_it(text: str, value: Any) -> None:
    assert loads_tolerant(text) == value
