"""GSM8K: grade-school problems; the last number of a continuation or an answer counts."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Union

from .data import DataError, DataFolder
from .runner import Runner
from .scores import Part, Score

__all__ = ["chat_number", "gold", "gsm8k", "gsm8k_chat", "last_integer", "same_number"]

_CUTS = ("<|endoftext|>", "\n\n", "Question:")
_GOLD = re.compile(r"#### (-?[0-9.,]+)")
#: A sign, digits with or without commas between thousands, and a fraction.
_NUMBER = re.compile(r"[+-]?(?=\d|\.\d)(?:[1-9]\d{0,2}(?:,\d{3})+(?!\d)|\d+)?(?:\.\d*)?")


def gsm8k(runner: Runner, folder: DataFolder) -> Score:
    """GSM8K of base models: eight worked examples, which are in ``gsm8k_prompt.txt``."""
    score = Score("gsm8k", "GSM8K (8-shot)")
    examples = folder.text("gsm8k_prompt.txt")
    part = score.parts["test"] = Part()
    for item in runner.items(score.task, problems(folder)):
        prompt = f"{examples}\nQuestion: {item['question']}\nLet's think step by step\n"
        text = runner.complete(prompt, stop=_CUTS)
        part.add(last_integer(text) == gold(item["answer"]))
        score.records.append({"question": item["question"], "text": text, "right": part.right})
    score.metrics["accuracy"] = part.percent
    return score


def gsm8k_chat(runner: Runner, folder: DataFolder) -> Score:
    """GSM8K of chat models: the question alone."""
    score = Score("gsm8k-chat", "GSM8K (0-shot)")
    return _chatted(score, runner, folder, "")


def gsm8k_chat_4shot(runner: Runner, folder: DataFolder) -> Score:
    """GSM8K of chat models after four worked examples, which are in ``gsm8k_chat_prompt.txt``."""
    score = Score("gsm8k-chat-4shot", "GSM8K (4-shot)")
    return _chatted(
        score, runner, folder, folder.text("gsm8k_chat_prompt.txt").rstrip("\n") + "\n\n"
    )


def _chatted(score: Score, runner: Runner, folder: DataFolder, examples: str) -> Score:
    part = score.parts["test"] = Part()
    for item in runner.items(score.task, problems(folder)):
        question = item["question"]
        if examples:
            question = f"{examples}Question: {question}\nLet's think step by step"
        text = runner.chat(question)
        part.add(same_number(chat_number(item["answer"]), chat_number(text)))
        score.records.append({"question": item["question"], "text": text, "right": part.right})
    score.metrics["accuracy"] = part.percent
    return score


def problems(folder: DataFolder) -> List[Dict[str, Any]]:
    """The test problems: ``test.jsonl`` as its authors publish it, or Hugging Face's parquet file.

    Raises:
        DataError: neither is there, or the latter is and pyarrow is not installed.
    """
    names = ("test.jsonl", "gsm8k_test.jsonl")
    if folder.find(*names) is not None:
        return folder.json_lines(*names, fields=("question", "answer"))
    parquet = folder.find("test-00000-of-00001.parquet")
    if parquet is None:
        raise DataError(
            f"{folder.path}: has no test.jsonl or main/test-00000-of-00001.parquet of GSM8K"
        )
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            f"{folder.path}: reading the parquet file of GSM8K needs pyarrow: pip install pyarrow"
        ) from error
    rows: List[Dict[str, Any]] = pyarrow.parquet.read_table(
        pyarrow.BufferReader(parquet)
    ).to_pylist()
    return rows


def last_integer(text: str) -> Optional[int]:
    """The last run of digits. One with a zero in front is no number, as in the release's script."""
    runs = re.findall(r"\d+", text)
    return _integer(runs[-1]) if runs else None


def gold(answer: str) -> Union[int, float, None]:
    """The number behind ``####`` of a published answer."""
    found = _GOLD.search(answer)
    return _value(found.group(1).replace(",", "")) if found else None


def chat_number(text: str) -> Optional[str]:
    """The last number of an answer, without commas between thousands and without a plus."""
    found = [match.group() for match in _NUMBER.finditer(text)]
    return found[-1].replace(",", "").replace("+", "") if found else None


def same_number(one: Optional[str], other: Optional[str]) -> bool:
    """Whether two numbers differ by at most 0.0001."""
    values = [None if text is None else _value(text) for text in (one, other)]
    if values[0] is None or values[1] is None:
        return False
    return abs(values[0] - values[1]) <= 1e-4


def _integer(digits: str) -> Optional[int]:
    if len(digits) > 1 and digits[0] == "0" and digits.strip("0"):
        return None
    return int(digits[-4000:])


def _value(text: str) -> Union[int, float, None]:
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("-")
    if digits.isdigit():
        value = _integer(digits)
        return None if value is None else sign * value
    try:
        return sign * float(digits)
    except ValueError:
        return None
