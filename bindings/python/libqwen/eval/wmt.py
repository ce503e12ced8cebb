"""WMT22 translation between English and Chinese, scored by BLEU.

The release publishes figures for 5 examples but neither the prompt nor the examples. Ours: lines of
``English: ...`` and ``Chinese: ...``, one blank line between pairs, the examples from files of
yours. The
continuation is cut at its first line end. BLEU is sacrebleu's, tokenised by "zh" into Chinese and
"13a" into English.
"""

from __future__ import annotations

from typing import Any, List, Sequence, Tuple

from .data import DataError, DataFolder
from .runner import Runner
from .scores import Score

__all__ = ["prompt", "wmt22"]

_SHOTS = 5
_NAMES = {"en": "English", "zh": "Chinese"}
_NOTE = (
    "the release's prompt and examples for WMT22 are not published; "
    "this is our prompt, so compare with care"
)


def wmt22(runner: Runner, folder: DataFolder) -> Score:
    """WMT22 in both directions, those whose files are there.

    Files as the conference publishes them, ``generaltest2022.en-zh.src.en`` and
    ``generaltest2022.en-zh.ref.refA.zh``, or plain ``wmt22.en-zh.en`` and ``wmt22.en-zh.zh``;
    examples in
    ``examples.en-zh.en`` and ``examples.en-zh.zh``.

    Raises:
        DataError: no direction is there, files differ in length, or sacrebleu is not installed.
    """
    score = Score("wmt22", "WMT22 (5-shot)", notes=[_NOTE])
    for source, target in (("en", "zh"), ("zh", "en")):
        pair = f"{source}-{target}"
        sources = (f"generaltest2022.{pair}.src.{source}", f"wmt22.{pair}.{source}")
        if folder.find(*sources) is None:
            score.missing.append(pair)
            continue
        references = (f"generaltest2022.{pair}.ref.refA.{target}", f"wmt22.{pair}.{target}")
        lines, wanted = _even(folder, sources, references)
        ways = (f"examples.{pair}.{source}",), (f"examples.{pair}.{target}",)
        shots = list(zip(*_even(folder, *ways)))[:_SHOTS]
        made: List[str] = []
        for line in runner.items(f"wmt22 {pair}", lines):
            text = runner.complete(prompt(source, target, shots, line), stop=["\n"]).strip()
            made.append(text)
            score.records.append({"pair": pair, "source": line, "text": text})
        score.metrics[pair] = _bleu(made, wanted[: len(made)], target)
    if not score.metrics:
        raise DataError(
            f"{folder.path}: has no file of WMT22, such as generaltest2022.en-zh.src.en"
        )
    return score


def prompt(source: str, target: str, shots: Sequence[Tuple[str, str]], line: str) -> str:
    """The examples and the line to translate; ends behind the colon."""
    one, other = _NAMES[source], _NAMES[target]
    head = "".join(f"{one}: {a}\n{other}: {b}\n\n" for a, b in shots)
    return f"{head}{one}: {line}\n{other}:"


def _even(
    folder: DataFolder, one: Sequence[str], other: Sequence[str]
) -> Tuple[List[str], List[str]]:
    left, right = folder.lines(*one), folder.lines(*other)
    if len(left) != len(right):
        names = [
            next(name for name in ways if folder.find(name) is not None) for ways in (one, other)
        ]
        raise DataError(
            f"{folder.path}: {names[0]} has {len(left)} lines, {names[1]} has {len(right)}; "
            "line N of one is the translation of line N of the other"
        )
    return left, right


def _bleu(made: Sequence[str], wanted: Sequence[str], target: str) -> float:
    try:
        import sacrebleu
    except ImportError as error:
        raise DataError("wmt22: BLEU needs sacrebleu: pip install sacrebleu==2.6.0") from error
    tokenize = "zh" if target == "zh" else "13a"
    result: Any = sacrebleu.corpus_bleu(list(made), [list(wanted)], tokenize=tokenize)
    return float(result.score)
