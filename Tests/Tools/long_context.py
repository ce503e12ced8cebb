"""Writes Tests/Fixtures/long_context.safetensors: the last logits of `tiny/qwen-ntk` under other long-context rules.

    python Tests/Tools/long_context.py
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from perplexity_table import LongQwen
from qwen_reference import Cache, QwenConfig, rms_norm

FIXTURES = Path(__file__).resolve().parents[1] / "Fixtures"
#: Name, dynamic NTK, alpha instead of it, LogN, window of every layer ("graded" for the graded ones).
RULES = [
    ("plain", False, None, False, None),
    ("reference", True, None, False, None),
    ("logn", False, None, True, None),
    ("alpha", False, 2.5, True, None),
    ("window", True, None, True, 7),
    ("graded", True, None, True, "graded"),
]
ROWS = 3


class Tiny(LongQwen):
    """With a window for every layer."""

    every: object = None

    def window(self, layer: int):
        return self.config.seq_length << (layer // 4) if self.every == "graded" else self.every


@torch.inference_mode()
def main() -> None:
    folder = FIXTURES / "tiny" / "qwen-ntk"
    config = QwenConfig.from_json(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    weights = {}
    for shard in sorted(folder.glob("model-*.safetensors")):
        weights |= load_file(shard)
    ids = load_file(folder / "golden.safetensors")["input_ids"].tolist()
    out = {}
    for name, ntk, alpha, logn, window in RULES:
        model = Tiny(dataclasses.replace(config, dynamic_ntk=ntk, logn=logn), weights)
        model.every = window
        cache = Cache()
        if ntk:
            cache.alpha = 2.0 ** torch.ceil(torch.log2(torch.tensor(len(ids) / config.seq_length)) + 1).item() - 1
        elif alpha:
            cache.alpha = alpha
        x = model.weights["transformer.wte.weight"][torch.tensor(ids)]
        for layer in range(config.layers):
            x = model._layer(layer, x, 0, cache)
        x = rms_norm(x, model.weights["transformer.ln_f.weight"], config.epsilon)
        out[name] = (x[-ROWS:] @ model.weights["lm_head.weight"].T).contiguous()
    save_file(out, FIXTURES / "long_context.safetensors")


if __name__ == "__main__":
    main()
