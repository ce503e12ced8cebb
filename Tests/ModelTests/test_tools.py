"""Tools through the library: a model that says a script, its events, its result, the next round's prompt."""

from __future__ import annotations

import json

import libqwen
import pytest
from conftest import FIXTURES, GREEDY
from libqwen import EventKind
from scripted import scripted_model

TEMPLATES = json.loads((FIXTURES / "chat_templates.json").read_text(encoding="utf-8"))["templates"]
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "", "parameters": {"type": "object"}},
}
TIME = {"name_for_model": "time", "name_for_human": "Time", "description_for_model": "The time."}
TOOLS = [WEATHER, TIME]
CALLS = [
    "<think>", "\nI sh", "ould look", ".\n", "</think>", "\n\nLet me", " look: 你", "好.\n",
    "<tool_call>", "\n{\"na", "me\": \"get_", "weather\", \"argu", "ments\": {\"ci", "ty\": \"Par", "is\"}}\n",
    "</tool_call>",
]  # fmt: skip
#: What a model with text markers says: two calls, the second in JSON5.
TEXT_CALLS = [
    "One <tool", " and two.\n<too", "l_call>\n{\"name\": \"time\", \"argu", "ments\": {}}\n</tool_", "call>\n<tool_call>{name: ",
    "'time', arguments: {'zo", "ne': 'CET', /* no */}}</to", "ol_call>",
]  # fmt: skip
REACT = [
    "Thought: I sho", "uld look.\nAct", "ion: get_wea", "ther\nAction In", "put: {\"city\": \"Pa", "ris\"}\nObser",
    "vation: it is hot",
]  # fmt: skip
FINAL = [" I now kn", "ow the answer.\nFinal An", "swer: It is 1", "8 degrees."]


@pytest.fixture(scope="module")
def thinker(tmp_path_factory):
    path = tmp_path_factory.mktemp("scripts") / "thinker"
    with libqwen.Model(scripted_model(path, {"\n": CALLS}, TEMPLATES["qwen3"])) as model:
        yield model


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("scripts") / "plain"
    folder = scripted_model(path, {"\n": TEXT_CALLS}, TEMPLATES["qwen2"], base="qwen2-tied")
    with libqwen.Model(folder) as model:
        yield model


@pytest.fixture(scope="module")
def actor(tmp_path_factory):
    path = tmp_path_factory.mktemp("scripts") / "actor"
    scripts = {"\n": REACT, ":": FINAL}
    with libqwen.Model(scripted_model(path, scripts, TEMPLATES["qwen2"], "qwen2-tied")) as model:
        yield model


def run(model, messages, **options):
    """The result, and the events by kind; by callback and by pull alike."""
    events, pulled = [], []
    options = {**GREEDY, "max_new_tokens": 60, **options}
    with model.session() as session:
        result = session.chat(messages, on_event=lambda e: events.append(e) or None, **options)
        with session.stream_chat(messages, **options) as stream:
            pulled = list(stream.events())
    keep = (EventKind.TEXT, EventKind.REASONING, EventKind.TOOL_CALL, EventKind.TOOL_ARGUMENTS)
    assert [e for e in events if e.kind in keep] == [e for e in pulled if e.kind in keep]
    assert "".join(e.text for e in events if e.kind is EventKind.TEXT) == result.text
    reasoning = "".join(e.text for e in events if e.kind is EventKind.REASONING)
    if result.tool_calls or result.text not in reasoning:
        assert reasoning == (result.reasoning or "")
    for number, call in enumerate(result.tool_calls):
        (begun,) = [e for e in events if e.kind is EventKind.TOOL_CALL and e.call == number]
        assert (begun.call_id, begun.name) == (call.id, call.name)
        pieces = [e for e in events if e.kind is EventKind.TOOL_ARGUMENTS and e.call == number]
        assert "".join(e.text for e in pieces) == call.arguments_text
    return result, events


