"""The GGUF file a converter would write for a tiny model: names, layouts, blocks and vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import dequantize, quantize
from torch import Tensor

from tiny_families import F32, VOCABULARY, Family, Tiny
from vocabulary import QWEN_SPECIALS, spelled

Weights = Dict[str, Tensor]

GGUF_QWEN = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.w1": "ffn_up",
    "mlp.w2": "ffn_gate",
    "mlp.c_proj": "ffn_down",
}
GGUF_LATER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
    "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
}
GGUF_EXPERTS = {
    "gate_proj": "ffn_gate_exps",
    "up_proj": "ffn_up_exps",
    "down_proj": "ffn_down_exps",
}
GGUF_GLOBAL = {
    "transformer.wte": "token_embd",
    "transformer.ln_f": "output_norm",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def gguf_name(name: str) -> str:
    """The GGUF name of a tensor, for instance "blk.0.ffn_up.weight"."""
    stem, suffix = name.rsplit(".", 1)
    if stem in GGUF_GLOBAL:
        return f"{GGUF_GLOBAL[stem]}.{suffix}"
    parts = stem.split(".")
    rest = ".".join(parts[3:])
    if ".experts." in name:
        return f"blk.{parts[2]}.{GGUF_EXPERTS[parts[-1]]}.{suffix}"
    return f"blk.{parts[2]}.{(GGUF_QWEN | GGUF_LATER)[rest]}.{suffix}"


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k reordered so that the pairs that rotate together are neighbours, for llama."""
    rows = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return np.ascontiguousarray(rows.swapaxes(1, 2).reshape(weight.shape))


def block_format(tiny: Tiny, name: str, weight: Tensor) -> GGMLQuantizationType:
    """Vectors stay float32, matrices as the model says."""
    assert tiny.gguf is not None
    if weight.dim() == 1 or weight.shape[0] == 1:
        return F32
    return tiny.gguf.get(gguf_name(name).split(".")[-2], tiny.gguf["*"])


def quantised(tiny: Tiny, weights: Weights) -> Weights:
    """Weights as they come back from their blocks."""
    made: Weights = {}
    for name, weight in weights.items():
        kind = block_format(tiny, name, weight)
        values = weight.numpy()
        made[name] = torch.from_numpy(np.array(dequantize(quantize(values, kind), kind)))
    return made


def write_gguf(path: Path, tiny: Tiny, weights: Weights) -> None:
    """Writes the file a converter would write for this model."""
    config, family = tiny.config, tiny.family
    kind = config["model_type"]
    writer = GGUFWriter(path, kind.replace("_", ""))
    writer.add_name(tiny.name)
    writer.add_context_length(config.get("max_position_embeddings", 8192))
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_rms_eps(config.get("rms_norm_eps", config.get("layer_norm_epsilon")))
    writer.add_rope_freq_base(config.get("rope_theta", config.get("rotary_emb_base")))
    if kind != "qwen":
        writer.add_head_count_kv(config["num_key_value_heads"])
    dim = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    writer.add_rope_dimension_count(dim)
    if "head_dim" in config:
        writer.add_key_length(dim)
        writer.add_value_length(dim)
    if "num_experts" in config:
        writer.add_expert_count(config["num_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
        if "shared_expert_intermediate_size" in config:
            writer.add_expert_shared_feed_forward_length(config["shared_expert_intermediate_size"])
    if kind == "llama":
        writer.add_vocab_size(config["vocab_size"])
    write_gguf_vocabulary(writer, family, config["vocab_size"])
    stacks: Dict[str, List[np.ndarray]] = {}
    for name, weight in weights.items():
        block, values = block_format(tiny, name, weight), weight.numpy()
        if ".experts." in name:
            stack = stacks.setdefault(gguf_name(name), [])
            stack.append(quantize(values, block))
            if len(stack) == config["num_experts"]:
                writer.add_tensor(gguf_name(name), np.stack(stack), raw_dtype=block)
            continue
        if name.endswith("shared_expert_gate.weight"):
            values = values.reshape(-1)
        for part, key in (("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")):
            if kind == "llama" and part in name:
                values = interleaved(values, config[key])
        writer.add_tensor(gguf_name(name), quantize(values, block), raw_dtype=block)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_gguf_vocabulary(writer: GGUFWriter, family: Optional[Family], rows: int) -> None:
    """Tokens, their kinds, merges and the chat template."""
    specials = QWEN_SPECIALS if family is None else [*family.specials, *family.plain]
    tokens = [spelled(token) for token in VOCABULARY.tokens]
    kinds = [TokenType.NORMAL] * len(tokens)
    plain = () if family is None else family.plain
    kinds += [TokenType.USER_DEFINED if text in plain else TokenType.CONTROL for text in specials]
    tokens += specials
    text_end = tokens.index("<|endoftext|>")
    while len(tokens) < rows:
        kinds.append(TokenType.UNUSED)
        tokens.append(f"[PAD{len(tokens)}]")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2" if family is None else family.gguf_pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{spelled(a)} {spelled(b)}" for a, b in VOCABULARY.merges])
    writer.add_bos_token_id(text_end)
    writer.add_eos_token_id(text_end if family is None else tokens.index(family.eos))
    writer.add_pad_token_id(text_end)
    if family is None:
        writer.add_unk_token_id(text_end)
    else:
        writer.add_add_bos_token(False)
        writer.add_chat_template(family.template)
