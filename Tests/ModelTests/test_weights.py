"""Weights converted while loading: against the gguf package's bytes, in memory, stopped, on odd shapes."""

from __future__ import annotations

import shutil

import libqwen
import numpy as np
import pytest
import wide
from conftest import EXACT, FIXTURES
from safetensors.numpy import save_file

gguf = pytest.importorskip("gguf")

FORMATS = {entry["option"]: entry for entry in libqwen.describe("formats")["formats"] if entry["option"]}
#: Formats whose rounding is that of the gguf package.
ROUNDED_ALIKE = ["f32", "f16", "bf16", "q4_0", "q4_1", "q8_0"]
IDS = list(range(20, 60))


def logits(path, **options) -> np.ndarray:
    with libqwen.Model(str(path), **EXACT, **options) as model, model.session(kv_cache="f32") as session:
        return session.logits(IDS)


def rounded(values: np.ndarray, word: str) -> np.ndarray:
    kind = gguf.GGMLQuantizationType[word.upper()]
    return gguf.dequantize(gguf.quantize(values, kind), kind).reshape(values.shape)


def part(name: str) -> str:
    if name.endswith(("wte.weight", "embed_tokens.weight")):
        return "embeddings"
    if name == "lm_head.weight":
        return "head"
    if name.endswith((".mlp.gate.weight", "shared_expert_gate.weight")):
        return "router"
    return "layers"


@pytest.fixture(scope="module", params=list(wide.FAMILIES))
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return folder, wide.write(folder, request.param)


@pytest.mark.parametrize("word", ROUNDED_ALIKE)
def test_logits_are_those_of_weights_rounded_by_gguf(model, word, tmp_path):
    folder, weights = model
    copy = tmp_path / "rounded"
    shutil.copytree(folder, copy)
    head = "q8_0" if word in ("q4_0", "q4_1") else word
    kinds = {"layers": word, "head": head, "embeddings": "f32", "router": "f32"}
    tied = "lm_head.weight" not in weights
    save_file(
        {n: rounded(v, kinds[part(n)]) if v.ndim == 2 else v for n, v in weights.items()},
        copy / "model.safetensors",
    )
    if tied:
        # The head is made from the embedding on its own: undo what it can't have in the copy.
        found, wanted = logits(folder, weights=word, head="f32"), logits(copy)
    else:
        found, wanted = logits(folder, weights=word), logits(copy)
    assert np.array_equal(found.view(np.uint32), wanted.view(np.uint32))


@pytest.mark.parametrize("word", FORMATS)
def test_every_format_loads_and_answers_like_the_floats(model, word):
    folder, _ = model
    reference = logits(folder)
    found = logits(folder, weights=word)
    assert np.isfinite(found).all()
    error = np.linalg.norm(found - reference) / np.linalg.norm(reference)
    # Another choice of experts is another function: there only the end of the scale is sure.
    steepness = 7 if "moe" not in folder.name else 3
    assert error < 4.0 * 2.0 ** -min(FORMATS[word]["bits_per_weight"] - 2, steepness)
    with libqwen.Model(str(folder), weights=word) as opened:
        parts = {p["part"]: p for p in opened.info["parts"] if p["part"] != "router"}
        assert parts["layers"]["format"].lower() == word
        assert parts["embeddings"]["format"] == "F32"
        assert parts["embeddings"]["mapped_bytes"] == parts["embeddings"]["bytes"]
        for p in parts.values():
            assert p["mapped_bytes"] == (p["bytes"] if p["format"] == "F32" else 0)


def test_a_tied_head_has_a_format_of_its_own(tmp_path):
    weights = wide.write(tmp_path, "qwen2-tied")
    assert "lm_head.weight" not in weights
    with libqwen.Model(str(tmp_path), weights="q4_0") as model:
        parts = {p["part"]: p["format"] for p in model.info["parts"]}
        assert parts == {"embeddings": "F32", "layers": "Q4_0", "head": "Q8_0"}
    with libqwen.Model(str(tmp_path), weights="q4_0", head="q4_0", embeddings="q4_0") as model:
        assert {p["part"]: p["format"] for p in model.info["parts"]} == {"embeddings": "Q4_0", "layers": "Q4_0"}
    untied = logits(tmp_path, head="q8_0")
    both = {**weights, "lm_head.weight": rounded(weights["model.embed_tokens.weight"], "q8_0")}
    other = tmp_path / "untied"
    wide.write(other, "qwen2-tied", tie_word_embeddings=False)
    save_file(both, other / "model.safetensors")
    assert np.array_equal(untied, logits(other))


