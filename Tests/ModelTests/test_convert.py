"""Files that are written: read by the gguf and safetensors packages, run again, killed, stopped, out of space."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import libqwen
import numpy as np
import pytest
import wide
from conftest import EXACT, FIXTURES, ROOT
from safetensors import safe_open
from safetensors.numpy import load_file
from test_weights import FORMATS, ROUNDED_ALIKE, logits, part

gguf = pytest.importorskip("gguf")

TINY = FIXTURES / "tiny"
FOLDERS = sorted(p.parent.name for p in TINY.glob("*/config.json"))
FILES = sorted(p.parent.name for p in TINY.glob("*/model.gguf"))
IDS = list(range(20, 60))
#: Dense layers among those of experts: no GGUF file can say that.
UNSAYABLE = {"qwen2-moe"}


def bits(values: np.ndarray) -> np.ndarray:
    return np.asarray(values).view(np.uint32)


def check_logits(family: str, found: np.ndarray, wanted: np.ndarray) -> None:
    """The same bits; heads of llama are interleaved in files, so that attention adds in another order."""
    if family == "llama":
        assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()
    else:
        assert np.array_equal(bits(found), bits(wanted))


@pytest.fixture(scope="module", params=list(wide.FAMILIES))
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, folder, wide.write(folder, request.param)


def gguf_name(name: str) -> str:
    """The name of a tensor in a GGUF file, "" for a part of a stack."""
    sys.path.insert(0, str(ROOT / "Tests" / "Tools"))
    whole = {"transformer.wte": "token_embd", "transformer.ln_f": "output_norm", "model.embed_tokens": "token_embd",
             "model.norm": "output_norm", "lm_head": "output"}
    parts = {"ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
             "mlp.w1": "ffn_up", "mlp.w2": "ffn_gate", "mlp.c_proj": "ffn_down", "input_layernorm": "attn_norm",
             "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
             "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
             "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
             "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp", "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
             "mlp.shared_expert.up_proj": "ffn_up_shexp", "mlp.shared_expert.down_proj": "ffn_down_shexp",
             "mlp.shared_expert_gate": "ffn_gate_inp_shexp"}  # fmt: skip
    stem, suffix = name.rsplit(".", 1)
    if stem in whole:
        return f"{whole[stem]}.{suffix}"
    pieces = stem.split(".")
    rest = ".".join(pieces[3:])
    return f"blk.{pieces[2]}.{parts[rest]}.{suffix}" if rest in parts else ""


def interleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys as llama.cpp wants them: j and j + D/2 beside each other."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


@pytest.mark.parametrize("word", ROUNDED_ALIKE)
def test_gguf_reads_the_tensors_that_gguf_would_write(model, word, tmp_path):
    family, folder, weights = model
    out = tmp_path / "out.gguf"
    libqwen.convert(folder, out, weights=word, rounding="plain")
    reader = gguf.GGUFReader(out)
    found = {tensor.name: tensor for tensor in reader.tensors}
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    expected = {}
    for name, values in weights.items():
        if family == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
            values = interleaved(values, heads)
        if gguf_name(name):
            expected[gguf_name(name)] = (values, part(name))
    for layer in range(config["num_hidden_layers"] if "moe" in family else 0):
        for kind in ("gate", "up", "down"):
            stack = [weights[f"model.layers.{layer}.mlp.experts.{e}.{kind}_proj.weight"] for e in range(config["num_experts"])]
            expected[f"blk.{layer}.ffn_{kind}_exps.weight"] = (np.stack(stack), "layers")
    assert found.keys() == expected.keys()
    large = "q8_0" if word in ("q4_0", "q4_1") else word
    for name, (values, where) in expected.items():
        if name.endswith("ffn_gate_inp_shexp.weight"):
            values = values.reshape(-1)
        kinds = {"layers": word, "head": large, "embeddings": large, "router": "f32"}
        kind = gguf.GGMLQuantizationType[(kinds[where] if values.ndim > 1 else "f32").upper()]
        assert found[name].tensor_type == kind, name
        assert [int(n) for n in found[name].shape] == list(values.shape)[::-1], name
        wanted = gguf.quantize(values, kind)
        assert found[name].data.tobytes() == wanted.tobytes(), name


def test_metadata_is_complete(model, tmp_path):
    family, folder, _ = model
    out = tmp_path / "out.gguf"
    libqwen.convert(folder, out, weights="q8_0")
    fields = {name: field.contents() for name, field in gguf.GGUFReader(out).fields.items() if not name.startswith("GGUF.")}
    arch = fields["general.architecture"]
    assert arch == {"qwen2-tied": "qwen2", "qwen2-moe": "qwen2moe", "qwen3-moe": "qwen3moe"}.get(family, family)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert fields[f"{arch}.block_count"] == config["num_hidden_layers"]
    assert fields[f"{arch}.embedding_length"] == wide.HIDDEN
    assert fields[f"{arch}.feed_forward_length"] == config["intermediate_size"]
    assert fields[f"{arch}.attention.head_count"] == config["num_attention_heads"]
    assert fields[f"{arch}.context_length"] == config["max_position_embeddings"]
    assert fields[f"{arch}.rope.freq_base"] == config.get("rope_theta", config.get("rotary_emb_base"))
    epsilon = config.get("rms_norm_eps", config.get("layer_norm_epsilon"))
    assert fields[f"{arch}.attention.layer_norm_rms_epsilon"] == pytest.approx(epsilon)
    rows = config["vocab_size"]
    assert len(fields["tokenizer.ggml.tokens"]) == len(fields["tokenizer.ggml.token_type"]) == rows
    assert len(set(fields["tokenizer.ggml.tokens"])) == rows
    assert fields["tokenizer.ggml.model"] == "gpt2"
    assert fields["tokenizer.ggml.pre"] == ("smollm" if family == "llama" else "qwen2")
    assert fields["general.file_type"] == 7 and fields["general.quantization_version"] == 2
    assert "<|im_start|>" in fields["tokenizer.chat_template"]
    with libqwen.Model(str(folder), load="vocabulary") as vocabulary:
        assert fields["tokenizer.ggml.eos_token_id"] in vocabulary.info["stop_ids"]


@pytest.mark.parametrize("container", ["gguf", "folder"])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_copy_is_the_same_model(name, container, tmp_path):
    if container == "gguf" and name in UNSAYABLE:
        with pytest.raises(libqwen.QwenUnsupportedError, match="layers without experts"):
            libqwen.convert(TINY / name, tmp_path / "out.gguf")
        assert not list(tmp_path.iterdir())
        return
    out = tmp_path / ("out.gguf" if container == "gguf" else "out")
    libqwen.convert(TINY / name, out)
    golden = load_file(TINY / name / "golden.safetensors")
    facts = json.loads((TINY / name / "golden.json").read_text(encoding="utf-8"))
    with libqwen.Model(str(TINY / name), **EXACT) as before, libqwen.Model(str(out), **EXACT) as after:
        same = ["chat_format", "default_system", "stop_ids", "defaults", "dynamic_ntk", "logn", "trained_context", "context"]
        assert {key: after.info[key] for key in same} == {key: before.info[key] for key in same}
        assert list(after.tokenize(facts["prompt"])) == golden["input_ids"].tolist()
        assert after.render(facts["chat_messages"])[0] == golden["chat_ids"].tolist()
        texts = ["naïve 你好  1234\n\n\tdon't", facts["prompt"], "<|im_start|>"]
        for text in texts:
            assert list(after.tokenize(text)) == list(before.tokenize(text))
            assert list(after.tokenize(text, special="all")) == list(before.tokenize(text, special="all"))
        with before.session(kv_cache="f32") as one, after.session(kv_cache="f32") as two:
            ids = golden["input_ids"].tolist()
            check_logits(before.info["family"] if container == "gguf" else "", two.logits(ids), one.logits(ids))


@pytest.mark.parametrize("name", FILES)
def test_files_become_files(name, tmp_path):
    out = tmp_path / "out.gguf"
    path = TINY / name / "model.gguf"
    libqwen.convert(path, out)
    before, after = gguf.GGUFReader(path), gguf.GGUFReader(out)
    for field in before.fields:
        if not field.startswith("GGUF.") and field not in ("general.file_type", "general.quantization_version"):
            assert after.fields[field].contents() == before.fields[field].contents(), field
    assert np.array_equal(bits(logits(path)), bits(logits(out)))
    with pytest.raises(libqwen.QwenUnsupportedError, match="tokenizer files"):
        libqwen.convert(path, tmp_path / "folder")


@pytest.mark.parametrize("word", FORMATS)
def test_what_is_written_computes_what_loading_does(model, word, tmp_path):
    family, folder, weights = model
    embeddings = "f32" if "lm_head.weight" not in weights else None
    head = {"head": "f32"} if embeddings else {}
    wanted = bits(logits(folder, weights=word, **head))
    libqwen.convert(folder, tmp_path / "packed", weights=word, embeddings="f32", rounding="plain", **head)
    assert np.array_equal(bits(logits(tmp_path / "packed")), wanted)
    with libqwen.Model(str(tmp_path / "packed"), pack="off") as packed:
        memory = packed.info["memory"]
        assert packed.info["formats"]["layers"].lower() == word
        assert memory["mapped_bytes"] > 0.9 * memory["weight_bytes"]
    with safe_open(tmp_path / "packed" / "model.safetensors", framework="numpy") as file:
        assert set(file.keys()) == set(weights)
    out = tmp_path / "out.gguf"
    if word.upper() in gguf.GGMLQuantizationType.__members__:
        libqwen.convert(folder, out, weights=word, embeddings="f32", rounding="plain", **head)
        check_logits(family, logits(out), logits(tmp_path / "packed"))
    else:
        with pytest.raises(libqwen.QwenOptionError, match="weights"):
            libqwen.convert(folder, out, weights=word, rounding="plain")


@pytest.mark.parametrize("word", ["q4_0", "q8_0", "q6_k", "nf4", "nf4-double", "int8"])
def test_interleaved_folders_map_as_they_are(model, word, tmp_path):
    family, folder, _ = model
    options = {"weights": word, "rounding": "plain", "embeddings": "f32", "head": word}
    libqwen.convert(folder, tmp_path / "rows", **options)
    libqwen.convert(folder, tmp_path / "groups", pack="on", **options)
    for how in ({}, {"pack": "on"}, {"pack": "off"}, EXACT, {"load": "copy"}):
        found = []
        for name in ("rows", "groups"):
            with libqwen.Model(str(tmp_path / name), **how) as one, one.session() as session:
                found.append(bits(session.logits(IDS)))
        assert np.array_equal(*found), how
    with libqwen.Model(str(tmp_path / "groups"), pack="on") as packed:
        assert packed.info["memory"]["mapped_bytes"] > 0.9 * packed.info["memory"]["weight_bytes"]
    path = tmp_path / "groups" / "model.safetensors"
    with safe_open(path, framework="numpy") as file:
        notes = [note.split()[0] for name, note in file.metadata().items() if name != "format"]
    form = next(note for note in notes if note.lower().startswith(f"{word}x16"))
    # Converted again, rows come out of their groups.
    libqwen.convert(tmp_path / "groups", tmp_path / "again", **(options | {"weights": "f32", "head": "f32"}))
    libqwen.convert(tmp_path / "rows", tmp_path / "other", **(options | {"weights": "f32", "head": "f32"}))
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (tmp_path / "other" / "model.safetensors").read_bytes()
    # A form that this version does not know.
    path.write_bytes(path.read_bytes().replace(form.encode(), form.replace("x16", "x99").encode()))
    with pytest.raises(libqwen.QwenUnsupportedError, match="x99"):
        libqwen.Model(str(tmp_path / "groups"))


def test_what_exists_is_kept_unless_asked(tmp_path):
    source = TINY / "qwen2-tied"
    for out in (tmp_path / "a.gguf", tmp_path / "folder"):
        libqwen.convert(source, out)
        with pytest.raises(libqwen.QwenIOError, match="exists already"):
            libqwen.convert(source, out)
        libqwen.convert(source, out, weights="f16", overwrite=True)
        with libqwen.Model(str(out)) as model:
            assert model.info["formats"]["layers"] == "F16"
    libqwen.convert(tmp_path / "a.gguf", tmp_path / "a.gguf", weights="f32", overwrite=True)
    precious = tmp_path / "precious"
    shutil.copytree(source, precious)
    with pytest.raises(libqwen.QwenIOError, match="not written by this library"):
        libqwen.convert(source, precious, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gguf", "folder", "precious"]


@pytest.mark.parametrize("out", ["a.gguf", "folder"])
def test_stopping_leaves_nothing(model, out, tmp_path):
    with pytest.raises(libqwen.QwenCancelledError):
        libqwen.convert(
            model[1], tmp_path / out, weights="q4_0", progress=lambda stage, f: stage != "convert" or f < 0.4
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["a.gguf", "folder"])
def test_a_full_disk_is_an_error_and_leaves_nothing(model, out, tmp_path):
    """In a process of its own, whose files may have 100 KB and which a signal for that would end."""
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(ROOT / "bindings" / "python")!r})
import libqwen
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
try:
    libqwen.convert({str(model[1])!r}, {str(tmp_path / out)!r}, weights="f16")
except libqwen.QwenIOError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "can't be written" in run.stdout and "100000" in run.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["a.gguf", "folder"])
def test_a_killed_conversion_leaves_no_half_file(model, out, tmp_path):
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT / "bindings" / "python")!r})
import libqwen
def progress(stage, fraction):
    if stage == "convert" and fraction > 0.5:
        os.kill(os.getpid(), signal.SIGKILL)
libqwen.convert({str(model[1])!r}, {str(tmp_path / out)!r}, weights="q8_0", progress=progress)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert run.returncode == -signal.SIGKILL
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == 1 and left[0].startswith(f".{out}.") and left[0].endswith(".part")


def test_a_packed_form_of_another_version_is_refused_by_name(tmp_path):
    wide.write(tmp_path / "m", "qwen2")
    libqwen.convert(tmp_path / "m", tmp_path / "p", weights="q6_k", pack="on")
    path = tmp_path / "p" / "model.safetensors"
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = data[8:end].replace(b"Q6_Kx16s", b"Q6_Kx16")
    assert len(header) < end - 8
    path.write_bytes(data[:8] + header.ljust(end - 8) + data[end:])
    with pytest.raises(libqwen.QwenUnsupportedError, match='element type "Q6_Kx16"; .* must be converted again'):
        libqwen.Model(tmp_path / "p")


@pytest.mark.parametrize("word", ["on", "auto"])
def test_a_file_can_not_hold_interleaved_rows(tmp_path, word):
    wide.write(tmp_path / "m", "qwen2")
    with pytest.raises(libqwen.QwenOptionError, match='option "pack": a GGUF file holds rows as they are'):
        libqwen.convert(tmp_path / "m", tmp_path / "out.gguf", weights="q4_0", pack=word)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_memory_stays_small(tmp_path):
    """300 MB of floats are converted in far less than that."""
    folder = tmp_path / "large"
    wide.write(folder, "qwen2", hidden_size=1024, intermediate_size=4096, num_hidden_layers=5)
    size = (folder / "model.safetensors").stat().st_size
    assert size > 250 << 20
    for out, options in (("a.gguf", {}), ("b", {"weights": "q4_0"}), ("c", None)):
        call = f"libqwen.convert(path, {str(tmp_path / out)!r}, **{options})" if options is not None else (
            "model = libqwen.Model(path, weights='q4_0')"
        )
        code = f"""
import resource, sys
sys.path.insert(0, {str(ROOT / "bindings" / "python")!r})
import libqwen
path = {str(folder)!r}
libqwen.describe("build")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{call}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peak = int(run.stdout) << 10
        # Loading keeps 4.5 of 32 bits; nothing else does.
        assert peak < (size * 4.5 / 32 if options is None else 0) + (48 << 20), out
