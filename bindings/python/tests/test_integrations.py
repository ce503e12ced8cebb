"""Other packages on the real small model; wants LIBQWEN_SMOLLM2, and each package for its tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

import libqwen
from libqwen.integrations.openai import OpenAI, run_options

ASKED = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY: Dict[str, Any] = {"do_sample": False, "max_new_tokens": 12}
TOOL: Dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
#: The model is too small to choose a tool by itself; this makes it call one.
FORCED: Dict[str, Any] = {"function": {"name": "weather"}}


@pytest.fixture(scope="module")
def plain(smollm2: libqwen.Model) -> str:
    """What the model says without anything around it."""
    return smollm2.chat(ASKED, **GREEDY).text


@pytest.fixture(scope="module")
def forced(smollm2: libqwen.Model) -> libqwen.Result:
    """The call that the model makes when it must."""
    result = smollm2.chat(
        ASKED, tools=[TOOL], tool_choice=FORCED, do_sample=False, max_new_tokens=40
    )
    assert result.tool_calls and result.tool_calls[0].name == "weather"
    return result


# ---- Objects of OpenAI ---------------------------------------------------------------------------


def test_a_chat_has_the_fields_of_openai(smollm2: libqwen.Model, plain: str) -> None:
    client = OpenAI(smollm2, name="small")
    reply = client.chat.completions.create(
        model="gpt-x", messages=ASKED, temperature=0, max_tokens=12, user="me", logprobs=True
    )
    assert reply.object == "chat.completion" and reply.model == "small"
    assert reply.id.startswith("chatcmpl-") and reply.created > 0
    choice = reply.choices[0]
    assert choice.message.content == plain and choice.message.role == "assistant"
    assert choice.message.tool_calls is None and choice.index == 0
    assert choice.finish_reason in ("stop", "length")
    usage = reply.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0
    entries = choice.logprobs.content
    assert "".join(one.token for one in entries).startswith(plain[:5])
    assert all(one.logprob <= 0 and one.bytes for one in entries)
    assert json.loads(reply.model_dump_json()) == reply.model_dump() == reply
    assert client.models.list().data[0].id == "small"


def test_chunks_are_those_of_openai(smollm2: libqwen.Model, plain: str) -> None:
    client = OpenAI(smollm2)
    with client.chat.completions.create(
        messages=ASKED,
        temperature=0,
        max_completion_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    assert chunks[0].choices[0].delta == {"role": "assistant", "content": ""}
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0
    assert chunks[-2].choices[0].finish_reason in ("stop", "length")
    text = "".join(c.choices[0].delta.content or "" for c in chunks[:-1])
    assert text == plain
    stopped = client.chat.completions.create(messages=ASKED, stream=True)
    next(stopped)
    stopped.close()
    assert client.chat.completions.create(messages=ASKED, max_tokens=1).choices


def test_calls_are_those_of_openai(smollm2: libqwen.Model, forced: libqwen.Result) -> None:
    client = OpenAI(smollm2)
    options: Dict[str, Any] = {
        "messages": ASKED,
        "tools": [TOOL],
        "tool_choice": FORCED,
        "temperature": 0,
        "max_tokens": 40,
    }
    message = client.chat.completions.create(**options).choices[0].message
    call = message.tool_calls[0]
    assert (call.type, call.function.name) == ("function", "weather")
    assert call.function.arguments == forced.tool_calls[0].arguments_text
    joined: Dict[str, str] = {"name": "", "arguments": ""}
    for chunk in client.chat.completions.create(**options, stream=True):
        for part in chunk.choices[0].delta.tool_calls or []:
            joined["name"] += part.function.name or ""
            joined["arguments"] += part.function.arguments or ""
    assert joined == {"name": "weather", "arguments": call.function.arguments}
    # The message goes back in as it came, before the result.
    talk = [*ASKED, message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    again = client.chat.completions.create(messages=talk, tools=[TOOL], max_tokens=4)
    assert again.choices[0].message.role == "assistant"


def test_several_answers_and_completions(smollm2: libqwen.Model) -> None:
    client = OpenAI(smollm2)
    options: Dict[str, Any] = {"temperature": 1.5, "seed": 7, "max_tokens": 8, "messages": ASKED}
    many = client.chat.completions.create(n=2, **options)
    assert [choice.index for choice in many.choices] == [0, 1]
    assert many.choices[0].message.content != many.choices[1].message.content
    text = client.completions.create(prompt="One, two,", max_tokens=3, temperature=0, echo=True)
    assert text.choices[0].text.startswith("One, two,") and text.object == "text_completion"
    pieces = client.completions.create(prompt="One, two,", max_tokens=3, temperature=0, stream=True)
    assert "One, two," + "".join(one.choices[0].text for one in pieces) == text.choices[0].text
    with pytest.raises(libqwen.QwenOptionError, match="temprature"):
        client.chat.completions.create(messages=ASKED, temprature=1)


def test_options_are_translated() -> None:
    given = {
        "max_tokens": 5,
        "temperature": 0.5,
        "stop": "x",
        "timeout": 1.5,
        "logit_bias": {198: -5},
        "top_logprobs": 3,
        "logprobs": True,
        "seed": None,
        "extra_body": {"min_p": 0.1},
        "metadata": {},
    }
    assert run_options(given) == {
        "max_new_tokens": 5,
        "do_sample": True,
        "temperature": 0.5,
        "stop": ["x"],
        "deadline_ms": 1500,
        "logit_bias": {"198": -5.0},
        "logprobs": 3,
        "min_p": 0.1,
    }
    with pytest.raises(libqwen.QwenOptionError, match="json_object"):
        run_options({"response_format": {"type": "json_object"}})


# ---- LangChain -----------------------------------------------------------------------------------


@pytest.fixture
def chat(smollm2: libqwen.Model) -> Any:
    pytest.importorskip("langchain_core", reason="langchain-core is not installed")
    from libqwen.integrations.langchain import ChatLibQwen

    return ChatLibQwen(smollm2, **GREEDY)


def test_langchain_invokes_and_streams(chat: Any, plain: str) -> None:
    from langchain_core.messages import HumanMessage, SystemMessage
    from langchain_core.prompts import ChatPromptTemplate

    answer = chat.invoke("What is the capital of France?")
    assert answer.content == plain
    assert answer.usage_metadata["output_tokens"] > 0
    assert answer.response_metadata["finish_reason"] in ("stop", "length")
    chunks = list(chat.stream("What is the capital of France?"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    assert whole.content == plain
    assert whole.usage_metadata["output_tokens"] == answer.usage_metadata["output_tokens"]
    assert len(chunks) > 3
    talk = [SystemMessage("Be brief."), HumanMessage("Hi")]
    assert chat.invoke(talk, stop=["\n"], max_tokens=5).content
    chain = ChatPromptTemplate.from_messages([("user", "What is the capital of {land}?")]) | chat
    assert chain.invoke({"land": "France"}).content == plain


def test_langchain_calls_tools(chat: Any, forced: libqwen.Result) -> None:
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool

    @tool
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"sunny in {city}"

    bound = chat.bind_tools([weather], tool_choice="weather").bind(max_tokens=40)
    question = HumanMessage("What is the capital of France?")
    answer = bound.invoke([question])
    assert answer.tool_calls[0]["name"] == "weather"
    chunks = list(bound.stream([question]))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    assert whole.tool_calls == answer.tool_calls
    result = weather.invoke({"city": "Paris"})
    told = [question, answer, ToolMessage(result, tool_call_id=answer.tool_calls[0]["id"])]
    assert isinstance(chat.bind_tools([weather]).invoke(told).content, str)


# ---- smolagents, LlamaIndex, llm -----------------------------------------------------------------


def test_smolagents_generates(smollm2: libqwen.Model, plain: str) -> None:
    smolagents = pytest.importorskip("smolagents", reason="smolagents is not installed")
    from libqwen.integrations.smolagents import LibQwenModel

    model = LibQwenModel(smollm2, **GREEDY)
    messages = [smolagents.ChatMessage(role="user", content=ASKED[0]["content"])]
    answer = model.generate(messages)
    assert answer.content == plain and answer.token_usage.output_tokens > 0
    deltas = list(model.generate_stream(messages))
    assert "".join(delta.content or "" for delta in deltas) == plain
    assert plain.startswith(model.generate(messages, stop_sequences=[" is"]).content)

    @smolagents.tool
    def weather(city: str) -> str:
        """The weather in a city.

        Args:
            city: where.
        """
        return "sunny"

    forced = LibQwenModel(smollm2, do_sample=False, max_new_tokens=40)
    called = forced.generate(messages, tools_to_call_from=[weather], tool_choice=FORCED)
    assert called.tool_calls and called.tool_calls[0].function.name == "weather"


def test_smolagents_runs_an_agent(smollm2: libqwen.Model) -> None:
    smolagents = pytest.importorskip("smolagents", reason="smolagents is not installed")
    from libqwen.integrations.smolagents import LibQwenModel

    agent = smolagents.CodeAgent(
        tools=[],
        model=LibQwenModel(smollm2, do_sample=False, max_new_tokens=24),
        max_steps=1,
        verbosity_level=0,
    )
    result = agent.run("What is 2 + 2?", return_full_result=True)
    assert result.state in ("success", "max_steps_error")
    assert result.token_usage.output_tokens > 0


def test_llama_index_completes_and_chats(smollm2: libqwen.Model, plain: str) -> None:
    pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")
    from llama_index.core.llms import ChatMessage

    from libqwen.integrations.llama_index import LibQwenLLM

    llm = LibQwenLLM(smollm2, **GREEDY)
    assert llm.metadata.context_window == smollm2.info["context"]
    asked = [ChatMessage(role="user", content=ASKED[0]["content"])]
    assert llm.chat(asked).message.content == plain
    assert [one.message.content for one in llm.stream_chat(asked)][-1] == plain
    text = llm.complete("One, two,").text
    assert [one.text for one in llm.stream_complete("One, two,")][-1] == text
    assert len(llm.complete("One, two,", max_tokens=1).text) < len(text)


@pytest.fixture
def llm_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    pytest.importorskip("llm", reason="llm is not installed")
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    monkeypatch.delenv("LIBQWEN_MODEL", raising=False)
    yield tmp_path


def test_llm_knows_the_models_it_was_told(
    smollm2: libqwen.Model, llm_home: Path, plain: str
) -> None:
    import llm
    from click.testing import CliRunner
    from llm.cli import cli
    from llm.plugins import pm

    from libqwen.integrations import llm_plugin

    if not pm.is_registered(llm_plugin):
        pm.register(llm_plugin)
    llm_plugin.register_commands(cli)
    runner = CliRunner()
    assert runner.invoke(cli, ["libqwen", "add", "small", smollm2.path]).exit_code == 0
    assert f"small: {smollm2.path}" in runner.invoke(cli, ["libqwen", "list"]).output
    model = llm.get_model("small")
    options: Dict[str, Any] = {"temperature": 0, "max_tokens": 12}
    response = model.prompt(ASKED[0]["content"], **options)
    assert "".join(response) == plain
    assert (response.usage().output or 0) > 0
    talk = model.conversation()
    first = talk.prompt(ASKED[0]["content"], system="Be brief.", **options)
    first.text()
    second = talk.prompt("And of Spain?", **options).text()
    expected = smollm2.chat(
        [
            {"role": "system", "content": "Be brief."},
            *ASKED,
            {"role": "assistant", "content": first.text()},
            {"role": "user", "content": "And of Spain?"},
        ],
        **GREEDY,
    )
    assert second == expected.text
    assert runner.invoke(cli, ["libqwen", "remove", "small"]).exit_code == 0
    assert "small" not in runner.invoke(cli, ["libqwen", "list"]).output


def test_importing_needs_none_of_the_packages() -> None:
    code = (
        "import sys\n"
        "for name in ('langchain_core', 'smolagents', 'llama_index', 'llm', 'openai', 'numpy'):\n"
        "    sys.modules[name] = None\n"
        "import libqwen, libqwen.integrations.openai, libqwen.agent, libqwen.eval, libqwen.plot\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(libqwen.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "python"
NEEDS = {"langchain_chat.py": "langchain_core", "smolagents_agent.py": "smolagents"}
NEEDS.update({"llama_index_chat.py": "llama_index.core"})


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_examples_run(smollm2: libqwen.Model, name: str) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"{NEEDS[name]} is not installed")
    env = {**os.environ, "PYTHONPATH": str(Path(libqwen.__file__).parents[1])}
    arguments: List[str] = [sys.executable, str(EXAMPLES / name), smollm2.path]
    done = subprocess.run(arguments, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
