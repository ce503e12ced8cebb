"""The first Qwen generation (2023) in plain PyTorch float32: what the engine is held against.

Written to be read beside the description of the model, not to be fast. One sequence, no batch.
Every stage is kept, so that a test can name the first one that differs.

The traps of this family, all of them here: `w2` is the gate and `w1` the way up;
`intermediate_size` is twice the real width; q, k and v come from one product with a bias; the
rotary base grows with the length of the *prompt* and then stays; LogN scales queries beyond the
training length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class QwenConfig:
    """The sizes and switches of config.json that change a number."""

    hidden_size: int
    layers: int
    heads: int
    head_dim: int
    mlp_width: int
    epsilon: float
    rotary_base: float
    seq_length: int
    dynamic_ntk: bool
    logn: bool

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> "QwenConfig":
        """Reads either dialect: that of August 2023 (`n_embd`) or the later one (`hidden_size`)."""

        def either(later: str, launch: str) -> int:
            return int(config[later] if later in config else config[launch])

        hidden, heads = either("hidden_size", "n_embd"), either("num_attention_heads", "n_head")
        return cls(
            hidden_size=hidden,
            layers=either("num_hidden_layers", "n_layer"),
            heads=heads,
            head_dim=int(config.get("kv_channels", hidden // heads)),
            mlp_width=either("intermediate_size", "ffn_hidden_size") // 2,
            epsilon=float(config.get("layer_norm_epsilon", 1e-6)),
            rotary_base=float(config.get("rotary_emb_base", 10000)),
            seq_length=int(config["seq_length"]),
            dynamic_ntk=bool(config.get("use_dynamic_ntk", False)),
            logn=bool(config.get("use_logn_attn", False)),
        )


@dataclass
class Cache:
    """Keys and values of one sequence, and the alpha its keys were rotated with."""

    keys: List[Tensor] = field(default_factory=list)
    values: List[Tensor] = field(default_factory=list)
    alpha: float = 1.0

    @property
    def length(self) -> int:
        """Positions that are cached."""
        return self.keys[0].shape[0] if self.keys else 0


@dataclass
class Stages:
    """What one forward pass made: all [T, H] but `logits` [T, V]."""

    embeddings: Tensor
    layers: List[Tensor]
    norm: Tensor
    logits: Tensor


def ntk_alpha(length: int, seq_length: int) -> float:
    """The factor of dynamic NTK for a prompt of `length` tokens: 1, 3, 7, 15 ... by doublings."""
    return max(2.0 ** math.ceil(math.log2(length / seq_length) + 1) - 1, 1.0)


def logn_factor(position: int, seq_length: int) -> float:
    """The factor of a query at `position` (from 0): 1 up to the training length, then a log."""
    seen = position + 1
    return math.log(seen) / math.log(seq_length) if seen > seq_length else 1.0


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Each row divided by its root mean square, then scaled by `weight`."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * weight


def rotate(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """Rotary positions on `x` [T, heads, D]: component j turns together with j + D/2."""
    dim = x.shape[-1]
    half = dim // 2
    inverse = 1.0 / base ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    angles = positions.to(torch.float32)[:, None] * inverse[None, :]
    cos, sin = angles.cos()[:, None, :], angles.sin()[:, None, :]
    low, high = x[..., :half], x[..., half:]
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)


class Qwen:
    """The model: weights as they are named in the checkpoint, upcast to float32."""

    def __init__(self, config: QwenConfig, weights: Mapping[str, Tensor]) -> None:
        self.config = config
        self.weights: Dict[str, Tensor] = {
            name: weight.to(torch.float32) for name, weight in weights.items()
        }

    def forward(self, ids: Sequence[int], cache: Optional[Cache] = None) -> Stages:
        """Runs `ids` behind what `cache` holds; without one, or with an empty one, a prefill."""
        config = self.config
        cache = Cache() if cache is None else cache
        past = cache.length
        if past == 0 and config.dynamic_ntk:
            cache.alpha = ntk_alpha(len(ids), config.seq_length)

        x = self.weights["transformer.wte.weight"][torch.tensor(list(ids))]
        embeddings, layers = x, []
        for layer in range(config.layers):
            x = self._layer(layer, x, past, cache)
            layers.append(x)
        norm = rms_norm(x, self.weights["transformer.ln_f.weight"], config.epsilon)
        return Stages(embeddings, layers, norm, norm @ self.weights["lm_head.weight"].T)

    def greedy(self, ids: Sequence[int], count: int) -> Tuple[List[int], float]:
        """The `count` likeliest next ids one by one, and the narrowest lead of any of them."""
        cache, made, lead = Cache(), [], math.inf
        logits = self.forward(ids, cache).logits[-1]
        for _ in range(count):
            best = torch.topk(logits, 2)
            made.append(int(best.indices[0]))
            lead = min(lead, float(best.values[0] - best.values[1]))
            logits = self.forward(made[-1:], cache).logits[-1]
        return made, lead

    def _layer(self, layer: int, x: Tensor, past: int, cache: Cache) -> Tensor:
        """Attention, then the MLP, each added to the stream it read."""
        h = rms_norm(x, self._weight(layer, "ln_1.weight"), self.config.epsilon)
        x = x + self._attention(layer, h, past, cache)
        h = rms_norm(x, self._weight(layer, "ln_2.weight"), self.config.epsilon)
        up = h @ self._weight(layer, "mlp.w1.weight").T
        gate = h @ self._weight(layer, "mlp.w2.weight").T
        mixed = up * torch.nn.functional.silu(gate)
        return x + mixed @ self._weight(layer, "mlp.c_proj.weight").T

    def _attention(self, layer: int, h: Tensor, past: int, cache: Cache) -> Tensor:
        config, count = self.config, h.shape[0]
        heads, dim = config.heads, config.head_dim
        qkv = h @ self._weight(layer, "attn.c_attn.weight").T
        qkv = qkv + self._weight(layer, "attn.c_attn.bias")
        q, k, v = (part.reshape(count, heads, dim) for part in qkv.split(heads * dim, dim=-1))

        positions = torch.arange(past, past + count)
        base = config.rotary_base * cache.alpha ** (dim / (dim - 2))
        q, k = rotate(q, positions, base), rotate(k, positions, base)
        if len(cache.keys) == layer:
            cache.keys.append(k)
            cache.values.append(v)
        else:
            cache.keys[layer] = k = torch.cat((cache.keys[layer], k))
            cache.values[layer] = v = torch.cat((cache.values[layer], v))

        if config.logn:
            factors = [logn_factor(int(p), config.seq_length) for p in positions]
            q = q * torch.tensor(factors, dtype=torch.float32)[:, None, None]

        scores = torch.einsum("thd,shd->hts", q, k) / math.sqrt(dim)
        unseen = torch.arange(k.shape[0])[None, :] > positions[:, None]
        scores = scores.masked_fill(unseen[None], torch.finfo(torch.float32).min)
        mixed = torch.einsum("hts,shd->thd", scores.softmax(-1), v).reshape(count, heads * dim)
        return mixed @ self._weight(layer, "attn.c_proj.weight").T

    def _weight(self, layer: int, name: str) -> Tensor:
        return self.weights[f"transformer.h.{layer}.{name}"]
