"""Random models whose rows are whole blocks of every format, with the vocabularies of the tiny ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Dict, Iterator, Tuple

import numpy as np
from conftest import FIXTURES
from safetensors.numpy import save_file

HIDDEN, WIDTH, LAYERS, VOCABULARY = 256, 512, 2, 288
#: Of a whole family: the tiny model that lends its files, and what its config.json gets instead.
FAMILIES: Dict[str, Tuple[str, Dict[str, object]]] = {
    "qwen": ("qwen-ntk", {"hidden_size": HIDDEN, "intermediate_size": 2 * WIDTH, "kv_channels": 64, "num_attention_heads": 4}),
    "qwen2": ("qwen2-untied", {"hidden_size": HIDDEN, "intermediate_size": WIDTH}),
    "qwen2-tied": ("qwen2-tied", {"hidden_size": HIDDEN, "intermediate_size": WIDTH}),
    "qwen3": ("qwen3", {"hidden_size": HIDDEN, "intermediate_size": WIDTH, "head_dim": 64}),
    "llama": ("llama", {"hidden_size": HIDDEN, "intermediate_size": WIDTH, "num_attention_heads": 4}),
    "qwen2-moe": (
        "qwen2-moe",
        {"hidden_size": HIDDEN, "intermediate_size": WIDTH, "moe_intermediate_size": 256,
         "shared_expert_intermediate_size": 256, "mlp_only_layers": [], "decoder_sparse_step": 1},
    ),
    "qwen3-moe": ("qwen3-moe", {"hidden_size": HIDDEN, "intermediate_size": WIDTH, "head_dim": 64, "moe_intermediate_size": 256}),
}


def shapes(config: Dict) -> Iterator[Tuple[str, Tuple[int, ...]]]:
    """Names and shapes of every tensor of a configuration."""
    h, rows = config["hidden_size"], config.get("vocab_size", VOCABULARY)
    layers = config["num_hidden_layers"]
    if config["model_type"] == "qwen":
        width = config["intermediate_size"] // 2
        yield "transformer.wte.weight", (rows, h)
        yield "transformer.ln_f.weight", (h,)
        yield "lm_head.weight", (rows, h)
        for layer in range(layers):
            at = f"transformer.h.{layer}."
            yield from ((at + name + ".weight", (h,)) for name in ("ln_1", "ln_2"))
            yield at + "attn.c_attn.weight", (3 * h, h)
            yield at + "attn.c_attn.bias", (3 * h,)
            yield at + "attn.c_proj.weight", (h, h)
            yield from ((f"{at}mlp.{name}.weight", (width, h)) for name in ("w1", "w2"))
            yield at + "mlp.c_proj.weight", (h, width)
        return
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    dim = config.get("head_dim") or h // heads
    yield "model.embed_tokens.weight", (rows, h)
    yield "model.norm.weight", (h,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (rows, h)
    for layer in range(layers):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight", (h,)
        yield at + "post_attention_layernorm.weight", (h,)
        for name, count in (("q", heads), ("k", kv), ("v", kv)):
            yield f"{at}self_attn.{name}_proj.weight", (count * dim, h)
            if config["model_type"].startswith("qwen2"):
                yield f"{at}self_attn.{name}_proj.bias", (count * dim,)
        if config["model_type"].startswith("qwen3"):
            yield from ((f"{at}self_attn.{name}_norm.weight", (dim,)) for name in "qk")
        yield at + "self_attn.o_proj.weight", (h, heads * dim)
        if "moe" not in config["model_type"]:
            yield from gated(at + "mlp.", h, config["intermediate_size"])
            continue
        yield at + "mlp.gate.weight", (config["num_experts"], h)
        for expert in range(config["num_experts"]):
            yield from gated(f"{at}mlp.experts.{expert}.", h, config["moe_intermediate_size"])
        if config["model_type"] == "qwen2_moe":
            yield from gated(at + "mlp.shared_expert.", h, config["shared_expert_intermediate_size"])
            yield at + "mlp.shared_expert_gate.weight", (1, h)


def gated(at: str, hidden: int, width: int) -> Iterator[Tuple[str, Tuple[int, ...]]]:
    """The three matrices of a gated feed-forward part."""
    yield at + "gate_proj.weight", (width, hidden)
    yield at + "up_proj.weight", (width, hidden)
    yield at + "down_proj.weight", (hidden, width)


def write(folder: Path, family: str, **changes: object) -> Dict[str, np.ndarray]:
    """Writes a model with float weights; returns them."""
    source, sizes = FAMILIES[family]
    folder.mkdir(parents=True, exist_ok=True)
    for file in (FIXTURES / "tiny" / source).iterdir():
        if not file.name.startswith(("golden", "model")):
            shutil.copy(file, folder / file.name)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {**sizes, **changes}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    random = np.random.default_rng(7)
    weights = {}
    for name, shape in shapes(config):
        values = random.standard_normal(shape, dtype=np.float32)
        weights[name] = 1 + values / 8 if len(shape) == 1 and "norm" in name or ".ln_" in name else values / 12
    save_file(weights, folder / "model.safetensors")
    return weights
