"""`qwen quality` against the same numbers from logits."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import libqwen
import numpy as np
import pytest
import wide
from conftest import FIXTURES

QWEN = Path(os.environ.get("LIBQWEN_LIBRARY", "")).parents[1] / "bin" / "qwen"
TEXT = FIXTURES / "text" / "english.txt"


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


@pytest.mark.skipif(not QWEN.exists(), reason="no command beside the library")
def test_the_table_is_that_of_the_logits(tmp_path):
    wide.write(tmp_path, "qwen2")
    command = [str(QWEN), "quality", str(tmp_path), "--text", str(TEXT), "--weights", "stored,q4_0", "--json"]
    command += ["--tokens", "100", "--window", "40", "--rounding", "plain,best", "--files", str(tmp_path / "q4.gguf")]
    libqwen.convert(tmp_path, tmp_path / "q4.gguf", weights="q4_0", embeddings="f32")
    table = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert table["tokens"] == 97
    with libqwen.Model(str(tmp_path), compute="float32") as model:
        ids = list(model.tokenize(TEXT.read_text(encoding="utf-8")))[:100]
    windows = [ids[0:40], ids[40:80], ids[80:100]]
    reference = None
    rows = {(row["weights"], row["rounding"], row["compute"]): row for row in table["rows"]}
    named = [("stored", ""), ("q4_0", "plain"), ("q4_0", "best"), ("q4.gguf", "")]
    assert rows.keys() == {(*name, c) for name in named for c in ("auto", "float32")}
    # Loading and converting round alike.
    assert rows["q4.gguf", "", "float32"]["mean_kl"] == rows["q4_0", "best", "float32"]["mean_kl"]
    for weights, rounding, compute in [("stored", "", "float32"), *(("q4_0", r, c) for r in ("plain", "best") for c in ("auto", "float32"))]:
        how = {"compute": compute, "weights": weights} | ({"rounding": rounding} if rounding else {})
        with libqwen.Model(str(tmp_path), **how) as model, model.session(context=128) as session:
            logs = np.concatenate([log_softmax(session.logits(w)[:-1]) for w in windows])
        targets = [token for w in windows for token in w[1:]]
        reference = logs if reference is None else reference
        row = rows[weights, rounding, compute]
        perplexity = np.exp(-logs[np.arange(97), targets].mean())
        assert row["perplexity"] == pytest.approx(perplexity, rel=1e-6)
        divergence = (np.exp(reference) * (reference - logs)).sum(axis=1).mean()
        assert row["mean_kl"] == pytest.approx(divergence, rel=1e-5, abs=1e-9)
        assert row["top1_agreement"] == pytest.approx((reference.argmax(1) == logs.argmax(1)).mean())
        assert row["rss_bytes"] > 0 and row["tokens_per_second"] > 0
    assert rows["q4_0", "plain", "auto"]["layer_bits_per_weight"] == pytest.approx(4.5)
    assert rows["stored", "", "float32"]["mean_kl"] == 0
    assert table["reference_perplexity"] == rows["stored", "", "float32"]["perplexity"]


@pytest.mark.parametrize(
    ("slip", "words"),
    [(["--rounding", "plain,bestest"], b'"rounding"'), (["--files", "missing.gguf"], b"missing.gguf"), (["--compute", "auto,double"], b'"compute"')],
)
def test_a_slip_is_told_before_anything_is_measured(slip, words, tmp_path):
    (tmp_path / "text").write_text("It was a bright cold day.")
    command = [QWEN, "quality", FIXTURES / "tiny" / "llama", "--text", tmp_path / "text", "--weights", "stored,q4_0", *slip]
    run = subprocess.run(command, capture_output=True, check=False)
    assert run.returncode == 1 and words in run.stderr and b"|" not in run.stderr
