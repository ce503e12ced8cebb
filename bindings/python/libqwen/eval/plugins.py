"""The release's plugin benchmark: the right tool, the right arguments, no tool without need.

Reads ``exam_plugin_*_react_positive.jsonl`` and ``..._negative.jsonl``: ``prompt`` is a whole
ReAct text,
``response`` the reference.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Sequence

from ..agent.json5 import JSON5Error, loads
from ..model import Model
from .data import DataError, DataFolder
from .runner import Runner
from .scores import Score

__all__ = ["Call", "first_call", "plugins", "rouge_l", "token_words"]

_VERSIONS = ("v20231206", "v1")
_MARK = "\nAction: "


class Call:
    """The first action of a ReAct text: its name, and its arguments as JSON with sorted keys.

    Arguments that are no JSON5, or a text without an action, give an empty string.
    """

    def __init__(self, name: str, arguments: str) -> None:
        self.name = name
        self.arguments = arguments


def first_call(text: str) -> Call:
    """The first action of a text, by the first occurrence of each field's name."""
    name = _between(text, "Action:", "Action Input:").strip()
    try:
        value = loads(_between(text, "Action Input:", "Observation:").strip())
        arguments = json.dumps(value, ensure_ascii=False, sort_keys=True)
    except (JSON5Error, TypeError):
        arguments = ""
    return Call(name, arguments)


def _between(text: str, opening: str, closing: str) -> str:
    start = text.find(opening)
    if start < 0:
        return ""
    start += len(opening)
    end = text.find(closing)
    return text[start:] if end < 0 else text[start:end]


def token_words(model: Model, text: str) -> List[str]:
    """The tokens of a text as texts, joined by spaces and split again at white space."""
    pieces = [model.detokenize([token]) for token in model.tokenize(text)]
    return " ".join(pieces).split()


def rouge_l(reference: Sequence[str], made: Sequence[str]) -> float:
    """Rouge-L F1 of two lists of words: by their longest common subsequence."""
    if not reference or not made:
        return 0.0
    row = [0] * (len(made) + 1)
    for word in reference:
        above = 0
        for index, other in enumerate(made, 1):
            above, row[index] = (
                row[index],
                above + 1 if word == other else max(row[index], row[index - 1]),
            )
    common = row[-1]
    if not common:
        return 0.0
    precision, recall = common / len(made), common / len(reference)
    return 2 * precision * recall / (precision + recall)


def plugins(runner: Runner, folder: DataFolder) -> Score:
    """Tool Selection (percent), Tool Input (Rouge-L from 0 to 1), False Positive (percent).

    Raises:
        DataError: neither file is there.
    """
    score = Score("plugins", "Tool usage (ReAct)")
    positive = _answers(score, runner, folder, "positive")
    negative = _answers(score, runner, folder, "negative")
    if not positive and not negative:
        raise DataError(
            f"{folder.path}: has no exam_plugin_v20231206_react_positive.jsonl or _negative"
        )
    if positive:
        chosen, likeness = 0, 0.0
        for job in positive:
            reference, made = first_call(job["response"]), first_call(job["text"])
            same = reference.name.lower() == made.name.lower()
            chosen += int(_MARK in job["text"] and same)
            words = token_words(runner.model, reference.arguments)
            likeness += rouge_l(words, token_words(runner.model, made.arguments))
        score.metrics["tool_selection"] = 100.0 * chosen / len(positive)
        score.metrics["tool_input_rouge_l"] = likeness / len(positive)
    if negative:
        wrong = sum(_MARK in job["text"] for job in negative)
        score.metrics["false_positive"] = 100.0 * wrong / len(negative)
    return score


def _answers(score: Score, runner: Runner, folder: DataFolder, kind: str) -> List[Dict[str, Any]]:
    """The items of a file with the model's answers; empty when the file is not there."""
    names = [f"exam_plugin_{version}_react_{kind}.jsonl" for version in _VERSIONS]
    if folder.find(*names) is None:
        score.missing.append(names[0])
        return []
    found = []
    for job in runner.items(
        f"plugins {kind}", folder.json_lines(*names, fields=("prompt", "response"))
    ):
        record = {"kind": kind, **job, "text": runner.chat(job["prompt"])}
        score.records.append(record)
        found.append(record)
    return found
