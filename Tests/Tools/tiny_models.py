"""Writes Tests/Fixtures/tiny: random models of a few kilobytes in the exact files of real releases.

    python Tests/Tools/tiny_models.py [NAME ...]

Each folder has the checkpoint, `golden.safetensors` (token ids, what every stage made of them,
logits at all positions, greedy continuations) and `golden.json` (prompts and answers as text), all
from an implementation that is not ours (transformers; `qwen_reference` for the first generation) on
the weights upcast to float32. Seeds are tried in order until every greedy choice has a clear lead,
so that rounding can't flip one.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import tiktoken
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

import qwen_reference as reference
from tiny_families import MESSAGES, TINIES, VOCABULARY, Family, Tiny
from tiny_gguf import Weights, quantised, write_gguf
from vocabulary import QWEN_PIECES, QWEN_SPECIALS

OUT = Path(__file__).resolve().parents[1] / "Fixtures" / "tiny"
GREEDY_TOKENS = 24
CHAT_TOKENS = 12
#: No greedy choice may win by less; float32 rounding is some 1e-5 here.
LEAD = 0.02


# ---- Weights -------------------------------------------------------------------------------------


def qwen_shapes(config: Dict[str, Any]) -> Dict[str, Tuple[int, ...]]:
    """Tensors of the first generation, in the order of its checkpoints."""
    sizes = reference.QwenConfig.from_json(config)
    hidden, wide, rows = sizes.hidden_size, sizes.heads * sizes.head_dim, config["vocab_size"]
    shapes: Dict[str, Tuple[int, ...]] = {"transformer.wte.weight": (rows, hidden)}
    for layer in range(sizes.layers):
        at = f"transformer.h.{layer}."
        shapes |= {
            at + "ln_1.weight": (hidden,),
            at + "attn.c_attn.weight": (3 * wide, hidden),
            at + "attn.c_attn.bias": (3 * wide,),
            at + "attn.c_proj.weight": (hidden, wide),
            at + "ln_2.weight": (hidden,),
            at + "mlp.w1.weight": (sizes.mlp_width, hidden),
            at + "mlp.w2.weight": (sizes.mlp_width, hidden),
            at + "mlp.c_proj.weight": (hidden, sizes.mlp_width),
        }
    return shapes | {"transformer.ln_f.weight": (hidden,), "lm_head.weight": (rows, hidden)}


def later_shapes(config: Dict[str, Any]) -> Dict[str, Tuple[int, ...]]:
    """Tensors of qwen2, qwen3 and llama."""
    hidden, rows, inner = config["hidden_size"], config["vocab_size"], config["intermediate_size"]
    dim = config.get("head_dim", hidden // config["num_attention_heads"])
    q, kv = config["num_attention_heads"] * dim, config["num_key_value_heads"] * dim
    kind = config["model_type"]
    shapes: Dict[str, Tuple[int, ...]] = {"model.embed_tokens.weight": (rows, hidden)}
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        shapes[at + "input_layernorm.weight"] = (hidden,)
        for name, width in (("q", q), ("k", kv), ("v", kv)):
            shapes[at + f"self_attn.{name}_proj.weight"] = (width, hidden)
            if kind in ("qwen2", "qwen2_moe"):
                shapes[at + f"self_attn.{name}_proj.bias"] = (width,)
            if kind in ("qwen3", "qwen3_moe") and name != "v":
                shapes[at + f"self_attn.{name}_norm.weight"] = (dim,)
        shapes |= {
            at + "self_attn.o_proj.weight": (hidden, q),
            at + "post_attention_layernorm.weight": (hidden,),
        }
        if "num_experts" in config and layer not in config["mlp_only_layers"]:
            shapes |= expert_shapes(config, at + "mlp.", hidden)
        else:
            shapes |= gated_shapes(at + "mlp.", hidden, inner)
    shapes["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (rows, hidden)
    return shapes


def gated_shapes(at: str, hidden: int, inner: int) -> Dict[str, Tuple[int, ...]]:
    """A gated MLP."""
    return {
        at + "gate_proj.weight": (inner, hidden),
        at + "up_proj.weight": (inner, hidden),
        at + "down_proj.weight": (hidden, inner),
    }


def expert_shapes(config: Dict[str, Any], at: str, hidden: int) -> Dict[str, Tuple[int, ...]]:
    """A mixture of experts, with a shared one in qwen2_moe."""
    shapes: Dict[str, Tuple[int, ...]] = {at + "gate.weight": (config["num_experts"], hidden)}
    for expert in range(config["num_experts"]):
        shapes |= gated_shapes(f"{at}experts.{expert}.", hidden, config["moe_intermediate_size"])
    if "shared_expert_intermediate_size" in config:
        inner = config["shared_expert_intermediate_size"]
        shapes |= gated_shapes(at + "shared_expert.", hidden, inner)
        shapes[at + "shared_expert_gate.weight"] = (1, hidden)
    return shapes


def random_weights(tiny: Tiny, usable: int, seed: int) -> Weights:
    """Draws all tensors, loud enough that a wrong rotation, mask or gate shows in the logits.

    Rows of the head beyond the ordinary tokens are quiet, so that a continuation stays text.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes = qwen_shapes(tiny.config) if tiny.family is None else later_shapes(tiny.config)
    weights: Weights = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if "norm" in name or ".ln_" in name:
            value = 1 + 0.2 * noise
        elif name.endswith("bias"):
            value = 0.4 * noise
        elif "wte" in name or "embed_tokens" in name:
            value = 0.2 * noise
        elif "lm_head" in name:
            value = 0.4 * noise
        else:
            value = 1.5 * noise / shape[-1] ** 0.5
        if "lm_head" in name or ("embed_tokens" in name and tiny.config["tie_word_embeddings"]):
            value[usable:] *= 0.1
        weights[name] = value.to(tiny.dtype)
    return weights


