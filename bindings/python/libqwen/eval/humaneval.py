"""HumanEval: a function is written from its signature and comment; it passes its tests or not.

The code runs in the sandbox of `libqwen.agent` and nowhere else; without one the evaluation is refused.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any, Mapping, Optional

from ..agent.sandbox import Limits, Sandbox
from .data import DataError, DataFolder
from .runner import Runner
from .scores import Part, Score

__all__ = ["body_of", "humaneval", "humaneval_chat", "passes", "question"]

_FILES = ("HumanEval.jsonl", "HumanEval.jsonl.gz", "humaneval/HumanEval.jsonl.gz")
_FIELDS = ("task_id", "prompt", "test", "entry_point")
_CUTS = ("<|endoftext|>", "\n\n", "def ")
#: The time that the authors' own checker gives a solution.
_LIMITS = Limits(seconds=3.0)


def humaneval(runner: Runner, folder: DataFolder) -> Score:
    """HumanEval of base models: the prompt is continued."""
    return _tested(Score("humaneval", "HumanEval (0-shot)"), runner, folder, chat=False)


def humaneval_chat(runner: Runner, folder: DataFolder) -> Score:
    """HumanEval of chat models: the function is asked for and read out of the answer."""
    return _tested(Score("humaneval-chat", "HumanEval (0-shot)"), runner, folder, chat=True)


def _tested(score: Score, runner: Runner, folder: DataFolder, *, chat: bool) -> Score:
    sandbox = Sandbox(_LIMITS)
    reason = sandbox.why_not()
    if reason is not None:
        raise DataError(f"{score.task}: {reason}")
    part = score.parts["test"] = Part()
    for task in runner.items(score.task, folder.json_lines(*_FILES, fields=_FIELDS)):
        if chat:
            text = runner.chat(question(task))
            completion = body_of(text, task["entry_point"])
        else:
            text = completion = runner.complete(task["prompt"], stop=_CUTS)
        good = passes(sandbox, task, completion)
        part.add(good)
        record = {"task_id": task["task_id"], "completion": completion, "passed": good}
        score.records.append({**record, "text": text} if chat else record)
    score.metrics["pass@1"] = part.percent
    return score


def passes(sandbox: Sandbox, task: Mapping[str, Any], completion: str) -> bool:
    """Whether a completion passes the tests of a task."""
    program = f"{task['prompt']}{completion}\n{task['test']}\ncheck({task['entry_point']})\n"
    return sandbox.run(program).ok


def question(task: Mapping[str, Any]) -> str:
    """What a chat model is asked.

    Raises:
        DataError: the prompt has no function of that name or no comment in it.
    """
    prompt = task["prompt"]
    name = re.escape(task["entry_point"])
    signature = re.search(rf"def\s+({name}.*?):\s*\n", prompt)
    comment = re.search(r'(?:"""|\'\'\')(.*?)(?:"""|\'\'\')', prompt, re.DOTALL)
    if signature is None or comment is None:
        raise DataError(f"{task['task_id']}: has no function {task['entry_point']} with a comment")
    lines = "\n".join(line.strip() for line in comment.group(1).split("\n"))
    wanted = f"Write a Python function `{signature.group(1)}` to solve the following problem:"
    return f"{wanted}\n{lines}\n{prompt}"


def body_of(text: str, entry_point: str) -> str:
    """The body of the function in an answer: in the first fence that has it, else in plain text.

    An answer without any function is taken for a body and indented.
    """
    head = rf"def\s+{re.escape(entry_point)}.*?:\n"
    indented = r"(.*?)(?:\n(?!\n*(?:  |\t))|$)"
    found: Optional["re.Match[str]"] = None
    for pattern in (rf"```.*?{head}(.*?)\n```", head + indented, r"def.*?:\n" + indented):
        found = re.search(pattern, text, re.DOTALL)
        if found:
            return found.group(1)
    return textwrap.indent(text, " " * 4)
