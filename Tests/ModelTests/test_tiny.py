"""Every tiny model against PyTorch, and against itself however a prompt is cut, threaded or cached."""

from __future__ import annotations

import json

import libqwen
import numpy as np
import pytest
from conftest import EXACT, FIXTURES, GREEDY
from safetensors.numpy import load_file

TINY = FIXTURES / "tiny"
NAMES = sorted(path.parent.name for path in TINY.glob("*/golden.json"))


def path_of(name: str) -> str:
    file = TINY / name / "model.gguf"
    return str(file if file.exists() else TINY / name)


@pytest.fixture(scope="module", params=NAMES)
def tiny(request):
    name = request.param
    facts = json.loads((TINY / name / "golden.json").read_text(encoding="utf-8"))
    return path_of(name), load_file(TINY / name / "golden.safetensors"), facts


def bits(values: np.ndarray) -> np.ndarray:
    return np.asarray(values).view(np.uint32)


def test_logits_are_those_of_pytorch(tiny):
    path, golden, _ = tiny
    with libqwen.Model(path, **EXACT) as model, model.session(kv_cache="f32") as session:
        logits = session.logits(golden["input_ids"].tolist())
    error = np.abs(logits - golden["logits"]).max() / np.abs(golden["logits"]).max()
    assert error < 1e-5


def test_greedy_texts_are_those_of_pytorch(tiny):
    path, golden, _ = tiny
    with libqwen.Model(path, **EXACT) as model:
        for entry in [name[: -len("_ids")] for name in golden if name.endswith("greedy_ids")]:
            prompt = {"greedy": "input_ids"}.get(entry, entry.replace("greedy", "ids"))
            wanted = golden[f"{entry}_ids"].tolist()
            with model.session(kv_cache="f32") as session:
                result = session.generate(
                    golden[prompt].tolist(), max_new_tokens=len(wanted), stop_ids=[], **GREEDY
                )
            assert result.ids == wanted, entry


def test_chat_prompt_is_that_of_the_template(tiny):
    path, golden, facts = tiny
    with libqwen.Model(path, load="vocabulary") as model:
        ids, _ = model.render(facts["chat_messages"])
    assert ids == golden["chat_ids"].tolist()


def test_prompt_is_tokenized_as_in_the_reference(tiny):
    path, golden, facts = tiny
    with libqwen.Model(path, load="vocabulary") as model:
        assert list(model.tokenize(facts["prompt"])) == golden["input_ids"].tolist()


@pytest.mark.parametrize("compute", ["auto", "float32", "bfloat16"])
@pytest.mark.parametrize("kv_cache", ["f16", "f32", "q8", "q4"])
def test_bits_do_not_depend_on_cutting_threads_or_cache(tiny, compute, kv_cache):
    path, golden, _ = tiny
    ids = golden["input_ids"].tolist()
    with libqwen.Model(path, compute=compute, threads=1) as model:
        with model.session(kv_cache=kv_cache) as session:
            whole = bits(session.logits(ids))
            session.logits(ids[:5] + [ids[0]] * 3)
            assert np.array_equal(bits(session.logits(ids, first=len(ids) - 4)), whole[-4:]), "warm"
        for chunk in (7, 1):
            with model.session(kv_cache=kv_cache, prefill_chunk=chunk) as session:
                assert np.array_equal(bits(session.logits(ids)), whole), f"chunks of {chunk}"
    for threads, pack in ((2, "auto"), (3, "on"), (1, "off")):
        with libqwen.Model(path, compute=compute, threads=threads, pack=pack) as model:
            with model.session(kv_cache=kv_cache) as session:
                assert np.array_equal(bits(session.logits(ids)), whole), f"{threads} threads, packed {pack}"
