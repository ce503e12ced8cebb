"""The release's protocols without a model: prompts byte for byte, cuts, extraction, averages, files."""

from __future__ import annotations

import gzip
import io
import json
import math
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Sequence

import pytest
from conftest import FIXTURES

from libqwen.eval import DataError, DataFolder, gsm8k, humaneval, plugins, run_task, wmt
from libqwen.eval.chat_choices import ceval_choice, ceval_question, mmlu_choice, mmlu_question
from libqwen.eval.choices import Item, ceval_prompt, mmlu_prompt
from libqwen.eval.fuzzy import weighted_ratio
from libqwen.eval.hf_agent import clean, tool_score
from libqwen.eval.runner import softmax
from libqwen.eval.subjects import CEVAL, CEVAL_HARD, CMMLU, MMLU, every
from libqwen.eval.tables import report

EVAL = FIXTURES / "eval"
FRANCE = Item("What is the capital of France?", ["Berlin", "Madrid", "Paris", "Rome"], "C")
FORCE = Item("力的单位是____。", ["牛顿", "焦耳", "瓦特", "帕斯卡"], "A")


class Scripted:
    """Stands in for a model: says what it is told, and chooses by a table of logits."""

    def __init__(self, answers: Sequence[str] = (), logits: Sequence[Sequence[float]] = ()) -> None:
        self.answers, self.rows = list(answers), list(logits)
        self.prompts: List[str] = []
        self.model: Any = self

    def items(self, label: str, items: Sequence[Any]) -> List[Any]:
        return list(items)

    def token(self, text: str) -> int:
        return ord(text[-1])

    def next_logits(self, prompt: str, tokens: Sequence[int], keep: Any = None) -> Sequence[float]:
        self.prompts.append(prompt)
        return self.rows.pop(0)

    def chat(self, query: str) -> str:
        self.prompts.append(query)
        return self.answers.pop(0)

    def complete(self, prompt: str, stop: Sequence[str] = ()) -> str:
        self.prompts.append(prompt)
        text = self.answers.pop(0)
        for cut in stop:
            text = text.split(cut)[0]
        return text

    def tokenize(self, text: str) -> List[int]:
        return [ord(letter) for letter in text]

    def detokenize(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))


def run(task: str, runner: Scripted, data: Path = EVAL) -> Any:
    return run_task(task, runner, data)  # type: ignore[arg-type]


# ---- Prompts -------------------------------------------------------------------------------------


def test_the_prompt_of_mmlu() -> None:
    shot = Item("One plus one?", ["1", "2", "3", "4"], "B")
    assert mmlu_prompt("high_school_geography", [shot], FRANCE) == (
        "The following are multiple choice questions (with answers) about high school geography.\n\n"
        "Question: One plus one?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer: B\n\n"
        "Question: What is the capital of France?\nA. Berlin\nB. Madrid\nC. Paris\nD. Rome\nAnswer:"
    )


def test_the_prompt_of_ceval() -> None:
    assert ceval_prompt([FORCE], FORCE) == (
        "问题：力的单位是____。\nA. 牛顿\nB. 焦耳\nC. 瓦特\nD. 帕斯卡\n答案：A\n\n"
        "问题：力的单位是____。\nA. 牛顿\nB. 焦耳\nC. 瓦特\nD. 帕斯卡\n答案："
    )


def test_the_questions_of_the_chat_protocols() -> None:
    assert mmlu_question(FRANCE) == (
        "The following is a multiple-choice question. Please choose the most suitable one among A, B, "
        "C and D as the answer to this question.\n\nWhat is the capital of France?\n"
        "A. Berlin\nB. Madrid\nC. Paris\nD. Rome\n"
    )
    assert ceval_question(FORCE) == ("力的单位是____。\n\nA. 牛顿\nB. 焦耳\nC. 瓦特\nD. 帕斯卡\n")


