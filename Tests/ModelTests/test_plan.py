"""The plan of memory: what headers say, what sessions then take, what is refused."""

from __future__ import annotations

import json
import math
import resource
import shutil
import struct

import libqwen
import pytest
from conftest import FIXTURES

TINY = FIXTURES / "tiny"
FOLDERS = ["qwen-launch", "qwen-ntk", "qwen2-tied", "qwen2-untied", "qwen3", "qwen2-moe", "llama"]
WIDTHS = {"F32": 4, "F16": 2, "BF16": 2}


def tensors(folder):
    """Element type and shape of every tensor, read here."""
    found = {}
    for path in folder.glob("model*.safetensors"):
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        found |= {key: value for key, value in header.items() if key != "__metadata__"}
    return found


@pytest.mark.parametrize("name", FOLDERS)
def test_bytes_of_weights_are_those_of_the_headers(name):
    plan = libqwen.Model.plan(TINY / name)
    matrices, vectors = 0, 0
    for entry in tensors(TINY / name).values():
        shape = [size for size in entry["shape"]]
        if len(shape) > 1 and shape[0] > 1:
            matrices += math.prod(shape) * WIDTHS[entry["dtype"]]
        else:
            vectors += math.prod(shape) * 4
    assert plan["weights"]["mapped_bytes"] == matrices
    assert plan["weights"]["norms_and_biases_bytes"] == vectors
    assert plan["weights"]["bytes"] == matrices + vectors
    assert libqwen.Model.plan(TINY / name, load="copy")["weights"]["mapped_bytes"] == 0


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("kv_cache", ["f16", "f32"])
def test_a_session_takes_what_was_planned(name, kv_cache):
    options = {"context": 200, "kv_cache": kv_cache, "prefill_chunk": 16}
    plan = libqwen.Model.plan(TINY / name, threads=2, **options)
    with libqwen.Model(TINY / name, threads=2) as model, model.session(**options) as session:
        info, facts = session.info()["memory"], model.info
    assert plan["session"]["kv_bytes"] == info["kv_bytes_at_context"]
    assert plan["session"]["workspace_bytes"] == info["workspace_bytes"]
    width = {"f16": 2, "f32": 4}[kv_cache]
    per_token = 2 * facts["layers"] * facts["kv_heads"] * facts["head_dim"] * width
    assert plan["session"]["kv_bytes_per_token"] == per_token
    assert plan["session"]["kv_bytes"] == per_token * 256
    parts = plan["weights"]["bytes"] + info["kv_bytes_at_context"] + info["workspace_bytes"]
    assert plan["total_bytes"] == parts


def test_the_limit_of_a_model_is_exact():
    path, options = TINY / "qwen2-untied", {"context": 128}
    needed = libqwen.Model.plan(path, threads=1, **options)["total_bytes"]
    with libqwen.Model(path, threads=1, max_memory=needed) as model:
        with model.session(**options):
            with pytest.raises(libqwen.QwenMemoryError):
                model.session(**options)
        model.session(**options).close()
    with libqwen.Model(path, threads=1, max_memory=needed - 1) as model:
        with pytest.raises(libqwen.QwenMemoryError) as caught:
            model.session(**options)
        assert caught.value.key == "max_memory"
        assert str(needed) in caught.value.message and str(needed - 1) in caught.value.message
        assert '"context": 64 fits' in str(caught.value)
        model.session(context=64).close()
    assert libqwen.Model.plan(path, threads=1, max_memory=needed, **options)["fits"] is True
    assert libqwen.Model.plan(path, threads=1, max_memory=needed - 1, **options)["fits"] is False


def test_the_limit_of_a_session_is_exact():
    with libqwen.Model(TINY / "qwen3", threads=1) as model:
        with model.session(context=128) as session:
            memory = session.info()["memory"]
        needed = memory["kv_bytes_at_context"] + memory["workspace_bytes"]
        model.session(context=128, max_memory=needed).close()
        with pytest.raises(libqwen.QwenMemoryError, match="session's"):
            model.session(context=128, max_memory=needed - 1)


def test_weights_beyond_the_limit_are_not_read():
    with pytest.raises(libqwen.QwenMemoryError) as caught:
        libqwen.Model(TINY / "qwen3", load="copy", max_memory="1 KiB")
    assert caught.value.key == "max_memory" and "1024 bytes" in caught.value.message
    for wrong in ("much", 0, -1, "-2G", 1.5, "1e99", "9999999T"):
        with pytest.raises(libqwen.QwenOptionError):
            libqwen.Model(TINY / "qwen3", max_memory=wrong)


def test_a_context_beyond_the_machine_is_refused():
    with libqwen.Model(TINY / "qwen2-moe") as model:
        with pytest.raises(libqwen.QwenMemoryError, match="what this machine has"):
            model.session(context=1 << 28, kv_cache="f32")
        model.session(context=64).close()


def test_a_plan_reads_headers_only(tmp_path):
    """The sizes of Qwen-7B in a file that is one hole."""
    hidden, rows, inner = 4096, 151936, 11008
    shapes = {"transformer.wte.weight": [rows, hidden], "lm_head.weight": [rows, hidden]}
    for layer in range(32):
        at = f"transformer.h.{layer}."
        shapes |= {
            at + "ln_1.weight": [hidden],
            at + "attn.c_attn.weight": [3 * hidden, hidden],
            at + "attn.c_attn.bias": [3 * hidden],
            at + "attn.c_proj.weight": [hidden, hidden],
            at + "ln_2.weight": [hidden],
            at + "mlp.w1.weight": [inner, hidden],
            at + "mlp.w2.weight": [inner, hidden],
            at + "mlp.c_proj.weight": [hidden, inner],
        }
    shapes["transformer.ln_f.weight"] = [hidden]
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    assert end == 15_442_649_088
    text = json.dumps(header).encode()
    with open(tmp_path / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    config = json.loads((TINY / "qwen-ntk" / "config.json").read_text(encoding="utf-8"))
    config |= {
        "hidden_size": hidden,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "kv_channels": 128,
        "intermediate_size": 2 * inner,
        "vocab_size": rows,
        "seq_length": 8192,
        "max_position_embeddings": 32768,
    }
    config.pop("padded_vocab_size", None)
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan = libqwen.Model.plan(tmp_path, contexts=[2048, 8192], max_memory="24 GiB")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    parts = {part["part"]: part["bytes"] for part in plan["weights"]["parts"]}
    assert parts["embeddings"] == parts["head"] == 2 * 622_329_856
    assert parts["layers"] == 2 * 6_476_005_376
    assert plan["session"]["kv_bytes_per_token"] == 512 * 1024
    assert [row["kv_bytes"] for row in plan["contexts"]] == [1 << 30, 4 << 30]
    assert [row["fits"] for row in plan["contexts"]] == [True, True]
    assert 16000 < plan["memory"]["context_that_fits"] < 24576
    for name in ("qwen.tiktoken", "generation_config.json"):
        shutil.copy(TINY / "qwen-ntk" / name, tmp_path)
    with libqwen.Model(tmp_path, max_memory="24 GiB") as model:
        with pytest.raises(libqwen.QwenMemoryError, match='"context": [0-9]+ fits'):
            model.session(context=32768)
