"""SmolLM2-135M-Instruct, Q4_1, against transformers on the dequantised weights (Tests/Tools/smollm2.py)."""

from __future__ import annotations

import libqwen
import pytest
from conftest import EXACT, FIXTURES, GREEDY, perplexity


@pytest.fixture(scope="module")
def exact(smollm2_path):
    with libqwen.Model(smollm2_path, **EXACT) as model:
        yield model


def test_twenty_greedy_texts_are_those_of_transformers(exact, smollm2_golden):
    runs = smollm2_golden["runs"]
    assert len(runs) == 20
    for run in runs:
        with exact.session(kv_cache="f32", context=512) as session:
            options = {"max_new_tokens": smollm2_golden["new_tokens"], **GREEDY}
            if "messages" in run:
                assert exact.render(run["messages"])[0] == run["prompt_ids"]
                result = session.chat(run["messages"], **options)
            else:
                assert list(exact.tokenize(run["prompt"])) == run["prompt_ids"]
                result = session.generate(run["prompt"], **options)
        assert result.ids == run["ids"], run.get("prompt", run.get("messages"))
        assert result.text == run["text"]
        assert result.finish_reason == run["finish_reason"]


def test_perplexity_is_that_of_transformers(exact, smollm2_golden):
    wanted = smollm2_golden["perplexity"]
    text = (FIXTURES / "text" / "english.txt").read_text(encoding="utf-8")
    found = perplexity(exact, list(exact.tokenize(text)), 512)
    print(f"perplexity {found:.4f}, transformers {wanted['perplexity']:.4f}")
    assert found == pytest.approx(wanted["perplexity"], rel=1e-3)


def test_a_second_turn_does_not_read_the_first_again(smollm2_path):
    with libqwen.Model(smollm2_path) as model, model.session(context=1024) as session:
        first = session.chat("Name three fruits.", max_new_tokens=32, **GREEDY)
        second = session.chat("And a fourth?", history=first.history, max_new_tokens=8, **GREEDY)
        assert second.usage["cached_tokens"] >= first.usage["prompt_tokens"]
        with model.session(context=1024) as cold:
            again = cold.chat("And a fourth?", history=first.history, max_new_tokens=8, **GREEDY)
        assert again.usage["cached_tokens"] == 0
        assert again.ids == second.ids
