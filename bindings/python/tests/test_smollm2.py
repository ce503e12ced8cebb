"""A real model against transformers on its dequantised weights; wants LIBQWEN_SMOLLM2."""

from __future__ import annotations

import json
from typing import Any, Dict

import numpy as np
import pytest
from conftest import FIXTURES, GREEDY

import libqwen

GOLDEN: Dict[str, Any] = json.loads((FIXTURES / "smollm2.json").read_text(encoding="utf-8"))
RUNS = GOLDEN["runs"]

#: Activations of 8 bits move a logit by some tenths. Up to the first choice that is closer than this,
#: the answers must be equal.
CLEAR = 0.5


@pytest.mark.parametrize("run", RUNS, ids=[str(index) for index in range(len(RUNS))])
def test_answers_are_those_of_the_reference(smollm2: libqwen.Model, run: Dict[str, Any]) -> None:
    settings: Dict[str, Any] = {"max_new_tokens": GOLDEN["new_tokens"], **GREEDY}
    if "messages" in run:
        ids, _ = smollm2.render(run["messages"])
        result = smollm2.chat(run["messages"], **settings)
    else:
        ids = smollm2.tokenize(run["prompt"])
        result = smollm2.generate(run["prompt"], **settings)
    assert ids == run["prompt_ids"]
    clear = next((i for i, lead in enumerate(run["leads"]) if lead < CLEAR), len(run["leads"]))
    assert result.ids[:clear] == run["ids"][:clear]
    if clear == len(run["leads"]):
        assert result.text == run["text"]
        assert result.finish_reason == run["finish_reason"]


def test_the_first_token_is_as_likely_as_in_the_reference(smollm2: libqwen.Model) -> None:
    with smollm2.session() as session:
        for run in RUNS:
            logits = np.array(session.logits(run["prompt_ids"], first=len(run["prompt_ids"]) - 1))
            logprobs = logits[0].astype(np.float64)
            logprobs -= np.log(np.exp(logprobs - logprobs.max()).sum()) + logprobs.max()
            for token, expected in run["first_logprobs"][:1]:
                assert abs(logprobs[token] - expected) < CLEAR


def test_perplexity_is_that_of_the_reference(smollm2: libqwen.Model) -> None:
    expected = GOLDEN["perplexity"]
    text = (FIXTURES / expected["text"]).read_text(encoding="utf-8")
    ids, loss, scored = smollm2.tokenize(text), 0.0, 0
    assert len(ids) == expected["tokens"]
    with smollm2.session() as session:
        for start in range(0, len(ids), expected["window"]):
            scores = session.score(ids[start : start + expected["window"]])
            loss, scored = loss - float(np.sum(scores, dtype=np.float64)), scored + len(scores)
    assert scored == expected["scored"]
    # 8-bit activations cost less than one part in a hundred of perplexity.
    assert abs(loss / scored - expected["mean_loss"]) < 0.01
