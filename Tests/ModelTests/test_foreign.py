"""Folders that other programs quantised, whole: our logits on their weights are those on the float weights they mean.

The float folders are read as every other one, which test_tiny holds against PyTorch; that values are exact, on bytes of
the programs themselves, is for ForeignTests.swift. Here it is names, biases, orders of inputs, sizes and plans.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys

import libqwen
import numpy as np
import pytest
from conftest import EXACT, FIXTURES, ROOT

sys.path.insert(0, str(ROOT / "Tests" / "Tools"))
import foreign_packing as packing

TINY = FIXTURES / "tiny"
TYPES = {"float32": "F32", "float16": "F16", "int32": "I32", "uint8": "U8", "int8": "I8"}
HIDDEN, INNER, LAYERS, HEADS = 128, 192, 2, 4
NF4 = np.array(
    [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635]
    + [-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725]
    + [0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941]
    + [0.7229568362236023, 1.0],
    np.float32,
)


class Eights(np.ndarray):
    """Bytes that are floats of the kind e4m3."""


def write_safetensors(path, tensors):
    header, parts, end = {}, [], 0
    for name, value in tensors.items():
        data = np.ascontiguousarray(value).tobytes()
        kind = "F8_E4M3" if isinstance(value, Eights) else TYPES[value.dtype.name]
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [end, end + len(data)]}
        parts.append(data)
        end += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


# ---- Programs: each makes the tensors of a layer and the weights they mean --------------------------------


def gptq(bits=4, size=32, order="none", zero_bias=1, symmetric=False, stray=0.0):
    def make(random, name, rows, columns, shared):
        codes, zeros, scales = packing.random_layer(random, columns, rows, size, bits, symmetric, 0.15)
        groups = np.arange(columns) // size
        if order == "shared":
            groups = shared.setdefault(("order", name.rsplit(".", 2)[0], columns), random.permutation(columns)) // size
        elif order == "own":
            groups = random.permutation(columns) // size
        layer = packing.gptq(codes, zeros, scales, groups, bits, zero_bias)
        layer["bias"] = np.full(rows, stray, np.float16)
        return layer, packing.values(codes, zeros, scales, groups)

    return make


def awq(random, name, rows, columns, shared):
    codes, zeros, scales = packing.random_layer(random, columns, rows, 64, 4, False, 0.15)
    groups = np.arange(columns) // 64
    return packing.awq(codes, zeros, scales), packing.values(codes, zeros, scales, groups)


def nf4(random, name, rows, columns, shared):
    codes = random.integers(0, 16, rows * columns).astype(np.uint8)
    largest = random.uniform(0.05, 0.3, rows * columns // 64).astype(np.float32)
    state = {"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [rows, columns]}
    layer = {
        "weight": (codes[::2] << 4 | codes[1::2]).reshape(-1, 1),
        "weight.absmax": largest,
        "weight.quant_map": NF4,
        "weight.quant_state.bitsandbytes__nf4": np.frombuffer(json.dumps(state).encode(), np.uint8),
    }
    return layer, (NF4[codes] * largest.repeat(64)).reshape(rows, columns)


def int8(random, name, rows, columns, shared):
    codes = random.integers(-127, 128, (rows, columns)).astype(np.int8)
    largest = random.uniform(0.1, 0.4, rows).astype(np.float32)
    layer = {"weight": codes, "SCB": largest, "weight_format": np.array(0, np.uint8)}
    return layer, codes.astype(np.float32) * largest[:, None] * np.float32(7.874015718698502e-3)


def fp8(random, name, rows, columns, shared):
    codes = random.integers(0, 256, (rows, columns)).astype(np.uint8)
    codes[codes & 0x7F == 0x7F] = 0
    exponent, fraction = (codes >> 3 & 15).astype(int), (codes & 7) / 8
    values = np.where(exponent == 0, fraction / 64, (1 + fraction) * 2.0 ** (exponent - 7))
    values = np.where(codes & 0x80, -values, values)
    scales = random.uniform(0.5, 1.5, (-(-rows // 128), -(-columns // 128))).astype(np.float32) / 1500
    spread = scales.repeat(128, 0)[:rows].repeat(128, 1)[:, :columns]
    layer = {"weight": codes.view(Eights), "weight_scale_inv": scales}
    return layer, values.astype(np.float32) * spread


def gptq_config(bits=4, size=32, **more):
    return {"quant_method": "gptq", "bits": bits, "group_size": size, "desc_act": False, "sym": True} | more


PROGRAMS = {
    "gptq-4": (gptq(), gptq_config(), {"Z4_32"}),
    "gptq-4-64": (gptq(size=64, symmetric=True), gptq_config(size=64), {"Z4_64"}),
    "gptq-8": (gptq(8), gptq_config(8), {"Z8"}),
    "gptq-v2": (gptq(zero_bias=0), gptq_config(checkpoint_format="gptq_v2"), {"Z4_32"}),
    "gptq-head": (gptq(), gptq_config(lm_head=True), {"Z4_32"}),
    "gptq-bias": (gptq(stray=0.25), gptq_config(), {"Z4_32"}),
    "gptq-sorted": (gptq(order="shared"), gptq_config(desc_act=True), {"Z4_32"}),
    "gptq-each-sorted": (gptq(order="own"), gptq_config(desc_act=True), {"Z4_32"}),
    "gptq-8-sorted": (gptq(8, order="shared"), gptq_config(8, desc_act=True), {"Z8"}),
    "awq": (awq, {"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm"}, {"Z4_64"}),
    "nf4": (nf4, {"quant_method": "bitsandbytes", "load_in_4bit": True}, {"NF4"}),
    "int8": (int8, {"load_in_8bit": True}, {"INT8"}),
    "fp8": (fp8, {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}, {"FP8", "F32"}),
}
FAMILIES = {"qwen": "qwen-launch", "qwen2": "qwen2-untied"}


def layers_of(family):
    """Name, rows, columns and whether the model has a bias, of every quantised layer."""
    dim = HIDDEN // HEADS
    for layer in range(LAYERS):
        if family == "qwen":
            at = f"transformer.h.{layer}."
            yield at + "attn.c_attn", 3 * HIDDEN, HIDDEN, True
            yield at + "attn.c_proj", HIDDEN, HIDDEN, False
            yield at + "mlp.w1", INNER, HIDDEN, False
            yield at + "mlp.w2", INNER, HIDDEN, False
            yield at + "mlp.c_proj", HIDDEN, INNER, False
        else:
            at = f"model.layers.{layer}."
            yield at + "self_attn.q_proj", HIDDEN, HIDDEN, True
            yield at + "self_attn.k_proj", 2 * dim, HIDDEN, True
            yield at + "self_attn.v_proj", 2 * dim, HIDDEN, True
            yield at + "self_attn.o_proj", HIDDEN, HIDDEN, False
            yield at + "mlp.gate_proj", INNER, HIDDEN, False
            yield at + "mlp.up_proj", INNER, HIDDEN, False
            yield at + "mlp.down_proj", HIDDEN, INNER, False


def common_tensors(random, family, rows):
    """Embedding, norms and head."""
    outer = ("transformer.wte", "transformer.ln_f") if family == "qwen" else ("model.embed_tokens", "model.norm")
    tensors = {
        outer[0] + ".weight": random.normal(0, 0.2, (rows, HIDDEN)).astype(np.float16),
        outer[1] + ".weight": random.normal(1, 0.1, HIDDEN).astype(np.float16),
        "lm_head.weight": random.normal(0, 0.3, (rows, HIDDEN)).astype(np.float16),
    }
    at, norms = ("transformer.h.", ("ln_1", "ln_2")) if family == "qwen" else (
        "model.layers.", ("input_layernorm", "post_attention_layernorm"))
    for layer in range(LAYERS):
        for norm in norms:
            tensors[f"{at}{layer}.{norm}.weight"] = random.normal(1, 0.1, HIDDEN).astype(np.float16)
    return tensors


def write_models(folder, family, program):
    """The quantised folder and the float folder of the same weights."""
    make, quantization, _ = PROGRAMS[program]
    random = np.random.default_rng(sum(map(ord, family + program)))
    source = TINY / FAMILIES[family]
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    sizes = {"n_embd": HIDDEN, "n_layer": LAYERS, "n_head": HEADS, "kv_channels": HIDDEN // HEADS}
    sizes |= {"ffn_hidden_size": 2 * INNER, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS}
    sizes |= {"num_attention_heads": HEADS, "num_key_value_heads": 2, "head_dim": HIDDEN // HEADS}
    sizes |= {"intermediate_size": INNER, "max_window_layers": LAYERS}
    config |= {key: value for key, value in sizes.items() if key in config or family == "qwen2"}
    layers = list(layers_of(family))
    if program == "gptq-head":
        # Outputs come eight in a word.
        rows = (config["vocab_size"] + 7) // 8 * 8
        config |= {key: rows for key in ("vocab_size", "padded_vocab_size") if key in config}
        layers.append(("lm_head", rows, HIDDEN, False))
    common = common_tensors(random, family, config["vocab_size"])
    if program == "gptq-head":
        del common["lm_head.weight"]
    quantised, floats, shared = dict(common), dict(common), {}
    for name, rows, columns, has_bias in layers:
        layer, values = make(random, name, rows, columns, shared)
        bias = layer.pop("bias", None)
        if has_bias:
            bias = random.normal(0, 0.2, rows).astype(np.float16)
        if bias is not None:
            quantised[name + ".bias"] = bias
        if has_bias or (bias is not None and bias.any()):
            floats[name + ".bias"] = bias
        quantised |= {f"{name}.{key}": value for key, value in layer.items()}
        floats[name + ".weight"] = values
    for kind, tensors in (("quantised", quantised), ("floats", floats)):
        target = folder / kind
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("model*", "golden*", "config.json"))
        write_safetensors(target / "model.safetensors", tensors)
        facts = config | ({"quantization_config": quantization} if kind == "quantised" else {})
        (target / "config.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder / "quantised", folder / "floats"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_logits_are_those_of_the_weights_they_mean(tmp_path, family, program):
    quantised, floats = write_models(tmp_path, family, program)
    ids = list(range(5, 31))
    logits = {}
    for path in (quantised, floats):
        with libqwen.Model(path, **EXACT) as model, model.session(kv_cache="f32") as session:
            logits[path] = session.logits(ids)
            assert np.array_equal(session.logits(ids[:9] + ids[:1]), session.logits(ids[:9] + ids[:1]))
        with libqwen.Model(path, threads=1, **EXACT) as model, model.session(kv_cache="f32", prefill_chunk=5) as session:
            assert np.array_equal(session.logits(ids), logits[path]), "threads, chunks"
    scale = np.abs(logits[floats]).max()
    assert np.abs(logits[quantised] - logits[floats]).max() / scale < 1e-5
    with libqwen.Model(quantised) as model, model.session() as session:
        rounded = session.logits(ids)
    assert np.abs(rounded - logits[floats]).max() / scale < 0.15
    cosine = (rounded * logits[floats]).sum() / np.linalg.norm(rounded) / np.linalg.norm(logits[floats])
    assert cosine > 0.995


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_plan_counts_what_they_become(tmp_path, program):
    quantised, _ = write_models(tmp_path, "qwen2", program)
    plan = libqwen.Model.plan(quantised)
    layers = [part for part in plan["weights"]["parts"] if part["part"] == "layers"]
    assert {part["format"] for part in layers} == PROGRAMS[program][2]
    assert sum(part["matrices"] for part in layers) == 7 * LAYERS
    assert all(part["mapped_bytes"] == 0 for part in layers)
    weights = sum(rows * columns for _, rows, columns, _ in layers_of("qwen2"))
    outputs = sum(rows for _, rows, _, _ in layers_of("qwen2"))
    if len(layers) == 1:
        bits = layers[0]["bits_per_weight"]
        assert weights * bits / 8 <= layers[0]["bytes"] <= weights * bits / 8 + 4 * outputs


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_conversions_write_the_weights_they_mean(tmp_path, family, program):
    quantised, floats = write_models(tmp_path, family, program)
    gguf = pytest.importorskip("gguf")
    options = {"weights": "q8_0", "head": "q8_0", "rounding": "plain"}
    written = []
    for path in (quantised, floats):
        out = tmp_path / f"{path.name}.gguf"
        libqwen.convert(path, out, **options)
        libqwen.convert(path, tmp_path / f"{path.name}-packed", **options)
        tensors = {tensor.name: tensor.data.tobytes() for tensor in gguf.GGUFReader(out).tensors}
        written.append((tensors, load_packed(tmp_path / f"{path.name}-packed")))
    assert written[0] == written[1]


def load_packed(folder):
    file = (folder / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(file[:8], "little")
    entries = json.loads(file[8:start])
    entries.pop("__metadata__")
    return {name: file[start + e["data_offsets"][0] : start + e["data_offsets"][1]] for name, e in entries.items()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_packed_copies_stay_as_they_are(tmp_path, family, program):
    """Also the order in which layers take their inputs."""
    quantised, _ = write_models(tmp_path, family, program)
    libqwen.convert(quantised, tmp_path / "packed")
    ids = list(range(5, 31))
    found = []
    for path in (quantised, tmp_path / "packed"):
        with libqwen.Model(path) as model, model.session() as session:
            found.append((session.logits(ids), model.info["formats"]))
    assert np.array_equal(found[0][0], found[1][0]) and found[0][1] == found[1][1]
    orders = [name for name in load_packed(tmp_path / "packed") if name.endswith(".input_order")]
    assert len(orders) == (sum(1 for _ in layers_of(family)) if "sorted" in program else 0)
    memory = libqwen.Model.plan(tmp_path / "packed", pack="off")["weights"]
    assert all(part["mapped_bytes"] == part["bytes"] for part in memory["parts"])
    if "sorted" not in program:
        return
    tampered = bytearray((tmp_path / "packed" / "model.safetensors").read_bytes())
    last = max(orders)
    header = json.loads(tampered[8 : 8 + int.from_bytes(tampered[:8], "little")])
    at = 8 + int.from_bytes(tampered[:8], "little") + header[last]["data_offsets"][0]
    tampered[at : at + 4] = b"\xff\xff\xff\x7f"
    (tmp_path / "packed" / "model.safetensors").write_bytes(tampered)
    with pytest.raises(libqwen.QwenFormatError, match="order of inputs"):
        libqwen.Model(tmp_path / "packed")


@pytest.mark.parametrize("program", ["gptq-8-sorted", "int8", "fp8"])
@pytest.mark.parametrize("out", ["a.gguf", "packed"])
def test_conversions_hold_a_slab_at_a_time(tmp_path, monkeypatch, program, out):
    """Folders of 100 MB of codes, which would be held whole if they were read as for running."""
    here = sys.modules[__name__]
    for name, value in (("HIDDEN", 1024), ("INNER", 3968), ("LAYERS", 6)):
        monkeypatch.setattr(here, name, value)
    quantised, floats = write_models(tmp_path, "qwen2", program)
    shutil.rmtree(floats)
    assert (quantised / "model.safetensors").stat().st_size > 80 << 20
    code = f"""