def test_the_question_of_humaneval() -> None:
    task = DataFolder(EVAL / "humaneval").json_lines("HumanEval.jsonl")[1]
    assert humaneval.question(task) == (
        "Write a Python function `largest(numbers: List[int]) -> int` to solve the following problem:\n"
        "Return the largest of the given numbers.\n>>> largest([1, 5, 3])\n5\n\n" + task["prompt"]
    )


def test_the_prompt_of_translation() -> None:
    assert wmt.prompt("en", "zh", [("Hi.", "你好。")], "Bye.") == (
        "English: Hi.\nChinese: 你好。\n\nEnglish: Bye.\nChinese:"
    )


def test_translation_is_scored_by_bleu() -> None:
    pytest.importorskip("sacrebleu")
    runner = Scripted([" 今天海面很平静。\nEnglish: more", "我爱茶。", "I like tea."])
    score = run("wmt22", runner)
    # By hand, characters being words: 11 of 12, 8 of 10, 6 of 8 and 5 of 6 n-grams are right, and 12
    # characters stand against 13.
    wanted = 100 * math.exp(1 - 13 / 12) * (11 / 12 * 8 / 10 * 6 / 8 * 5 / 6) ** 0.25
    assert score.metrics["en-zh"] == pytest.approx(wanted, abs=1e-9)
    assert score.metrics["zh-en"] == pytest.approx(100, abs=1e-9)
    assert score.records[0]["text"] == "今天海面很平静。"
    shots = [("Good morning.", "早上好。"), ("The book is on the table.", "书在桌子上。")]
    assert runner.prompts[1] == wmt.prompt("en", "zh", shots, "I like tea.")


def test_translation_with_one_direction_only(tmp_path: Path) -> None:
    pytest.importorskip("sacrebleu")
    for name in ("wmt22.zh-en.zh", "wmt22.zh-en.en", "examples.zh-en.zh", "examples.zh-en.en"):
        (tmp_path / name).write_text("a b c d\n")
    score = run("wmt22", Scripted(["a b c d"]), tmp_path)
    assert score.missing == ["en-zh"] and score.metrics == {"zh-en": pytest.approx(100)}
    (tmp_path / "wmt22.zh-en.en").write_text("a b c d\ne f g h\n")
    with pytest.raises(DataError, match="has 1 lines, wmt22.zh-en.en has 2"):
        run("wmt22", Scripted(["a b c d"]), tmp_path)


# ---- Reading answers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("The answer is B.", "B"),
        ("The correct answer is: D", "D"),
        ("I would choose A", "A"),
        ("The best choice would be C.", "C"),
        ("The answer is not A. B is correct.", "B"),
        ("B is not correct, D is right.", "D"),
        ("D", "D"),
        ("A, because it is old.", "A"),
        ("It must be (B) then", "B"),
        ("The capital is paris.", "C"),
        ("Surely Madrid.", "B"),
        ("rom", "D"),
    ],
)
def test_letters_in_english_answers(answer: str, letter: str) -> None:
    assert mmlu_choice(answer, FRANCE) == letter


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("答案是B", "B"),
        ("正确的选项为：D。", "D"),
        ("应该选C选项。", "C"),
        ("答案不是A，B选项正确", "B"),
        ("A不正确，D符合题意", "D"),
        ("B。因为", "B"),
        ("力的单位是瓦特", "C"),
        ("是焦耳", "B"),
        ("帕斯", "D"),
    ],
)
def test_letters_in_chinese_answers(answer: str, letter: str) -> None:
    assert ceval_choice(answer, FORCE) == letter