def test_calls_reasoning_and_content_are_apart(thinker):
    result, events = run(thinker, "Weather?", tools=TOOLS)
    assert result.finish_reason == "tool_calls"
    assert result.reasoning == "I should look."
    assert result.text == "Let me look: 你好."
    (call,) = result.tool_calls
    assert call == ("call_0", "get_weather", {"city": "Paris"}, '{"city": "Paris"}', False, False, None)
    assert result.message == {
        "role": "assistant",
        "content": "Let me look: 你好.",
        "reasoning_content": "I should look.",
        "tool_calls": [
            {
                "id": "call_0",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
            }
        ],
    }
    assert result.raw_text == "".join(CALLS)
    assert result.history == []
    assert len([e for e in events if e.kind is EventKind.TOOL_ARGUMENTS]) > 1


def test_a_message_goes_back_as_it_was_written(thinker):
    messages = [{"role": "user", "content": "Weather?"}]
    before = thinker.render(messages, tools=TOOLS)[1]
    result, _ = run(thinker, messages, tools=TOOLS)
    messages += [result.message, {"role": "tool", "tool_call_id": "call_0", "content": "18"}]
    after = thinker.render(messages, tools=TOOLS)[1]
    assert after == (
        before + "".join(CALLS) + "<|im_end|>\n<|im_start|>user\n<tool_response>\n18\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    again, _ = run(thinker, messages, tools=TOOLS)
    assert again.tool_calls[0].id == "call_1"


def test_cut_calls_are_repaired_and_say_so(thinker):
    result, _ = run(thinker, "Weather?", tools=TOOLS, max_new_tokens=14)
    assert result.finish_reason == "length"
    (call,) = result.tool_calls
    assert (call.arguments, call.arguments_text) == ({"city": "Par"}, '{"city": "Par')
    assert call.cut and call.repaired
    assert json.loads(result.message["tool_calls"][0]["function"]["arguments"]) == {"city": "Par"}


def test_without_tools_markers_are_text_and_reasoning_is_not(thinker):
    result, events = run(thinker, "Weather?")
    assert result.raw.get("tool_calls") is None and result.finish_reason == "stop"
    assert result.reasoning == "I should look."
    assert result.text == "".join(CALLS[5:]).lstrip("\n")
    assert result.history == [("Weather?", result.text)]
    result, _ = run(thinker, "Weather?", tools=TOOLS, tool_choice="none")
    assert result.text == "".join(CALLS[5:]).lstrip("\n")


def test_text_markers_and_several_calls(plain):
    result, events = run(plain, "Time?", tools=TOOLS)
    assert result.text == "One <tool and two."
    first, second = result.tool_calls
    assert (first.id, first.arguments, first.repaired) == ("call_0", {}, False)
    assert second.arguments == {"zone": "CET"} and second.repaired
    assert second.arguments_text == "{'zone': 'CET', /* no */}"
    assert json.loads(result.message["tool_calls"][1]["function"]["arguments"]) == {"zone": "CET"}
    for event in events:
        if event.kind is EventKind.TEXT:
            assert not event.text.endswith("<too")
    one, _ = run(plain, "Time?", tools=TOOLS, parallel_tool_calls=False)
    assert len(one.tool_calls) == 1 and one.finish_reason == "tool_calls"


def test_react_leaves_no_residue_and_goes_on(actor):
    messages = [{"role": "user", "content": "Weather?"}]
    result, events = run(actor, messages, tools=TOOLS, tool_format="react")
    assert result.finish_reason == "tool_calls" and result.raw["stop_match"] == "\nObservation:"
    assert result.reasoning == "I should look." and result.text == ""
    assert result.message["content"] is None
    (call,) = result.tool_calls
    assert (call.name, call.arguments, call.arguments_text) == (
        "get_weather", {"city": "Paris"}, '{"city": "Paris"}',
    )  # fmt: skip
    assert "Obs" not in result.raw_text
    messages += [result.message, {"role": "tool", "tool_call_id": call.id, "content": "18"}]
    text = actor.render(messages, tools=TOOLS, tool_format="react")[1]
    assert text.endswith(
        "<|im_start|>assistant\nThought: I should look.\nAction: get_weather\n"
        'Action Input: {"city": "Paris"}\nObservation: 18\nThought:'
    )
    final, events = run(actor, messages, tools=TOOLS, tool_format="react")
    assert (final.text, final.reasoning) == ("It is 18 degrees.", "I now know the answer.")
    assert final.finish_reason == "stop" and final.tool_calls == []
    said = text[text.index("Thought: I should") :] + "".join(FINAL)
    assert final.history == [("Weather?", said)]
    again = actor.render("Thanks", history=final.history, tools=TOOLS, tool_format="react")[1]
    messages += [final.message, {"role": "user", "content": "Thanks"}]
    text = actor.render(messages, tools=TOOLS, tool_format="react")[1]
    assert (
        "Observation: 18\nThought: I now know the answer.\nFinal Answer: It is 18 degrees.<|im_end|>\n"
        "<|im_start|>user\nThanks<|im_end|>\n<|im_start|>assistant\n"
    ) in text
    assert again == text
    assert text.count("You have access to the following tools:") == 1


def test_a_named_tool_is_begun_by_the_prompt(thinker):
    choice = {"type": "function", "function": {"name": "time"}}
    text = thinker.render("x", tools=TOOLS, tool_choice=choice)[1]
    assert text.endswith('</think>\n\n<tool_call>\n{"name": "time", "arguments":')
    text = thinker.render("x", tools=TOOLS, tool_choice="required")[1]
    assert text.endswith('</think>\n\n<tool_call>\n{"name": "')
    result, _ = run(thinker, "x", tools=TOOLS, tool_choice=choice, max_new_tokens=1)
    assert result.tool_calls[0].name == "time"


def test_logprobs_count_every_token(thinker):
    result, events = run(thinker, "Weather?", tools=TOOLS, logprobs=1)
    assert len(result.logprobs) == len(result.ids) == len(CALLS)
    assert {e.id for e in events if e.id >= 0} == set(result.ids)


@pytest.mark.parametrize(
    "request_, word",
    [
        ({"tools": "x"}, "tools"),
        ({"tools": [1]}, "tool 0"),
        ({"tools": [{"type": "function", "function": {}}]}, "name"),
        ({"tools": [WEATHER, WEATHER]}, "get_weather"),
        ({"tools": [{"name": "a\nb"}]}, "control characters"),
        ({"tools": TOOLS, "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"function": {"name": "no"}}}, "no"),
        ({"tool_choice": "required"}, "no tools"),
        ({"tools": TOOLS, "tool_format": "xml"}, "tool_format"),
        ({"tools": [{**TIME, "args_format": "yaml"}]}, "args_format"),
        ({"continue_final_message": True}, "continue_final_message"),
        ({"enable_thinking": 3}, "enable_thinking"),
        ({"max_window_size": 0}, "max_window_size"),
    ],
)
def test_wrong_requests_are_named(thinker, request_, word):
    with pytest.raises(libqwen.QwenOptionError, match=word):
        thinker.render("hello", **request_)


@pytest.mark.parametrize(
    "message, word",
    [
        ({"role": "tool", "content": "x"}, "no assistant message"),
        ({"role": "user", "content": "x", "tool_calls": [{"function": {"name": "a"}}]}, "only an assistant"),
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "name"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": 5}}]}, "arguments"),
        ({"role": "assistant", "content": None}, "no text"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "no text"),
        ({"role": "user", "content": "x", "colour": 1}, "colour"),
    ],
)
def test_wrong_messages_are_named(thinker, message, word):
    with pytest.raises(libqwen.QwenOptionError, match=word):
        thinker.render([{"role": "user", "content": "q"}, message])


def test_parts_and_functions_of_older_clients(thinker):
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
    assert thinker.render(parts) == thinker.render("ab")
    old = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "function_call": {"name": "time", "arguments": "{}"}},
        {"role": "function", "name": "time", "content": "noon"},
    ]
    new = [
        old[0],
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "time", "arguments": {}}}]},
        {"role": "tool", "tool_call_id": "1", "content": "noon"},
    ]
    assert thinker.render(old, tools=TOOLS) == thinker.render(new, tools=TOOLS)


def test_a_final_message_goes_on(thinker):
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "It is\n"}]
    text = thinker.render(messages, continue_final_message=True)[1]
    assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\nIt is\n")
    result, _ = run(thinker, messages, continue_final_message=True, max_new_tokens=3)
    assert result.message["content"] == "It is\n" + result.text