# ---- Running the reference -----------------------------------------------------------------------


@dataclass
class Runner:
    """The reference of a family: stages of a prompt, and a greedy continuation with its lead."""

    stages: Callable[[Sequence[int]], reference.Stages]
    greedy: Callable[[Sequence[int], int], Tuple[List[int], float]]


def qwen_runner(config: Dict[str, Any], weights: Weights) -> Runner:
    model = reference.Qwen(reference.QwenConfig.from_json(config), weights)
    return Runner(model.forward, model.greedy)


def transformers_runner(folder: Path) -> Runner:
    """Loads the folder as anybody would, in float32."""
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="eager",
        experts_implementation="eager",
    ).eval()

    def stages(ids: Sequence[int]) -> reference.Stages:
        seen: List[Tensor] = []

        def keep(module: Any, arguments: Any, output: Any) -> None:
            seen.append((output[0] if isinstance(output, tuple) else output).reshape(len(ids), -1))

        body = model.model
        hooks = [
            part.register_forward_hook(keep)
            for part in [body.embed_tokens, *body.layers, body.norm]
        ]
        logits = model(torch.tensor([list(ids)])).logits[0]
        for hook in hooks:
            hook.remove()
        return reference.Stages(seen[0], seen[1:-1], seen[-1], logits)

    def greedy(ids: Sequence[int], count: int) -> Tuple[List[int], float]:
        # Without a cache: slower, but one thing less that could be wrong.
        made: List[int] = []
        lead = float("inf")
        for _ in range(count):
            seen = torch.tensor([[*ids, *made]])
            best = torch.topk(model(seen, use_cache=False).logits[0, -1], 2)
            made.append(int(best.indices[0]))
            lead = min(lead, float(best.values[0] - best.values[1]))
        return made, lead

    return Runner(stages, greedy)


# ---- Text ----------------------------------------------------------------------------------------


@dataclass
class Text:
    """Encodes prompts and chats by the family's own tools."""

    encode: Callable[[str], List[int]]
    decode: Callable[[Sequence[int]], str]
    chat: Callable[[List[Dict[str, str]]], List[int]]
    usable: int