def test_a_long_stem_in_an_answer_stands_for_the_words_answer_is() -> None:
    item = Item("关于传输层的服务的特性是____。", ["不可靠", "可靠", "无序", "无"], "B")
    assert ceval_choice("关于传输层的服务的特性是可靠", item) == "B"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("so 3 + 4 = 7 apples", 7),
        ("1,200", 200),
        ("7.5", 5),
        ("none", None),
        ("it is 007", None),
        ("00", 0),
    ],
)
def test_the_last_run_of_digits(text: str, value: Any) -> None:
    assert gsm8k.last_integer(text) == value


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("she pays $1,234.50 now", "1234.50"),
        ("about -3 degrees", "-3"),
        ("+5", "5"),
        (".5 of it.", ".5"),
        ("it is 18.", "18."),
        ("12,34", "34"),
        ("1,234,56", "56"),
        ("1234,567", "567"),
        ("nothing", None),
    ],
)
def test_the_last_number_of_an_answer(text: str, number: Any) -> None:
    assert gsm8k.chat_number(text) == number


def test_numbers_are_the_same_within_a_tolerance() -> None:
    assert gsm8k.same_number("18", "18.")
    assert gsm8k.same_number("0.5", ".50009")
    assert not gsm8k.same_number("0.5", ".5002")
    assert not gsm8k.same_number("5", None)
    assert gsm8k.gold("so\n#### 1,200") == 1200


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("Sure:\n```python\ndef add(a, b):\n    return a + b\n```\nDone.", "    return a + b"),
        (
            "def helper():\n    pass\ndef add(a, b):\n    c = a\n\n    return c + b\nThat is it.",
            "    c = a\n\n    return c + b",
        ),
        ("def other(a):\n    return a\nbye", "    return a"),
        ("return a + b", "    return a + b"),
    ],
)
def test_the_body_of_a_function_in_an_answer(text: str, body: str) -> None:
    assert humaneval.body_of(text, "add") == body


def test_the_first_call_of_a_react_text() -> None:
    text = (
        "Thought: x\nAction: Search \nAction Input: {b: 1, 'a': [2,],}\nObservation: y\nAction: z"
    )
    call = plugins.first_call(text)
    assert (call.name, call.arguments) == ("Search", '{"a": [2], "b": 1}')
    assert plugins.first_call("Action: s\nAction Input: {oops").arguments == ""
    assert plugins.first_call("Final Answer: 2").name == ""


def test_rouge_l_by_hand() -> None:
    # The longest common subsequence of these is "the cat sat": 3 of 6 and 3 of 4 words.
    reference, made = "the cat sat on the mat".split(), "the big cat sat".split()
    assert plugins.rouge_l(reference, made) == pytest.approx(2 * 0.75 * 0.5 / 1.25)
    assert plugins.rouge_l(reference, []) == 0.0


def test_rouge_l_is_that_of_the_package() -> None:
    scorers = pytest.importorskip("rouge_score.rouge_scorer", reason="rouge-score is not installed")
    words = ["the", "cat", "sat", "on", "mat", "中", "国"]

    class Words:
        def tokenize(self, text: str) -> List[str]:
            return text.split()

    scorer = scorers.RougeScorer(["rougeL"], tokenizer=Words())
    for seed in range(200):
        pick = [
            words[(seed * 31 + index * index * 7) % len(words)] for index in range(seed % 9 + 1)
        ]
        made = [words[(seed * 17 + index * 5) % len(words)] for index in range(seed % 7 + 1)]
        expected = scorer.score(" ".join(pick), " ".join(made))["rougeL"].fmeasure
        assert plugins.rouge_l(pick, made) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("first", "second", "ratio"),
    # From rapidfuzz 3.14: fuzz.WRatio with its default processor.
    [
        ("the cat", "The cat!", 100.0),
        ("a cat sat on the mat", "cat", 90.0),
        ("blue sky", "sky blue now", 85.5),
        ("abcd", "abxd", 75.0),
        ("", "x", 0.0),
    ],
)
def test_likeness_is_the_weighted_ratio(first: str, second: str, ratio: float) -> None:
    assert weighted_ratio(first, second) == pytest.approx(ratio)


