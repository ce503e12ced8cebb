"""Dynamic NTK, LogN and windows against PyTorch (Tests/Tools/long_context.py), on a model trained for 32 positions."""

from __future__ import annotations

import libqwen
import numpy as np
import pytest
from conftest import EXACT, FIXTURES, GREEDY
from safetensors.numpy import load_file

FOLDER = FIXTURES / "tiny" / "qwen-ntk"
RULES = {
    "plain": {"ntk": "off", "logn": False},
    "reference": {"ntk": "reference", "logn": False},
    "logn": {"ntk": "off", "logn": True},
    "alpha": {"ntk": 2.5, "logn": True},
    "window": {"window": 7},
    "graded": {"window": "graded"},
}


@pytest.fixture(scope="module")
def model():
    with libqwen.Model(str(FOLDER), **EXACT) as model:
        yield model


@pytest.fixture(scope="module")
def golden():
    return load_file(FOLDER / "golden.safetensors")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("chunk", [128, 7, 1])
def test_logits_are_those_of_pytorch(model, golden, rule, chunk):
    wanted = load_file(FIXTURES / "long_context.safetensors")[rule]
    ids = golden["input_ids"].tolist()
    with model.session(kv_cache="f32", prefill_chunk=chunk, **RULES[rule]) as session:
        session.logits(ids[:9])
        logits = session.logits(ids, first=len(ids) - len(wanted))
    assert np.abs(logits - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_a_planned_answer_counts(model, golden):
    prompt = golden["crossing_ids"].tolist()
    assert len(prompt) < 32 < len(prompt) + 24
    with model.session(kv_cache="f32") as session:
        kept = session.generate(prompt, max_new_tokens=24, stop_ids=[], **GREEDY)
        assert "ntk_alpha" not in session.info()
        assert kept.ids == golden["crossing_greedy_ids"].tolist()
    with model.session(kv_cache="f32", ntk="planned") as session:
        planned = session.generate(prompt, max_new_tokens=24, stop_ids=[], **GREEDY)
        assert session.info()["ntk_alpha"] == 3
    with model.session(kv_cache="f32", ntk=3) as session:
        assert session.generate(prompt, max_new_tokens=24, stop_ids=[], **GREEDY).ids == planned.ids


def test_a_prompt_that_asks_for_another_alpha_is_read_again(model, golden):
    short, long = golden["crossing_ids"].tolist(), golden["input_ids"].tolist()
    prompt = short + long[len(short) :]
    with model.session() as session:
        session.generate(short, max_new_tokens=1, **GREEDY)
        result = session.generate(prompt, max_new_tokens=4, stop_ids=[], **GREEDY)
        assert result.usage["cached_tokens"] == 0
        again = session.generate(prompt, max_new_tokens=4, stop_ids=[], **GREEDY)
        assert again.usage["cached_tokens"] == len(prompt) - 1
        assert again.ids == result.ids


@pytest.mark.parametrize("options", [{"ntk": "sometimes"}, {"ntk": 0.5}, {"window": 0}, {"yarn": "4"}])
def test_wrong_wishes_are_named(model, options):
    with pytest.raises(libqwen.QwenOptionError, match=next(iter(options))):
        model.session(**options)
