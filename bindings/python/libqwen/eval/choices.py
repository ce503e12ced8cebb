"""MMLU, C-Eval and CMMLU as base models answer them: five examples, then the likeliest letter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from .data import DataError, DataFolder
from .runner import Runner, softmax
from .scores import Part, Score
from .subjects import CEVAL, CEVAL_HARD, CMMLU, MMLU, every

__all__ = ["LETTERS", "Item", "ceval", "ceval_prompt", "cmmlu", "mmlu", "mmlu_prompt", "summarise"]

LETTERS = ("A", "B", "C", "D")
_SHOTS = 5
#: Longer MMLU prompts keep the last tokens but one of this many.
_MMLU_KEEP = 2048


@dataclass(frozen=True)
class Item:
    """A question with four options and the letter of the right one."""

    question: str
    options: Sequence[str]
    answer: str


@dataclass(frozen=True)
class Benchmark:
    """Where the files of a benchmark are, and how they are called inside."""

    groups: Mapping[str, List[str]]
    shots: str
    test: str
    question: str
    answer: str
    header: bool
    within: Sequence[str]

    def items(self, folder: DataFolder, pattern: str, subject: str) -> List[Item]:
        """The items of a file.

        Raises:
            DataError: the file is missing or broken.
        """
        columns = [self.question, *LETTERS, self.answer]
        rows = folder.rows(pattern.format(subject), columns=columns, header=self.header)
        return [
            Item(row[self.question], [row[letter] for letter in LETTERS], row[self.answer].strip())
            for row in rows
        ]


MMLU_FILES = Benchmark(
    MMLU, "dev/{}_dev.csv", "test/{}_test.csv", "question", "answer", False, ("mmlu",)
)
CEVAL_FILES = Benchmark(
    CEVAL, "dev/{}_dev.csv", "val/{}_val.csv", "question", "answer", True, ("ceval",)
)
CMMLU_FILES = Benchmark(CMMLU, "dev/{}.csv", "test/{}.csv", "Question", "Answer", True, ("cmmlu",))


# ---- Prompts -------------------------------------------------------------------------------------


def mmlu_prompt(subject: str, shots: Sequence[Item], item: Item) -> str:
    """The prompt of MMLU; it ends in ``Answer:`` without a space, so the letters begin with one."""
    name = " ".join(subject.split("_"))
    head = f"The following are multiple choice questions (with answers) about {name}.\n\n"
    return head + _listed("Question: ", "Answer:", " ", shots, item)


def ceval_prompt(shots: Sequence[Item], item: Item) -> str:
    """The prompt of C-Eval and CMMLU; it ends in ``答案：``."""
    return _listed("问题：", "答案：", "", shots, item)


def _listed(question: str, answer: str, gap: str, shots: Sequence[Item], item: Item) -> str:
    def asked(each: Item) -> str:
        options = "".join(f"{letter}. {text}\n" for letter, text in zip(LETTERS, each.options))
        return f"{question}{each.question}\n{options}{answer}"

    return "".join(f"{asked(shot)}{gap}{shot.answer}\n\n" for shot in shots) + asked(item)


# ---- Runs ----------------------------------------------------------------------------------------


def mmlu(runner: Runner, folder: DataFolder) -> Score:
    """MMLU of base models: micro average over all questions."""
    score = Score("mmlu", "MMLU (5-shot)")
    tokens = [runner.token(f" {letter}") for letter in LETTERS]
    _answered(score, runner, folder, MMLU_FILES, tokens, mmlu_prompt, _MMLU_KEEP)
    return summarise(score, MMLU_FILES, macro=False)


def ceval(runner: Runner, folder: DataFolder) -> Score:
    """C-Eval (validation) of base models: macro average over subjects, and over the hard ones."""
    score = Score("ceval", "C-Eval (val, 5-shot)")
    tokens = [runner.token(letter) for letter in LETTERS]
    _answered(
        score, runner, folder, CEVAL_FILES, tokens, lambda _, *rest: ceval_prompt(*rest), None
    )
    return summarise(score, CEVAL_FILES, macro=True, hard=CEVAL_HARD)


def cmmlu(runner: Runner, folder: DataFolder) -> Score:
    """CMMLU of base models: macro average over subjects."""
    score = Score("cmmlu", "CMMLU (5-shot)")
    tokens = [runner.token(letter) for letter in LETTERS]
    _answered(
        score, runner, folder, CMMLU_FILES, tokens, lambda _, *rest: ceval_prompt(*rest), None
    )
    return summarise(score, CMMLU_FILES, macro=True)


def _answered(
    score: Score,
    runner: Runner,
    folder: DataFolder,
    files: Benchmark,
    tokens: Sequence[int],
    prompt: Callable[[str, Sequence[Item], Item], str],
    keep: Optional[int],
) -> None:
    for subject, items in present(score, folder, files):
        shots = files.items(folder, files.shots, subject)[:_SHOTS]
        part = score.parts[subject] = Part()
        for item in runner.items(f"{score.task} {subject}", items):
            text = prompt(subject, shots, item)
            chances = softmax(runner.next_logits(text, tokens, keep))
            choice = LETTERS[max(range(len(LETTERS)), key=lambda index: chances[index])]
            part.add(choice == item.answer)
            score.records.append(
                {"subject": subject, "answer": item.answer, "choice": choice, "chances": chances}
            )


def present(score: Score, folder: DataFolder, files: Benchmark) -> List[Tuple[str, List[Item]]]:
    """The subjects whose test file is there with their items; the others are noted as missing.

    Raises:
        DataError: not one file is there, or one is broken.
    """
    found = []
    for subject in every(dict(files.groups)):
        if folder.find(files.test.format(subject)) is None:
            score.missing.append(subject)
        else:
            found.append((subject, files.items(folder, files.test, subject)))
    if not found:
        example = files.test.format(score.missing[0])
        raise DataError(f"{folder.path}: has no file of {score.task}, such as {example}")
    return found


def summarise(score: Score, files: Benchmark, *, macro: bool, hard: Sequence[str] = ()) -> Score:
    """Fills averages and groups: over subjects (macro) or over questions."""

    def mean(subjects: Sequence[str]) -> Optional[float]:
        parts = [score.parts[name] for name in subjects if name in score.parts]
        if not parts:
            return None
        if macro:
            return sum(part.percent for part in parts) / len(parts)
        return Part(sum(p.right for p in parts), sum(p.total for p in parts)).percent

    score.metrics["average"] = mean(every(dict(files.groups))) or 0.0
    hard_mean = mean(hard)
    if hard_mean is not None:
        score.metrics["hard"] = hard_mean
    groups: Dict[str, Optional[float]] = {name: mean(group) for name, group in files.groups.items()}
    score.groups = {name: value for name, value in groups.items() if value is not None}
    return score