def test_tools_of_the_agent_benchmark() -> None:
    explanation, code = clean("tool: `translator`.\n\nAnswer:\n```py\nx = translator(text)\n```")
    assert explanation == "I will use the following tool: `translator`."
    assert code == "x = translator(text)"
    assert tool_score(["a", "b"], ["a", "b"]) == 1.0
    assert tool_score(["a", "c"], ["a", "b"]) == 0.5
    assert tool_score(["c", "d", "e"], ["a", "b"]) == 0.0


# ---- Subjects and averages -----------------------------------------------------------------------


def test_the_numbers_of_subjects() -> None:
    assert [len(group) for group in MMLU.values()] == [19, 13, 13, 12]
    assert [len(group) for group in CEVAL.values()] == [20, 10, 11, 11]
    assert len(every(CMMLU)) == 67 and len(CMMLU["China specific"]) == 15
    assert set(CEVAL_HARD) < set(CEVAL["STEM"]) and len(CEVAL_HARD) == 8


def choosing(letters: str) -> List[List[float]]:
    return [[2.0 if letter == one else 0.5 for one in "ABCD"] for letter in letters]


def test_mmlu_is_a_micro_average() -> None:
    # Answers: astronomy CA, philosophy ADB, geography CABD, in the order of the groups.
    runner = Scripted(logits=choosing("CA" + "ABB" + "AAAA"))
    score = run("mmlu", runner)
    assert score.metrics == {"average": pytest.approx(500 / 9)}
    assert score.groups == {
        "stem": 100.0,
        "Humanities": pytest.approx(200 / 3),
        "social": 25.0,
    }
    assert len(score.missing) == 54
    assert runner.prompts[0].count("Answer:") == 6
    assert score.records[0]["chances"] == softmax([0.5, 0.5, 2.0, 0.5])
    text = report([score], "tiny")
    assert "| tiny" in text and "AVERAGE ACC: 55.56" in text


def test_ceval_is_a_macro_average_with_hard_subjects() -> None:
    # Answers: high_school_physics BCA, logic AC.
    score = run("ceval", Scripted(logits=choosing("BCD" + "AD")))
    assert score.metrics["average"] == pytest.approx((200 / 3 + 50) / 2)
    assert score.metrics["hard"] == pytest.approx(200 / 3)


def test_cmmlu_counts_what_is_specific_to_china_twice() -> None:
    # Answers: chinese_history BC, agronomy BA, in the order of the groups.
    score = run("cmmlu", Scripted(logits=choosing("AA" + "BA")))
    assert score.metrics["average"] == 50.0
    assert score.groups == {"Other": 100.0, "Humanities": 0.0, "China specific": 0.0}


def test_the_chat_protocols_by_hand() -> None:
    answers = ["The answer is C.", "Mars", *["A"] * 7]
    score = run("mmlu-chat", Scripted(answers))
    # Mars is most like Polaris, which is wrong; A is right twice in seven.
    assert [record["choice"] for record in score.records[:2]] == ["C", "D"]
    assert score.metrics["average"] == pytest.approx(300 / 9)
    assert run("ceval-chat", Scripted(["答案是B", "C。", "B", "归纳", "特称"])).metrics == {
        "average": pytest.approx((200 / 3 + 50) / 2),
        "hard": pytest.approx(200 / 3),
    }


def test_gsm8k_by_hand() -> None:
    runner = Scripted(
        ["3 + 4 = 7\nThe answer is 7\n\nQuestion: 9", "36", "is 1200 people. Question: 5"]
    )
    score = run("gsm8k", runner)
    assert score.metrics["accuracy"] == pytest.approx(200 / 3)
    assert runner.prompts[0].startswith("Question: Ann has 2 pens")
    asked = (
        "The answer is 40\n\nQuestion: Tom has 3 apples and buys 4 more. How many apples does he "
        "have?\nLet's think step by step"
    )
    assert runner.prompts[0].endswith(asked + "\n")
    chat = Scripted(["He has 7.", "30 eggs", "1,200.00004 stay"])
    assert run("gsm8k-chat", chat).metrics["accuracy"] == 100.0
    shots = Scripted(["7", "3", "1"])
    assert run("gsm8k-chat-4shot", shots).metrics["accuracy"] == pytest.approx(100 / 3)
    assert shots.prompts[0].endswith(asked)