def qwen_text() -> Text:
    """The first generation: tiktoken, and chats put together piece by piece."""
    ordinary = len(VOCABULARY.tokens)
    specials = {text: ordinary + index for index, text in enumerate(QWEN_SPECIALS)}
    ranks = {token: rank for rank, token in enumerate(VOCABULARY.tokens)}
    encoding = tiktoken.Encoding(
        "tiny", pat_str=QWEN_PIECES, mergeable_ranks=ranks, special_tokens=specials
    )
    encode = encoding.encode_ordinary
    start, end = specials["<|im_start|>"], specials["<|im_end|>"]

    def chat(messages: List[Dict[str, str]]) -> List[int]:
        turns = [{"role": "system", "content": "You are a helpful assistant."}, *messages]
        ids: List[int] = []
        for turn in turns:
            ids += [start, *encode(turn["role"]), *encode("\n"), *encode(turn["content"]), end]
            ids += encode("\n")
        return [*ids, start, *encode("assistant"), *encode("\n")]

    return Text(encode, lambda ids: encoding.decode(list(ids)), chat, ordinary)


def later_text(family: Family) -> Tuple[Text, Tokenizer]:
    """The later families: tokenizer.json and its chat template."""
    tokenizer = VOCABULARY.tokenizer(family.specials, family.plain, family.style)
    dressed = PreTrainedTokenizerFast(tokenizer_object=tokenizer)

    def chat(messages: List[Dict[str, str]]) -> List[int]:
        text = dressed.apply_chat_template(
            messages, chat_template=family.template, tokenize=False, add_generation_prompt=True
        )
        return tokenizer.encode(text).ids

    text = Text(
        lambda prompt: tokenizer.encode(prompt).ids,
        lambda ids: tokenizer.decode(list(ids), skip_special_tokens=False),
        chat,
        len(VOCABULARY.tokens),
    )
    return text, tokenizer


# ---- Files ---------------------------------------------------------------------------------------


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def write_weights(folder: Path, weights: Weights, shards: int) -> None:
    """Writes model.safetensors, or shards with their index."""
    if shards == 1:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names, where = list(weights), {}
    size = -(-len(names) // shards)
    for shard in range(shards):
        part = {name: weights[name] for name in names[shard * size : (shard + 1) * size]}
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        save_file(part, folder / file, metadata={"format": "pt"})
        where |= dict.fromkeys(part, file)
    total = sum(weight.numel() * weight.element_size() for weight in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": where}
    write_json(folder / "model.safetensors.index.json", index)


def write_qwen_folder(folder: Path, tiny: Tiny, weights: Weights) -> None:
    """The files of a release of the first generation."""
    eos = len(VOCABULARY.tokens)
    write_json(folder / "config.json", tiny.config)
    write_json(
        folder / "generation_config.json",
        {
            "chat_format": "chatml",
            "do_sample": True,
            "eos_token_id": eos,
            "max_new_tokens": 512,
            "max_window_size": 6144,
            "pad_token_id": eos,
            "top_k": 0,
            "top_p": 0.8,
            "transformers_version": "4.31.0",
        },
    )
    write_json(
        folder / "tokenizer_config.json",
        {
            "auto_map": {"AutoTokenizer": ["tokenization_qwen.QWenTokenizer", None]},
            "model_max_length": 8192,
            "tokenizer_class": "QWenTokenizer",
        },
    )
    VOCABULARY.write_tiktoken(folder / "qwen.tiktoken")
    write_weights(folder, weights, tiny.shards)


def write_later_folder(folder: Path, tiny: Tiny, weights: Weights, tokenizer: Tokenizer) -> None:
    """The files of a release of qwen2, qwen3 or llama."""
    family = tiny.family
    assert family is not None
    end, text_end = tokenizer.token_to_id(family.eos), tokenizer.token_to_id("<|endoftext|>")
    dtype = str(tiny.dtype).removeprefix("torch.")
    ids = {"bos_token_id": text_end, "eos_token_id": end, "torch_dtype": dtype}
    write_json(folder / "config.json", tiny.config | ids)
    write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": text_end,
            "do_sample": True,
            "eos_token_id": [end, text_end],
            "pad_token_id": text_end,
            "repetition_penalty": 1.1,
            "temperature": 0.7,
            "top_k": 20,
            "top_p": 0.8,
            "transformers_version": "4.37.0",
        },
    )
    added = {
        str(tokenizer.token_to_id(text)): {
            "content": text,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": text in family.specials,
        }
        for text in (*family.specials, *family.plain)
    }
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "added_tokens_decoder": added,
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
            "bos_token": None,
            "chat_template": family.template,
            "clean_up_tokenization_spaces": False,
            "eos_token": family.eos,
            "errors": "replace",
            "model_max_length": 512,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": False,
            "tokenizer_class": family.tokenizer_class,
            "unk_token": None,
        },
    )
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write_weights(folder, weights, tiny.shards)


