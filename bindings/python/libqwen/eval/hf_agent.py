"""The scores of the release's Hugging Face Agent table: tools selected, tools used, code right.

The prompt and the problems belong to transformers and are not in this package: put them into a
folder as
``run_prompt_template.txt`` (with ``<<all_tools>>`` and ``<<prompt>>``) and ``hf_agent_problems.json``:

    {"tools": {"translator": {"description": "...", "parameters": ["text", "language"]}},
     "problems": [{"task": ["Translate `text` to French."], "inputs": {"text": "hello"},
                   "tools": ["translator"], "answer": "translator(text, 'French')"}]}

Tools are stand-ins which return what they were asked; the code that uses them runs in the sandbox.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ..agent.sandbox import Limits, Sandbox
from .data import DataError, DataFolder
from .runner import Runner
from .scores import Score

__all__ = ["clean", "hf_agent", "tool_score"]

_STOP = "Task:"
#: Words that the first release kept for itself, and what stood for them in prompts.
_RESERVED = {"Human:": "_HUMAN_:", "Assistant:": "_ASSISTANT_:"}

_PROGRAM = """
import ast, json

def _tool(name, parameters):
    def call(*values, **named):
        given = {**dict(zip(parameters, values)), **named}
        return f"{name}({json.dumps(given, sort_keys=True, default=str)})"
    return call

def _run(code):
    names = {name: _tool(name, one["parameters"]) for name, one in TOOLS.items()}
    names.update(INPUTS)
    names["print"] = lambda *values: None
    tree = ast.parse(code)
    result = None
    for line in tree.body:
        if isinstance(line, ast.Expr):
            result = eval(compile(ast.Expression(line.value), "<code>", "eval"), names)
        else:
            exec(compile(ast.Module([line], []), "<code>", "exec"), names)
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                result = names[line.targets[0].id]
    return result, names

wanted, _ = _run(ANSWER)
try:
    result, names = _run(CODE)
except Exception:
    score = 0.3
else:
    held = [value for value in names.values() if isinstance(value, (str, int, float, bool, list))]
    score = 1.0 if result == wanted else 0.75 if wanted in held else 0.3
print(score)
"""


def hf_agent(runner: Runner, folder: DataFolder) -> Score:
    """Runs each phrasing of each problem; all three scores from 0 to 100.

    Raises:
        DataError: a file is missing or not as described, or there is no sandbox.
    """
    score = Score("hf-agent", "HuggingFace Agent")
    sandbox = Sandbox(Limits(seconds=5.0))
    reason = sandbox.why_not()
    if reason is not None:
        raise DataError(f"{score.task}: {reason}")
    template = folder.text("run_prompt_template.txt")
    tools, tasks = _problems(folder)
    lines = "\n".join(f"- {name}: {tool['description']}" for name, tool in tools.items())
    template = template.replace("<<all_tools>>", lines)
    totals, count = [0.0, 0.0, 0.0], 0
    for problem, phrase in runner.items(score.task, tasks):
        text = _generate(runner, template.replace("<<prompt>>", phrase))
        explanation, code = clean(text)
        named = re.findall(r"`([^`]*?)`", explanation)
        used = [name for name in tools if re.search(rf"\b{re.escape(name)}\b", code)]
        scores = [
            tool_score([name for name in named if name in tools], problem["tools"]),
            tool_score(used, problem["tools"]),
            _code_score(sandbox, tools, problem, code),
        ]
        totals = [total + one for total, one in zip(totals, scores)]
        count += 1
        score.records.append({"task": phrase, "text": text, "code": code, "scores": scores})
    for name, total in zip(("tool_selection", "tool_used", "code"), totals):
        score.metrics[name] = 100.0 * total / max(count, 1)
    return score


def _problems(folder: DataFolder) -> Tuple[Dict[str, Any], List[Tuple[Dict[str, Any], str]]]:
    name = "hf_agent_problems.json"
    try:
        value = json.loads(folder.text(name))
        tools: Dict[str, Any] = value["tools"]
        pairs = []
        for problem in value["problems"]:
            phrases = problem["task"]
            for phrase in [phrases] if isinstance(phrases, str) else phrases:
                pairs.append((problem, phrase))
        for problem, _ in pairs:
            _ = problem["tools"], problem["answer"], problem["inputs"]
        for tool in tools.values():
            _ = tool["description"], tool["parameters"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{name}: is not as described in libqwen.eval.hf_agent: {error!r}"
        ) from error
    return tools, pairs


def _generate(runner: Runner, prompt: str) -> str:
    """One answer, with the words kept by the first release replaced on the way in and out."""
    for word, other in _RESERVED.items():
        prompt = prompt.replace(word, other)
    text = runner.chat(prompt)
    if text.endswith(_STOP):
        text = text[: -len(_STOP)]
    for word, other in _RESERVED.items():
        text = text.replace(other, word)
    return text


def clean(text: str) -> Tuple[str, str]:
    """The explanation and the code of an answer; no code when there is no ``Answer:``."""
    explanation, _, code = f"I will use the following {text}".partition("Answer:")
    code = code.strip()
    fence = re.match(r"```(?:python|py)?\s*\n?(.*?)(?:```|$)", code, re.DOTALL)
    return explanation.strip(), (fence.group(1) if fence else code).strip()


def tool_score(found: Sequence[str], wanted: Sequence[str]) -> float:
    """1, less a quarter for each tool that is missing and each that is too many; not below 0."""
    return max(1.0 - 0.25 * len(set(found) ^ set(wanted)), 0.0)


def _code_score(
    sandbox: Sandbox, tools: Mapping[str, Any], problem: Mapping[str, Any], code: str
) -> float:
    values = {
        "TOOLS": tools,
        "INPUTS": problem["inputs"],
        "ANSWER": problem["answer"],
        "CODE": code,
    }
    head = "import json\n" + "".join(
        f"{name} = json.loads({json.dumps(json.dumps(value))})\n" for name, value in values.items()
    )
    outcome = sandbox.run(head + _PROGRAM)
    try:
        return float(outcome.stdout.strip()) if outcome.ok else 0.3
    except ValueError:
        return 0.3
