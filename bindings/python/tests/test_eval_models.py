"""The release's protocols on the real small model, beside PyTorch; wants LIBQWEN_SMOLLM2."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest
from conftest import FIXTURES

import libqwen
from libqwen import __main__ as command
from libqwen.agent import Sandbox
from libqwen.eval import Runner, run_task
from libqwen.eval.runner import softmax

EVAL = FIXTURES / "eval"
GOLDEN: Dict[str, Any] = json.loads((EVAL / "golden.json").read_text(encoding="utf-8"))

#: Float32 in both, sums in another order: logits of some tens agree to five digits.
CLOSE = 2e-3


@pytest.fixture(scope="module")
def exact(library: None) -> Iterator[libqwen.Model]:
    path = os.environ.get("LIBQWEN_SMOLLM2")
    if not path:
        pytest.skip("LIBQWEN_SMOLLM2 is not set")
    with libqwen.Model(path, compute="float32") as opened:
        yield opened


@pytest.mark.parametrize("task", ["mmlu", "ceval", "cmmlu"])
def test_letters_are_as_likely_as_in_the_reference(exact: libqwen.Model, task: str) -> None:
    with Runner(exact, kv_cache="f32") as runner:
        score = run_task(task, runner, EVAL)
    for subject, rows in GOLDEN["choices"][task].items():
        records = [record for record in score.records if record["subject"] == subject]
        assert len(records) == len(rows)
        for record, logits in zip(records, rows):
            assert record["chances"] == pytest.approx(softmax(logits), abs=CLOSE)
            lead = sorted(logits)[-1] - sorted(logits)[-2]
            if lead > CLOSE:
                assert record["choice"] == "ABCD"[logits.index(max(logits))]
        right = sum(record["choice"] == record["answer"] for record in records)
        assert score.parts[subject].right == right
    assert set(GOLDEN["choices"][task]) == set(score.parts)


@pytest.mark.parametrize("task", sorted(GOLDEN["texts"]))
def test_texts_are_those_of_the_reference(exact: libqwen.Model, task: str) -> None:
    expected = GOLDEN["texts"][task]
    if task.startswith("humaneval") and Sandbox().why_not() is not None:
        pytest.skip(Sandbox().why_not() or "")
    with Runner(exact, max_new_tokens=GOLDEN["new_tokens"], limit=1, kv_cache="f32") as runner:
        record = run_task(task, runner, EVAL).records[0]
    text = record["completion"] if task == "humaneval" else record["text"]
    assert expected["lead"] > CLOSE, "choose another item: this choice is too close"
    assert text == expected["text"]


def test_the_command_prints_tables_and_json(
    exact: libqwen.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["eval", "--model", exact.path, "--data", str(EVAL), "--tasks", "cmmlu", "--limit", "1"]
    files = ["--svg", str(tmp_path / "a.svg"), "--records", str(tmp_path / "a.jsonl")]
    assert command.main([*model, "--json", *files]) == 0
    captured = capsys.readouterr()
    value = json.loads(captured.out)
    assert value["scores"][0]["task"] == "cmmlu" and value["limit"] == 1
    assert "cmmlu chinese_history 1/1" in captured.err
    assert (tmp_path / "a.svg").read_text().startswith("<svg")
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 2
    assert command.main([*model, "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Performance\n\n| Model ") and captured.err == ""
    assert command.main(["eval", "--model", exact.path, "--tasks", "nothing", "--data", "."]) == 1
    assert "no task nothing" in capsys.readouterr().err
