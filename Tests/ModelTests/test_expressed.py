"""The real model in other families' layouts (Tests/Tools/smollm2.py express): the same function, the same text."""

from __future__ import annotations

import shutil
import subprocess
import sys

import libqwen
import pytest
from conftest import EXACT, FIXTURES, GREEDY, ROOT, perplexity

#: Control tokens in front of SmolLM2's vocabulary; the layout of the first generation has them at its end.
CONTROLS = 17


@pytest.fixture(scope="module", params=["qwen", "qwen2"])
def expressed(request, tmp_path_factory, smollm2_path):
    pytest.importorskip("gguf")
    folder = tmp_path_factory.mktemp("expressed") / request.param
    tool = ROOT / "Tests" / "Tools" / "smollm2.py"
    subprocess.run([sys.executable, str(tool), "express", "--as", request.param, str(folder)], check=True)
    with libqwen.Model(str(folder), **EXACT) as model:
        yield request.param, model
    shutil.rmtree(folder)


def test_ten_greedy_texts_are_those_of_transformers(expressed, smollm2_golden):
    family, model = expressed
    runs = [run for run in smollm2_golden["runs"] if run["same_in_qwen"]]
    for run in runs[:5] + runs[-5:]:
        with model.session(kv_cache="f32", context=512) as session:
            options = {"max_new_tokens": smollm2_golden["new_tokens"], "top_p": 1.0, **GREEDY}
            if "messages" in run:
                result = session.chat(run["messages"], **options)
            else:
                result = session.generate(run["prompt"], **options)
        assert result.text == run["text"], family
        assert result.usage["prompt_tokens"] == len(run["prompt_ids"])


def test_perplexity_is_that_of_transformers(expressed, smollm2_path, smollm2_golden):
    family, model = expressed
    text = (FIXTURES / "text" / "english.txt").read_text(encoding="utf-8")
    with libqwen.Model(smollm2_path, load="vocabulary") as vocabulary:
        ids = list(vocabulary.tokenize(text))
    if family == "qwen":
        assert min(ids) >= CONTROLS
        ids = [token - CONTROLS for token in ids]
    found = perplexity(model, ids, 512)
    wanted = smollm2_golden["perplexity"]["perplexity"]
    print(f"{family}: perplexity {found:.4f}, transformers {wanted:.4f}")
    assert found == pytest.approx(wanted, rel=1e-3)


def test_padding_and_shuffling_change_nothing(tmp_path, smollm2_path):
    pytest.importorskip("gguf")
    tool = ROOT / "Tests" / "Tools" / "smollm2.py"
    arguments = ["express", "--as", "llama", "--pad", "--shuffle", "1", str(tmp_path / "wide")]
    subprocess.run([sys.executable, str(tool), *arguments], check=True)
    logits = []
    for path in (smollm2_path, str(tmp_path / "wide")):
        with libqwen.Model(path, **EXACT) as model, model.session(kv_cache="f32", context=128) as session:
            ids = list(model.tokenize((FIXTURES / "text" / "english.txt").read_text(encoding="utf-8")))[:100]
            logits.append(session.logits(ids))
            hidden = model.info["hidden_size"]
    shutil.rmtree(tmp_path / "wide")
    assert hidden == 768
    difference = abs(logits[0] - logits[1]).max() / abs(logits[0]).max()
    print(f"padded and shuffled: {difference:.1e} of the largest logit")
    assert difference < 1e-4