# ---- All together --------------------------------------------------------------------------------


def write(tiny: Tiny) -> None:
    """Writes one folder, with the first seed whose continuations are clear."""
    folder = OUT / tiny.name
    text, tokenizer = (qwen_text(), None) if tiny.family is None else later_text(tiny.family)
    for seed in range(1, 400):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        weights = random_weights(tiny, text.usable, seed)
        if tiny.gguf is not None:
            weights = quantised(tiny, weights)
        if tokenizer is None:
            write_qwen_folder(folder, tiny, weights)
            runner = qwen_runner(tiny.config, weights)
        else:
            write_later_folder(folder, tiny, weights, tokenizer)
            runner = transformers_runner(folder)
        if tiny.gguf is not None:
            # The reference read the folder; what is left of it is the GGUF file alone.
            for file in folder.iterdir():
                file.unlink()
            write_gguf(folder / "model.gguf", tiny, weights)
        golden = make_golden(tiny, text, runner, seed)
        if golden is not None:
            tensors, facts = golden
            save_file(tensors, folder / "golden.safetensors")
            write_json(folder / "golden.json", facts)
            for file in folder.iterdir():
                file.chmod(0o644)
            size = sum(file.stat().st_size for file in folder.iterdir())
            print(f"{tiny.name}: seed {seed}, {size} bytes, {facts['greedy_text']!r}")
            return
    raise SystemExit(f"{tiny.name}: no seed gives a clear continuation")


def make_golden(
    tiny: Tiny, text: Text, runner: Runner, seed: int
) -> Optional[Tuple[Dict[str, Tensor], Dict[str, Any]]]:
    """The goldens of a model, or None if a greedy choice is too close or the text too dull."""
    ids, chat = text.encode(tiny.prompt), text.chat(MESSAGES)
    runs = [("greedy", ids, GREEDY_TOKENS), ("chat_greedy", chat, CHAT_TOKENS)]
    for name, prompt in tiny.also:
        runs.append((f"{name}_greedy", text.encode(prompt), GREEDY_TOKENS))
    tensors: Dict[str, Tensor] = {"input_ids": int_tensor(ids), "chat_ids": int_tensor(chat)}
    for name, prompt in tiny.also:
        tensors[f"{name}_ids"] = int_tensor(text.encode(prompt))
    narrowest = float("inf")
    for name, prompt_ids, count in runs:
        made, lead = runner.greedy(prompt_ids, count)
        narrowest = min(narrowest, lead)
        if narrowest < LEAD or max(made) >= text.usable or len(set(made)) < count // 3:
            return None
        tensors[f"{name}_ids"] = int_tensor(made)
    stages = runner.stages(ids)
    tensors |= {"embeddings": stages.embeddings, "norm": stages.norm, "logits": stages.logits}
    tensors |= {f"layers.{index}": value for index, value in enumerate(stages.layers)}
    facts = {
        "chat_greedy_text": text.decode(tensors["chat_greedy_ids"].tolist()),
        "chat_messages": MESSAGES,
        "greedy_text": text.decode(tensors["greedy_ids"].tolist()),
        "narrowest_lead": round(narrowest, 4),
        "prompt": tiny.prompt,
        "seed": seed,
    }
    return {name: value.contiguous().clone() for name, value in tensors.items()}, facts


def int_tensor(ids: Sequence[int]) -> Tensor:
    return torch.tensor(list(ids), dtype=torch.int32)


@torch.inference_mode()
def main() -> None:
    """Writes the models named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *(tiny.name for tiny in TINIES)])
    names = parser.parse_args().names
    torch.set_num_threads(1)
    for tiny in TINIES:
        if not names or tiny.name in names:
            write(tiny)


if __name__ == "__main__":
    main()