@pytest.mark.parametrize("name", ["qwen2-untied", "qwen-launch", "qwen3-moe", "llama-gguf-q4"])
@pytest.mark.parametrize("word", FORMATS)
def test_odd_rows_take_a_wider_format(name, word):
    path = FIXTURES / "tiny" / name
    path = path / "model.gguf" if (path / "model.gguf").exists() else path
    with libqwen.Model(str(path)) as model:
        stored = {p["format"] for p in model.info["parts"]}
    with libqwen.Model(str(path), weights=word, embeddings=word) as model:
        bits = {entry["name"]: entry["bits_per_weight"] for entry in FORMATS.values()}
        for p in model.info["parts"]:
            if p["part"] == "layers":
                wider = p["bits_per_weight"] > bits[FORMATS[word]["name"]]
                assert p["format"].lower() == word or wider or p["format"] in stored
        assert np.isfinite(logits(path, weights=word)).all()


def bytes_of(parts):
    """Bytes by part and format; a plan counts a router of one row with the vectors."""
    keys = [(p["part"], p["format"]) for p in parts if p["part"] != "router"]
    numbers = [(p["bytes"], p["mapped_bytes"]) for p in parts if p["part"] != "router"]
    return dict(zip(keys, numbers, strict=True))


@pytest.mark.parametrize("options", [{"weights": "q4_0"}, {"head": "f16"}, {"weights": "f16", "embeddings": "q8_0"}])
def test_the_plan_is_what_comes(model, options):
    paths = [model[0], FIXTURES / "tiny" / "qwen2-moe", FIXTURES / "tiny" / "llama-gguf-q4" / "model.gguf"]
    for path in paths:
        plan = libqwen.Model.plan(str(path), **options)["weights"]
        with libqwen.Model(str(path), **options) as opened:
            assert bytes_of(plan["parts"]) == bytes_of(opened.info["parts"])
            assert plan["bytes"] == opened.info["memory"]["weight_bytes"]


def test_threads_change_nothing(model):
    folder, _ = model
    for word in ("q4_0", "nf4") if "nf4" in FORMATS else ("q4_0",):
        one, three = logits(folder, weights=word, threads=1), logits(folder, weights=word, threads=3)
        assert np.array_equal(one.view(np.uint32), three.view(np.uint32))


def test_copying_leaves_nothing_mapped(model):
    folder, _ = model
    assert np.array_equal(
        logits(folder, weights="q8_0", load="copy").view(np.uint32), logits(folder, weights="q8_0").view(np.uint32)
    )
    with libqwen.Model(str(folder), weights="q8_0", load="copy") as model:
        assert model.info["memory"]["mapped_bytes"] == 0


def test_progress_rises_and_stops_the_load(model):
    folder, _ = model
    seen = []

    def progress(stage, fraction):
        if stage == "weights":
            seen.append(fraction)

    with libqwen.Model(str(folder), weights="q4_0", progress=progress):
        pass
    assert seen == sorted(seen) and 0.9 < seen[-1] <= 1 and len(seen) > 5
    with pytest.raises(libqwen.QwenCancelledError):
        libqwen.Model(str(folder), weights="q4_0", progress=lambda stage, f: stage != "weights" or f < 0.5)


@pytest.mark.parametrize("options", [{"weights": "q4"}, {"head": "Q8_0"}, {"embeddings": 8}])
def test_wrong_formats_are_named(model, options):
    with pytest.raises(libqwen.QwenOptionError, match=next(iter(options))):
        libqwen.Model(str(model[0]), **options)
