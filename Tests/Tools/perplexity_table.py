"""The release's table of perplexities at long contexts, by PyTorch: what `qwen perplexity --table` is held against.

    python Tests/Tools/smollm2.py express --as qwen FOLDER
    python Tests/Tools/perplexity_table.py FOLDER TEXT --context 1024,2048,4096,8192,16384 --tokens 16384
    qwen perplexity FOLDER TEXT --context 1024,2048,4096,8192,16384 --tokens 16384 --table \\
        --compute float32 --kv-cache f32

FOLDER is of the first generation (`qwen.tiktoken`); `--seq-length` declares another trained length in its config.json
before anything is computed. Prints the table as JSON with the versions used. Cells whose context is within the trained
length are the same in every row and computed once.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Dict, List, Optional

import tiktoken
import torch
from safetensors.torch import load_file
from tiktoken.load import load_tiktoken_bpe
from torch import Tensor

from qwen_reference import Cache, Qwen, QwenConfig, logn_factor, ntk_alpha, rotate
from vocabulary import QWEN_PIECES

ROWS = {
    "plain": {"dynamic_ntk": False, "logn": False, "graded": False},
    "+ dynamic_ntk": {"dynamic_ntk": True, "logn": False, "graded": False},
    "+ logn": {"dynamic_ntk": True, "logn": True, "graded": False},
    "+ window_attn": {"dynamic_ntk": True, "logn": True, "graded": True},
}
QUERIES = 512


class LongQwen(Qwen):
    """The reference with attention over a few queries at a time, and a window for each layer."""

    graded = False

    def window(self, layer: int) -> Optional[int]:
        """Positions that a query of this layer sees: the trained length, doubled every four layers."""
        return self.config.seq_length << (layer // 4) if self.graded else None

    def _attention(self, layer: int, h: Tensor, past: int, cache: Cache) -> Tensor:
        config, count = self.config, h.shape[0]
        heads, dim = config.heads, config.head_dim
        qkv = h @ self._weight(layer, "attn.c_attn.weight").T + self._weight(layer, "attn.c_attn.bias")
        q, k, v = (part.reshape(count, heads, dim) for part in qkv.split(heads * dim, dim=-1))
        positions = torch.arange(count)
        base = config.rotary_base * cache.alpha ** (dim / (dim - 2))
        q, k = rotate(q, positions, base), rotate(k, positions, base)
        if config.logn:
            factors = [logn_factor(int(p), config.seq_length) for p in positions]
            q = q * torch.tensor(factors, dtype=torch.float32)[:, None, None]
        window = self.window(layer)
        mixed = []
        for start in range(0, count, QUERIES):
            end = min(start + QUERIES, count)
            first = 0 if window is None else max(0, start + 1 - window)
            scores = torch.einsum("thd,shd->hts", q[start:end], k[first:end]) / math.sqrt(dim)
            ahead = positions[None, first:end] > positions[start:end, None]
            if window is not None:
                ahead |= positions[None, first:end] <= positions[start:end, None] - window
            scores = scores.masked_fill(ahead[None], torch.finfo(torch.float32).min)
            mixed.append(torch.einsum("hts,shd->thd", scores.softmax(-1), v[first:end]))
        return torch.cat(mixed).reshape(count, heads * dim) @ self._weight(layer, "attn.c_proj.weight").T

    def losses(self, ids: List[int]) -> float:
        """Sum of -log p over ids[1:], in double."""
        cache = Cache()
        if self.config.dynamic_ntk:
            cache.alpha = ntk_alpha(len(ids), self.config.seq_length)
        x = self.weights["transformer.wte.weight"][torch.tensor(ids)]
        for layer in range(self.config.layers):
            x = self._layer(layer, x, 0, cache)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.config.epsilon)
        x = x * self.weights["transformer.ln_f.weight"]
        total = 0.0
        for start in range(0, len(ids) - 1, QUERIES):
            end = min(start + QUERIES, len(ids) - 1)
            scores = (x[start:end] @ self.weights["lm_head.weight"].T).log_softmax(-1)
            wanted = torch.tensor(ids[start + 1 : end + 1])
            total -= float(scores.gather(1, wanted[:, None]).to(torch.float64).sum())
        return total


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--context", default="1024,2048,4096,8192,16384")
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--seq-length", type=int)
    arguments = parser.parse_args()
    path = arguments.folder / "config.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    if arguments.seq_length:
        facts["seq_length"] = arguments.seq_length
        path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    config = QwenConfig.from_json(facts)
    ranks = load_tiktoken_bpe(str(arguments.folder / "qwen.tiktoken"))
    encoding = tiktoken.Encoding("qwen", pat_str=QWEN_PIECES, mergeable_ranks=ranks, special_tokens={})
    ids = encoding.encode_ordinary(arguments.text.read_text(encoding="utf-8"))[: arguments.tokens]
    weights = load_file(arguments.folder / "model.safetensors")

    table: Dict[str, Dict[int, float]] = {}
    for name, switches in ROWS.items():
        changed = dataclasses.replace(config, dynamic_ntk=switches["dynamic_ntk"], logn=switches["logn"])
        model = LongQwen(changed, weights)
        model.graded = switches["graded"]
        table[name] = {}
        for length in map(int, arguments.context.split(",")):
            if length <= config.seq_length and name != "plain":
                table[name][length] = table["plain"][length]
                continue
            windows = [ids[start : start + length] for start in range(0, len(ids) - 1, length)]
            scored = sum(len(window) - 1 for window in windows)
            table[name][length] = math.exp(sum(map(model.losses, windows)) / scored)
            print(f"{name} {length}: {table[name][length]:.4f}", file=sys.stderr)
    print(json.dumps({"torch": torch.__version__, "tokens": len(ids), "rows": table}, indent=2))


if __name__ == "__main__":
    main()
