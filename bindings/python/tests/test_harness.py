"""lm-eval on libqwen, beside lm-eval on transformers; wants lm_eval and LIBQWEN_SMOLLM2."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List

import pytest
from conftest import FIXTURES

import libqwen

pytest.importorskip("lm_eval", reason="lm_eval is not installed: pip install lm_eval==0.4.13")

import lm_eval  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

from libqwen import __main__ as command  # noqa: E402
from libqwen.eval.harness import LibQwenLM  # noqa: E402

HARNESS = FIXTURES / "eval" / "harness"
GOLDEN: Dict[str, Any] = json.loads((FIXTURES / "eval" / "golden.json").read_text(encoding="utf-8"))
TASKS = ["local_choice", "local_generate", "local_rolling"]

#: Float32 in both, sums in another order.
CLOSE = 2e-3


@pytest.fixture(autouse=True)
def in_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(HARNESS)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def exact(library: None) -> Any:
    path = os.environ.get("LIBQWEN_SMOLLM2")
    if not path:
        pytest.skip("LIBQWEN_SMOLLM2 is not set")
    with libqwen.Model(path, compute="float32") as opened:
        yield opened


@pytest.mark.parametrize("batch_size", [1, 3])
def test_numbers_are_those_of_transformers(exact: libqwen.Model, batch_size: int) -> None:
    lm = LibQwenLM(
        exact,
        batch_size=batch_size,
        kv_cache="f32",
        max_length=512,
        prefix_token_id=GOLDEN["harness"]["prefix_token_id"],
    )
    manager = TaskManager(include_path=str(HARNESS))
    results = lm_eval.simple_evaluate(model=lm, tasks=TASKS, task_manager=manager)
    lm.close()
    for task in TASKS:
        samples = sorted(results["samples"][task], key=lambda sample: sample["doc_id"])
        found = [sample["resps"] for sample in samples]
        same(found, GOLDEN["harness"]["responses"][task])
        for name, value in GOLDEN["harness"]["results"][task].items():
            if "stderr" not in name:
                assert results["results"][task][name] == pytest.approx(value, rel=CLOSE)


def same(found: Any, expected: Any) -> None:
    """Equal but for rounding, at any depth."""
    if isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected):
            same(one, other)
    elif isinstance(expected, bool) or not isinstance(expected, float):
        assert str(found) == str(expected)
    else:
        assert found == pytest.approx(expected, abs=CLOSE)


def test_long_texts_are_scored_in_windows(exact: libqwen.Model) -> None:
    text = (FIXTURES / "text" / "english.txt").read_text(encoding="utf-8")[:600]
    lm = LibQwenLM(exact, kv_cache="f32", max_length=32)
    ids = lm.tok_encode(text)
    request = type("Request", (), {"args": (text,)})()
    total = lm.loglikelihood_rolling([request], disable_tqdm=True)[0]
    # By hand: windows of 32 tokens, each after one token; the last reaches as far back as fits.
    expected, row = 0.0, [lm.prefix_token_id, *ids]
    with exact.session(kv_cache="f32") as session:
        for start in range(0, len(ids), 32):
            end = min(start + 32, len(ids))
            scores = session.score(row[end - 32 : end + 1])
            expected += float(sum(map(float, list(scores)[start - end :])))
    assert total == pytest.approx(expected, abs=1e-2)
    lm.close()


def test_chat_templates_and_text(exact: libqwen.Model) -> None:
    lm = LibQwenLM(exact, max_length=256)
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    text = lm.apply_chat_template(messages)
    assert text == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
    )
    assert lm.tok_encode(text) == exact.render(messages)[0]
    opened: List[Dict[str, str]] = [*messages, {"role": "assistant", "content": "The"}]
    assert lm.apply_chat_template(opened, add_generation_prompt=False) == text + "The"
    assert lm.tok_decode(lm.tok_encode("round trip")) == "round trip"
    assert lm.tok_decode(lm.eot_token_id) == "<|endoftext|>"
    assert lm.chat_template(True) == "chatml"
    lm.close()


def test_the_command_runs_tasks_of_a_folder(
    exact: libqwen.Model, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["eval", "--harness", "--model", exact.path, "--include-path", str(HARNESS)]
    more = ["--tasks", "local_choice", "--context", "256", "--limit", "2"]
    records = ["--json", "--records", str(tmp_path / "samples.jsonl")]
    assert command.main([*arguments, *more, *records]) == 0
    value = json.loads(capsys.readouterr().out)
    assert 0 <= value["results"]["local_choice"]["acc,none"] <= 1
    assert len((tmp_path / "samples.jsonl").read_text().splitlines()) == 2
    assert command.main([*arguments, *more]) == 0
    assert "|local_choice" in capsys.readouterr().out.replace(" ", "")
