"""Tiny models that say what a test wants: every token of a script names the next one.

Attention and MLP add nothing, so that the logits depend on the last token alone; each piece of a script is a token of
its own, which no prompt can contain.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Dict, List, Optional

import numpy as np
from conftest import FIXTURES
from safetensors.numpy import save_file

HIDDEN = 96
#: The bytes that stand for themselves in byte-level vocabularies; the others follow from 256 on.
PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]


def _alphabet() -> Dict[int, str]:
    """Byte to the character that stands for it."""
    letters = {byte: chr(byte) for byte in PRINTABLE}
    for number, byte in enumerate(byte for byte in range(256) if byte not in letters):
        letters[byte] = chr(256 + number)
    return letters


def scripted_model(
    path: Path, scripts: Dict[str, List[str]], template: str, base: str = "qwen3"
) -> str:
    """Writes a model folder. `scripts`: the text of a prompt's last token to the pieces that follow it."""
    path.mkdir()
    source = FIXTURES / "tiny" / base
    vocabulary = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    dress = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
    dress["chat_template"] = template
    letters = _alphabet()
    words = vocabulary["model"]["vocab"]
    special = {token["content"]: token["id"] for token in vocabulary["added_tokens"]}
    size = max([*words.values(), *special.values()]) + 1

    def known(text: str) -> Optional[int]:
        return special.get(text, words.get("".join(letters[byte] for byte in text.encode())))

    follows: Dict[int, int] = {}
    for trigger, pieces in scripts.items():
        last = known(trigger)
        assert last is not None, trigger
        for number, piece in enumerate(pieces):
            ids = special.get(piece)
            if ids is None:
                name = "".join(letters[byte] for byte in piece.encode())
                assert name not in words, f"{piece!r} is a token already: cut the script elsewhere"
                ids, size = size, size + 1
                words[name] = ids
            follows[last] = ids
            last = ids
        follows[last] = special["<|im_end|>"]
    vocabulary["added_tokens"].sort(key=lambda token: token["id"])
    (path / "tokenizer.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (path / "tokenizer_config.json").write_text(json.dumps(dress), encoding="utf-8")
    shutil.copy(source / "generation_config.json", path / "generation_config.json")
    config = json.loads((FIXTURES / "tiny" / "llama" / "config.json").read_text(encoding="utf-8"))
    config.update(
        hidden_size=HIDDEN,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=HIDDEN // 2,
        vocab_size=size,
        tie_word_embeddings=False,
        torch_dtype="float32",
        max_position_embeddings=8192,
    )
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    random = np.random.default_rng(7)
    embedding = random.standard_normal((size, HIDDEN)).astype(np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    head = np.zeros((size, HIDDEN), np.float32)
    for token, following in follows.items():
        head[following] += 4 * embedding[token]
    half = HIDDEN // 2

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    layer = "model.layers.0."
    save_file(
        {
            "model.embed_tokens.weight": embedding,
            "lm_head.weight": head,
            "model.norm.weight": np.ones(HIDDEN, np.float32),
            layer + "input_layernorm.weight": np.ones(HIDDEN, np.float32),
            layer + "post_attention_layernorm.weight": np.ones(HIDDEN, np.float32),
            layer + "self_attn.q_proj.weight": zeros(HIDDEN, HIDDEN),
            layer + "self_attn.k_proj.weight": zeros(half, HIDDEN),
            layer + "self_attn.v_proj.weight": zeros(half, HIDDEN),
            layer + "self_attn.o_proj.weight": zeros(HIDDEN, HIDDEN),
            layer + "mlp.gate_proj.weight": zeros(8, HIDDEN),
            layer + "mlp.up_proj.weight": zeros(8, HIDDEN),
            layer + "mlp.down_proj.weight": zeros(HIDDEN, 8),
        },
        str(path / "model.safetensors"),
        metadata={"format": "pt"},
    )
    return str(path)
