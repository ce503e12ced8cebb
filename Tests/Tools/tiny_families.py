"""The tiny random models of Tests/Fixtures/tiny: what each is, in the words of its family's files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

import torch
from gguf import GGMLQuantizationType

from vocabulary import Vocabulary

PROMPT = "The river ran north, 你好 7"
LONG_PROMPT = PROMPT + "; then the other road is closed, it's here."
MESSAGES = [{"role": "user", "content": "你好, river"}]
TRAINING_TEXT = (
    "The river runs north and the road runs with it. When the water is high the road is closed, "
    "and then the other road over the hill is the one that everyone takes to the town. "
    "there then these those here where the the and and on in is it system user assistant 你好 你好"
)

Q4_0, Q4_1 = GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q4_1
Q8_0, F32 = GGMLQuantizationType.Q8_0, GGMLQuantizationType.F32


def chatml_template(default_system: str) -> str:
    """A ChatML template that puts a system turn first if the messages have none."""
    system = "{{ '<|im_start|>system\n" + default_system + "<|im_end|>\n' }}"
    return (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        + system
        + "{% endif %}"
        + CHATML_TURN
    )


CHATML_TURN = (
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN2_TEMPLATE = chatml_template("You are a helpful assistant.")
SMOLLM_TEMPLATE = chatml_template(
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
)
QWEN3_TEMPLATE = (
    "{% for message in messages %}"
    + CHATML_TURN
    + "{% if add_generation_prompt and enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """How a family names things: its config.json, tokenizer and GGUF dialect."""

    template: str
    specials: Tuple[str, ...]
    plain: Tuple[str, ...]
    style: str
    eos: str
    tokenizer_class: str
    gguf_pre: str


QWEN2 = Family(
    QWEN2_TEMPLATE,
    ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    (),
    "qwen2",
    "<|im_end|>",
    "Qwen2Tokenizer",
    "qwen2",
)
QWEN3 = Family(
    QWEN3_TEMPLATE,
    QWEN2.specials,
    ("<tool_call>", "</tool_call>", "<think>", "</think>"),
    "qwen2",
    "<|im_end|>",
    "Qwen2Tokenizer",
    "qwen2",
)
LLAMA = Family(
    SMOLLM_TEMPLATE, QWEN2.specials, (), "smollm", "<|im_end|>", "GPT2Tokenizer", "smollm"
)
VOCABULARY = Vocabulary.train(TRAINING_TEXT, 26)


@dataclass(frozen=True)
class Tiny:
    """One model to write.

    `config` is config.json without the token ids. `gguf` makes it a GGUF file and gives the block
    format of a tensor by its name there ("ffn_down"; "*" for all others). `also` has more prompts
    to continue, each with the name of its entry in the goldens.
    """

    name: str
    family: Optional[Family]
    config: Dict[str, Any]
    dtype: torch.dtype = torch.float32
    shards: int = 1
    gguf: Optional[Dict[str, GGMLQuantizationType]] = None
    prompt: str = PROMPT
    also: Tuple[Tuple[str, str], ...] = ()


# ---- What to write -------------------------------------------------------------------------------


def qwen_config(launch: bool, **changes: Any) -> Dict[str, Any]:
    """config.json of the first generation, in the dialect of its first days or the later one."""
    common: Dict[str, Any] = {
        "architectures": ["QWenLMHeadModel"],
        "auto_map": {
            "AutoConfig": "configuration_qwen.QWenConfig",
            "AutoModelForCausalLM": "modeling_qwen.QWenLMHeadModel",
        },
        "bf16": False,
        "fp16": False,
        "fp32": False,
        "initializer_range": 0.02,
        "kv_channels": 16,
        "layer_norm_epsilon": 1e-6,
        "model_type": "qwen",
        "no_bias": True,
        "rotary_emb_base": 10000,
        "rotary_pct": 1.0,
        "scale_attn_weights": True,
        "seq_length": 2048,
        "tie_word_embeddings": False,
        "tokenizer_type": "QWenTokenizer",
        "use_cache": True,
        "use_dynamic_ntk": True,
        "use_flash_attn": "auto",
        "use_logn_attn": True,
        "vocab_size": 500,
    }
    if launch:
        common |= {
            "activation": "swiglu",
            "apply_residual_connection_post_layernorm": False,
            "attn_pdrop": 0.0,
            "bias_dropout_fusion": True,
            "bos_token_id": len(VOCABULARY.tokens),
            "embd_pdrop": 0.0,
            "eos_token_id": len(VOCABULARY.tokens),
            "ffn_hidden_size": 66,
            "n_embd": 48,
            "n_head": 3,
            "n_layer": 2,
            "n_positions": 6144,
            "padded_vocab_size": 500,
            "params_dtype": "torch.bfloat16",
            "pos_emb": "rotary",
            "resid_pdrop": 0.1,
        }
    else:
        common |= {
            "attn_dropout_prob": 0.0,
            "emb_dropout_prob": 0.0,
            "hidden_size": 48,
            "intermediate_size": 66,
            "max_position_embeddings": 8192,
            "num_attention_heads": 3,
            "num_hidden_layers": 2,
            "softmax_in_fp32": False,
            "use_cache_kernel": False,
            "use_cache_quantization": False,
        }
    return common | changes


def llama_like(model_type: str, architecture: str, **changes: Any) -> Dict[str, Any]:
    """config.json of the later families, as published before transformers 5 renamed keys."""
    return {
        "architectures": [architecture],
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_position_embeddings": 512,
        "model_type": model_type,
        "num_hidden_layers": 2,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "transformers_version": "4.43.1",
        "use_cache": True,
        "vocab_size": 288,
    } | changes


def qwen2_config(**changes: Any) -> Dict[str, Any]:
    return llama_like(
        "qwen2",
        "Qwen2ForCausalLM",
        hidden_size=24,
        intermediate_size=43,
        max_window_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        rope_theta=1000000.0,
        sliding_window=512,
        use_sliding_window=False,
        **changes,
    )


def llama_config(hidden: int, intermediate: int, heads: int) -> Dict[str, Any]:
    return llama_like(
        "llama",
        "LlamaForCausalLM",
        attention_bias=False,
        hidden_size=hidden,
        intermediate_size=intermediate,
        mlp_bias=False,
        num_attention_heads=heads,
        num_key_value_heads=2,
        pretraining_tp=1,
        rms_norm_eps=1e-5,
        rope_interleaved=False,
        rope_scaling=None,
        rope_theta=100000,
    )


QWEN3_CONFIG = llama_like(
    "qwen3",
    "Qwen3ForCausalLM",
    attention_bias=False,
    head_dim=8,
    hidden_size=20,
    intermediate_size=33,
    max_window_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    rope_scaling=None,
    rope_theta=1000000,
    sliding_window=None,
    use_sliding_window=False,
)

QWEN2_MOE_CONFIG = qwen2_config() | {
    "architectures": ["Qwen2MoeForCausalLM"],
    "model_type": "qwen2_moe",
    "num_hidden_layers": 3,
    "num_experts": 5,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 19,
    "shared_expert_intermediate_size": 27,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [1],
    "norm_topk_prob": False,
    "max_window_layers": 3,
}
QWEN3_MOE_CONFIG = QWEN3_CONFIG | {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "num_experts": 6,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 17,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "norm_topk_prob": True,
}

TINIES = [
    Tiny("qwen-launch", None, qwen_config(True), torch.float16),
    Tiny(
        "qwen-ntk",
        None,
        qwen_config(False, seq_length=32),
        torch.bfloat16,
        shards=2,
        prompt=LONG_PROMPT,
        also=(("crossing", PROMPT),),
    ),
    Tiny("qwen2-tied", QWEN2, qwen2_config()),
    Tiny("qwen2-untied", QWEN2, qwen2_config() | {"tie_word_embeddings": False}, torch.bfloat16),
    Tiny("qwen3", QWEN3, QWEN3_CONFIG),
    Tiny("llama", LLAMA, llama_config(24, 29, 6)),
    Tiny("llama-gguf", LLAMA, llama_config(24, 21, 6), gguf={"*": F32}),
    Tiny(
        "llama-gguf-q4",
        LLAMA,
        llama_config(64, 96, 4),
        gguf={"*": Q4_0, "ffn_down": Q4_1, "attn_v": Q8_0, "token_embd": Q8_0},
    ),
    Tiny("qwen2-gguf", QWEN2, qwen2_config() | {"intermediate_size": 37}, gguf={"*": F32}),
    Tiny(
        "qwen2-gguf-q4",
        QWEN2,
        qwen2_config() | {"hidden_size": 64, "intermediate_size": 96, "tie_word_embeddings": False},
        gguf={"*": Q4_1, "ffn_up": Q4_0, "attn_k": Q8_0, "token_embd": Q4_0, "output": Q8_0},
    ),
    Tiny("qwen2-moe", QWEN2, QWEN2_MOE_CONFIG),
    Tiny("qwen3-moe", QWEN3, QWEN3_MOE_CONFIG, torch.bfloat16),
    Tiny(
        "qwen2-moe-gguf",
        QWEN2,
        QWEN2_MOE_CONFIG | {"mlp_only_layers": [], "num_hidden_layers": 2},
        gguf={"*": F32},
    ),
    Tiny(
        "qwen3-moe-gguf",
        QWEN3,
        QWEN3_MOE_CONFIG | {"hidden_size": 32, "moe_intermediate_size": 32},
        gguf={"*": Q8_0, "ffn_down_exps": F32, "ffn_gate_inp": F32},
    ),
    Tiny(
        "qwen-gguf",
        None,
        qwen_config(
            False,
            hidden_size=32,
            num_attention_heads=2,
            intermediate_size=128,
            use_dynamic_ntk=False,
            use_logn_attn=False,
        ),
        gguf={"*": Q8_0, "ffn_gate": Q4_1, "ffn_up": Q4_0},
    ),
]
