"""MMLU and C-Eval as chat models answer them: the letter is read out of the answer."""

from __future__ import annotations

import re
from typing import Dict, Sequence

from .choices import CEVAL_FILES, LETTERS, MMLU_FILES, Item, present, summarise
from .data import DataFolder
from .fuzzy import nearest
from .runner import Runner
from .scores import Part, Score
from .subjects import CEVAL_HARD

__all__ = [
    "ceval_chat",
    "ceval_choice",
    "ceval_question",
    "mmlu_chat",
    "mmlu_choice",
    "mmlu_question",
]

_ASKED = (
    "The following is a multiple-choice question. Please choose the most suitable one among "
    "A, B, C and D as the answer to this question.\n\n"
)


# ---- Prompts -------------------------------------------------------------------------------------


def mmlu_question(item: Item) -> str:
    """What a chat model is asked in MMLU."""
    return f"{_ASKED}{item.question}\n{_options(item)}"


def ceval_question(item: Item) -> str:
    """What a chat model is asked in C-Eval."""
    return f"{item.question}\n\n{_options(item)}"


def _options(item: Item) -> str:
    return "".join(f"{letter}. {text}\n" for letter, text in zip(LETTERS, item.options))


# ---- Reading answers -----------------------------------------------------------------------------


def _gap(most: int) -> str:
    """A few characters that name no letter."""
    return f"[^ABCD]{{0,{most}}}?"


_LETTER = "([ABCD])"
_STANDS_ALONE = re.compile(f"(?<![a-zA-Z]){_LETTER}(?![a-zA-Z=])")

_NOT = "(?:n't|not)"
_IS_RIGHT = "(?:correct|right)"
_MMLU_RULES = (
    # "choose B", "the answer is B", but not "the answer isn't B"
    re.compile(
        rf"(?:[Cc]hoose|(?:[Aa]nswer|[Cc]hoice)(?!{_gap(20)}{_NOT}){_gap(10)}\b(?:|is|:|be)\b)"
        rf"{_gap(20)}\b{_LETTER}\b"
    ),
    # "B is correct", but not "B is not correct"
    re.compile(rf"\b{_LETTER}\b(?!{_gap(8)}{_NOT}{_gap(5)}{_IS_RIGHT}){_gap(10)}\b{_IS_RIGHT}\b"),
    # "B.", "B, because"
    re.compile(rf"^{_LETTER}(?:\.|,|:|$)"),
    _STANDS_ALONE,
)

_NO = "(?:不|非)"
_BE = "(?:是|为|：|:|】)"
_FITS = "(?:正确|对|符合)"
_CEVAL_RULES = (
    # 选B, 答案是B, but not 答案不是B
    re.compile(
        rf"(?:选择|选定|选|(?:答案|选项)(?!{_gap(10)}{_NO}{_gap(10)}{_BE}){_gap(10)}{_BE})"
        rf"{_gap(10)}{_LETTER}(?:选项)?(?:[)。.，,．、ABCD]|$)"
    ),
    # B选项正确, but not B不正确
    re.compile(rf"{_LETTER}(?:选?项)?(?!{_gap(4)}{_NO}{_gap(4)}{_FITS}){_gap(4)}{_FITS}"),
    re.compile(rf"^{_LETTER}(?:[。.，,．]|$)"),
    _STANDS_ALONE,
)


def mmlu_choice(answer: str, item: Item) -> str:
    """The letter that an answer in English means."""
    text = answer
    for letter, option in _longest_first(item):
        words = option.rstrip(".")
        if words:
            text = re.sub(re.escape(words), letter, text, flags=re.IGNORECASE)
    return _chosen(text, _MMLU_RULES, item)


def ceval_choice(answer: str, item: Item) -> str:
    """The letter that an answer in Chinese means."""
    text = answer
    stem = item.question.rstrip("。").split("。")[-1].split("_")
    if len(stem[0].strip()) > 4:
        text = text.replace(stem[0], "答案是")
    if len(stem[-1].strip()) > 4:
        text = text.replace(stem[-1], "")
    for letter, option in _longest_first(item):
        words = option.rstrip("。")
        if words:
            text = text.replace(words, letter)
    return _chosen(text, _CEVAL_RULES, item)


def _longest_first(item: Item) -> "list[tuple[str, str]]":
    return sorted(zip(LETTERS, item.options), key=lambda pair: len(pair[1]), reverse=True)


def _chosen(text: str, rules: "Sequence[re.Pattern[str]]", item: Item) -> str:
    for rule in rules:
        found = rule.search(text)
        if found:
            return found.group(1)
    return LETTERS[nearest(text, item.options)]


# ---- Runs ----------------------------------------------------------------------------------------


def mmlu_chat(runner: Runner, folder: DataFolder) -> Score:
    """MMLU of chat models without examples: micro average over all questions."""
    score = Score("mmlu-chat", "MMLU (0-shot)")
    for subject, items in present(score, folder, MMLU_FILES):
        part = score.parts[subject] = Part()
        for item in runner.items(f"{score.task} {subject}", items):
            answer = runner.chat(mmlu_question(item))
            choice = mmlu_choice(answer, item)
            part.add(choice == item.answer)
            score.records.append(_record(subject, item, answer, choice))
    return summarise(score, MMLU_FILES, macro=False)


def ceval_chat(runner: Runner, folder: DataFolder) -> Score:
    """C-Eval (validation) of chat models without examples: macro average over subjects."""
    score = Score("ceval-chat", "C-Eval (val, 0-shot)")
    for subject, items in present(score, folder, CEVAL_FILES):
        part = score.parts[subject] = Part()
        for item in runner.items(f"{score.task} {subject}", items):
            answer = runner.chat(ceval_question(item))
            choice = ceval_choice(answer, item)
            part.add(choice == item.answer)
            score.records.append(_record(subject, item, answer, choice))
    return summarise(score, CEVAL_FILES, macro=True, hard=CEVAL_HARD)


def _record(subject: str, item: Item, answer: str, choice: str) -> Dict[str, str]:
    return {"subject": subject, "answer": item.answer, "choice": choice, "text": answer}