def test_plugins_by_hand() -> None:
    right = 'Thought: s\nAction: Search\nAction Input: {"query": "who painted"}\nObservation:'
    wrong = "Thought: w\nAction: search\nAction Input: {broken\nObservation:"
    score = run("plugins", Scripted([right, wrong, "Thought: easy\nFinal Answer: 2"]))
    # Single letters are the tokens here, and white space is none.
    made, wanted = len('{"query":"whopainted"}'), len('{"query":"whopaintedtheMonaLisa"}')
    precision, recall = 1.0, made / wanted
    expected = 2 * precision * recall / (precision + recall) / 2
    assert score.metrics["tool_selection"] == 50.0
    assert score.metrics["tool_input_rouge_l"] == pytest.approx(expected)
    assert score.metrics["false_positive"] == 0.0


# ---- Files ---------------------------------------------------------------------------------------


def test_archives_are_read_as_downloaded(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "data.tar", "w") as tar:
        for kind in ("dev", "test"):
            name = f"high_school_geography_{kind}.csv"
            tar.add(EVAL / "mmlu" / kind / name, f"data/{kind}/{name}")
    score = run("mmlu", Scripted(logits=choosing("CABD")), tmp_path)
    assert score.average == 100.0
    (tmp_path / "ceval").mkdir()
    with zipfile.ZipFile(tmp_path / "ceval" / "ceval-exam.zip", "w") as archive:
        for kind in ("dev", "val"):
            archive.write(EVAL / f"ceval/{kind}/logic_{kind}.csv", f"{kind}/logic_{kind}.csv")
    assert run("ceval", Scripted(logits=choosing("AC")), tmp_path).average == 100.0
    lines = (EVAL / "humaneval" / "HumanEval.jsonl").read_bytes()
    (tmp_path / "HumanEval.jsonl.gz").write_bytes(gzip.compress(lines))
    found = DataFolder(tmp_path).json_lines("HumanEval.jsonl", "HumanEval.jsonl.gz")
    assert [task["entry_point"] for task in found] == ["add", "largest"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("one,two\n", "2 cells of 6"),
        ("\xff".encode("latin-1"), "not UTF-8"),
    ],
)
def test_broken_tables_are_named(tmp_path: Path, content: Any, message: str) -> None:
    for kind in ("dev", "test"):
        (tmp_path / kind).mkdir()
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / kind / f"anatomy_{kind}.csv").write_bytes(data)
    with pytest.raises(DataError, match=message):
        run("mmlu", Scripted(), tmp_path)


@pytest.mark.parametrize("task", ["mmlu", "gsm8k", "wmt22", "plugins", "hf-agent"])
def test_missing_files_are_named(tmp_path: Path, task: str) -> None:
    with pytest.raises(DataError, match="has no"):
        run(task, Scripted(), tmp_path)
    with pytest.raises(DataError, match="there is no such folder"):
        run(task, Scripted(), tmp_path / "elsewhere")


def test_a_line_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"question": "a", "answer": "#### 1"}\n{"question"\n')
    with pytest.raises(DataError, match="line 2"):
        gsm8k.problems(DataFolder(tmp_path))


def test_scores_are_json() -> None:
    value: Dict[str, Any] = run("cmmlu", Scripted(logits=choosing("BCBA"))).to_dict()
    again = json.load(io.StringIO(json.dumps(value)))
    assert again["parts"]["agronomy"] == {"right": 2, "total": 2, "percent": 100.0}
    assert "records" not in again
