"""Writes Tests/Fixtures/chat_templates.json: conversations rendered by transformers from the published templates.

    python Tests/Tools/chat_templates.py > Tests/Fixtures/chat_templates.json

The templates are facts of the wire format: what the models were trained on. They are put together here from the
parts that the families share. `cases` say which template, conversation, tools and options make which text.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Dict, List

import tokenizers
import transformers

CHATML_LOOP = (
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def chatml(system: str) -> str:
    """Qwen1.5, Qwen2, SmolLM2: a default system text, no tools."""
    return (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\\n" + system + "<|im_end|>\\n' }}{% endif %}" + CHATML_LOOP
    )


TOOLS_HEAD = (
    '# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou are provided with '
    'function signatures within <tools></tools> XML tags:\\n<tools>" }}\n'
    "    {%- for tool in tools %}\n        {{- \"\\n\" }}\n        {{- tool | tojson }}\n    {%- endfor %}\n"
    '    {{- "\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments '
    'within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": '
    '<args-json-object>}\\n</tool_call><|im_end|>\\n" }}\n'
)

TOOL_RESULTS = r"""    {%- elif message.role == "tool" %}
        {%- if FIRST or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' }}
        {{- CONTENT }}
        {{- '\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
"""


def qwen25_like(system: str, assistant: str, opening: str) -> str:
    """Qwen2.5 and QwQ: tools behind a given or default system text."""
    default = "{{- '%s' }}" % system
    otherwise = (
        "    {%- else %}\n        {{- '<|im_start|>system\\n" + system + "<|im_end|>\\n' }}\n"
        if system
        else ""
    )
    return (
        "{%- if tools %}\n    {{- '<|im_start|>system\\n' }}\n    {%- if messages[0]['role'] == 'system' %}\n"
        "        {{- messages[0]['content'] }}\n    {%- else %}\n        " + default + "\n    {%- endif %}\n"
        '    {{- "\\n\\n' + TOOLS_HEAD + "{%- else %}\n    {%- if messages[0]['role'] == 'system' %}\n"
        "        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}\n"
        + otherwise
        + "    {%- endif %}\n{%- endif %}\n"
        + assistant
        + TOOL_RESULTS.replace("FIRST", "(loop.index0 == 0)").replace("CONTENT", "message.content")
        + "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n" + opening + "' }}\n{%- endif %}\n"
    )


QWEN25_CALLS = r"""        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\n<tool_call>\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
"""
QWEN25_LOOP = (
    r"""{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\n' + message.content }}
        {%- endif %}
"""
    + QWEN25_CALLS
)
QWQ_LOOP = (
    r"""{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" and not message.tool_calls %}
        {%- set content = message.content.split('</think>')[-1].lstrip('\n') %}
        {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content.split('</think>')[-1].lstrip('\n') %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\n' + content }}
        {%- endif %}
"""
    + QWEN25_CALLS
)

QWEN3_LOOP = r"""{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\n<think>\n' + reasoning_content.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\n' }}
"""


def qwen3(opening: str) -> str:
    """Qwen3 in its three forms, which differ in how the answer is opened."""
    return (
        "{%- if tools %}\n    {{- '<|im_start|>system\\n' }}\n    {%- if messages[0].role == 'system' %}\n"
        "        {{- messages[0].content + '\\n\\n' }}\n    {%- endif %}\n    {{- \"" + TOOLS_HEAD
        + "{%- else %}\n    {%- if messages[0].role == 'system' %}\n"
        "        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}\n    {%- endif %}\n"
        "{%- endif %}\n"
        + QWEN3_LOOP
        + TOOL_RESULTS.replace("FIRST", "loop.first").replace("CONTENT", "content")
        + "{%- if add_generation_prompt %}\n"
        + opening
        + "{%- endif %}\n"
    )


PLAIN_OPENING = "    {{- '<|im_start|>assistant\\n' }}\n"
TEMPLATES: Dict[str, str] = {
    # The first of all has no default system text.
    "qwen1.5-first": "{% for message in messages %}" + CHATML_LOOP,
    "qwen1.5": chatml("You are a helpful assistant"),
    "qwen2": chatml("You are a helpful assistant."),
    "smollm2": chatml("You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    "qwen2.5": qwen25_like(
        "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.", QWEN25_LOOP, ""
    ),
    "qwen2.5-math": qwen25_like(
        "Please reason step by step, and put your final answer within \\\\boxed{}.", QWEN25_LOOP, ""
    ),
    "qwq": qwen25_like("", QWQ_LOOP, "<think>\\n"),
    "qwen3": qwen3(
        PLAIN_OPENING
        + "    {%- if enable_thinking is defined and enable_thinking is false %}\n"
        "        {{- '<think>\\n\\n</think>\\n\\n' }}\n    {%- endif %}\n"
    ),
    "qwen3-thinking": qwen3("    {{- '<|im_start|>assistant\\n<think>\\n' }}\n"),
    "qwen3-instruct": qwen3(PLAIN_OPENING),
}

WEATHER: Dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "天气: the \"current\" weather of a city <b>",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "A city, e.g. 北京"},
                "days": {"type": "integer", "minimum": 1, "default": 1.5, "maximum": 1e16},
            },
            "required": ["city"],
        },
    },
}
TIME: Dict[str, Any] = {
    "type": "function",
    "function": {"name": "time", "parameters": {"type": "object", "properties": {}}},
}
TOOLS: Dict[str, List[Dict[str, Any]]] = {"two": [WEATHER, TIME]}


def call(name: str, arguments: Any, number: int) -> Dict[str, Any]:
    """A call in OpenAI's form."""
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{number}", "type": "function", "function": function}


def user(text: str) -> Dict[str, Any]:
    """What a user says."""
    return {"role": "user", "content": text}


def said(text: str, **more: Any) -> Dict[str, Any]:
    """What an assistant said."""
    return {"role": "assistant", "content": text, **more}


def tool(text: str, number: int) -> Dict[str, Any]:
    """What a tool answered."""
    return {"role": "tool", "tool_call_id": f"call_{number}", "content": text}


SYSTEM = {"role": "system", "content": "Be brief.\n用中文。"}
CONVERSATIONS: Dict[str, List[Dict[str, Any]]] = {
    "plain": [user("你好, river")],
    "system": [SYSTEM, user("  spaces and\n\nlines\n")],
    "empty system": [{"role": "system", "content": ""}, user("x")],
    "turns": [user("one"), said("1"), user("two"), said("\n2\n"), user("three")],
    "thoughts": [
        user("one"),
        said("<think>\nhm\n</think>\n\n1"),
        user("two"),
        said("2", reasoning_content="\nso\n"),
        user("three"),
    ],
    "calls": [
        SYSTEM,
        user("Weather?"),
        said("", tool_calls=[call("get_weather", {"city": "北京", "days": 2}, 0)]),
        tool('{"temp": 20}', 0),
    ],
    "rounds": [
        user("Weather and time?"),
        said(
            "Let me look.",
            reasoning_content="Two calls.",
            tool_calls=[call("get_weather", {"city": "Paris"}, 0), call("time", {}, 1)],
        ),
        tool("18", 0),
        tool("noon", 1),
        said("Once more.", tool_calls=[call("time", {"zone": [1, 2.5, None, True]}, 2)]),
        tool("one", 2),
    ],
    "after": [
        user("Weather?"),
        said("", reasoning_content="Look.", tool_calls=[call("get_weather", {"city": "Rome"}, 0)]),
        tool("hot", 0),
        said("It is hot.", reasoning_content="Clear."),
        user("Thanks"),
    ],
}
TOOL_TALKS = ("calls", "rounds", "after")


def main() -> None:
    """Renders every case."""
    empty = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=empty)
    cases = []
    for name, template in TEMPLATES.items():
        knows_tools = "<tool_call>" in template
        for talk, messages in CONVERSATIONS.items():
            if talk in TOOL_TALKS and not knows_tools:
                continue
            for tools in [None, "two"] if knows_tools else [None]:
                for thinking in [None, False] if "enable_thinking" in template else [None]:
                    options = {} if thinking is None else {"enable_thinking": thinking}
                    text = tokenizer.apply_chat_template(
                        messages,
                        tools=TOOLS[tools] if tools else None,
                        chat_template=template,
                        tokenize=False,
                        add_generation_prompt=True,
                        **options,
                    )
                    cases.append(
                        {
                            "template": name,
                            "conversation": talk,
                            "tools": tools,
                            "options": options,
                            "text": text,
                        }
                    )
    document = {
        "versions": {"transformers": transformers.__version__},
        "templates": TEMPLATES,
        "tools": TOOLS,
        "conversations": CONVERSATIONS,
        "cases": cases,
    }
    json.dump(document, sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