import resource, sys
sys.path.insert(0, {str(ROOT / "bindings" / "python")!r})
import libqwen
libqwen.describe("build")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
libqwen.convert({str(quantised)!r}, {str(tmp_path / out)!r}, weights="q8_0", rounding="plain", threads=2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # A slab of 2 million elements as floats and as blocks, and the pages of the matrix it comes from.
    assert int(run.stdout) << 10 < 40 << 20


def test_damaged_layers_are_named(tmp_path):
    from safetensors.numpy import load_file, save_file

    quantised, _ = write_models(tmp_path, "qwen", "gptq-4")
    whole = load_file(quantised / "model.safetensors")
    name = "transformer.h.1.mlp.w1"

    def refused(change):
        tensors = dict(whole)
        change(tensors)
        save_file(tensors, quantised / "model.safetensors")
        with pytest.raises(libqwen.QwenFormatError) as caught:
            libqwen.Model(quantised)
        assert name in caught.value.message
        with pytest.raises(libqwen.QwenFormatError):
            libqwen.Model.plan(quantised)

    refused(lambda t: t.pop(name + ".scales"))
    refused(lambda t: t.pop(name + ".qzeros"))
    refused(lambda t: t.update({name + ".g_idx": np.full(HIDDEN, 99, np.int32)}))
    refused(lambda t: t.update({name + ".g_idx": np.full(HIDDEN, -1, np.int32)}))
    refused(lambda t: t.update({name + ".qweight": t[name + ".qweight"][:-1]}))
    refused(lambda t: t.update({name + ".scales": t[name + ".scales"].astype(np.int32)}))
