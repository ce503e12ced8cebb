"""How GPTQ and AWQ lay out quantised matrices, and what they mean, in numpy. Nothing here comes from our engine.

Codes and zeros are [in, out] and [groups, out], scales [groups, out] in half precision: w = scale * (q - zero).
"""

from __future__ import annotations

from typing import Dict, Optional

import numpy as np

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def words(codes: np.ndarray, bits: int, axis: int, order: Optional[list] = None) -> np.ndarray:
    """Packs codes along an axis into words of 32 bits, lowest first; `order` says which code comes at each place."""
    per_word = 32 // bits
    moved = np.moveaxis(codes.astype(np.uint32), axis, -1)
    parts = moved.reshape(*moved.shape[:-1], -1, per_word)
    packed = np.zeros(parts.shape[:-1], np.uint32)
    for place, which in enumerate(order or range(per_word)):
        packed |= (parts[..., which] & np.uint32(2**bits - 1)) << np.uint32(bits * place)
    return np.ascontiguousarray(np.moveaxis(packed, -1, axis)).view(np.int32)


def gptq(
    codes: np.ndarray, zeros: np.ndarray, scales: np.ndarray, groups: np.ndarray, bits: int, bias: int = 1
) -> Dict[str, np.ndarray]:
    """The tensors of a GPTQ layer; `bias` is what stored zeros are less than real ones."""
    return {
        "qweight": words(codes, bits, 0),
        "qzeros": words(zeros - bias, bits, 1),
        "scales": scales.astype(np.float16),
        "g_idx": groups.astype(np.int32),
    }


def awq(codes: np.ndarray, zeros: np.ndarray, scales: np.ndarray) -> Dict[str, np.ndarray]:
    """The tensors of an AWQ layer of the "gemm" kind."""
    return {
        "qweight": words(codes, 4, 1, AWQ_ORDER),
        "qzeros": words(zeros, 4, 1, AWQ_ORDER),
        "scales": scales.astype(np.float16),
    }


def values(codes: np.ndarray, zeros: np.ndarray, scales: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The weights [out, in] in float32, exactly."""
    difference = codes.astype(np.int32) - zeros.astype(np.int32)[groups]
    return np.ascontiguousarray((scales.astype(np.float16).astype(np.float32)[groups] * difference.astype(np.float32)).T)


def random_layer(
    random: np.random.Generator, inputs: int, outputs: int, size: int, bits: int, symmetric: bool, spread: float
) -> tuple:
    """Codes, zeros and scales as a quantiser may choose them, of weights of about that spread."""
    count = -(-inputs // size)
    codes = random.integers(0, 2**bits, (inputs, outputs))
    middle = 2 ** (bits - 1)
    zeros = np.full((count, outputs), middle)
    if not symmetric:
        zeros = random.integers(1, 2**bits, (count, outputs))
    scales = (random.uniform(0.5, 1.5, (count, outputs)) * spread / middle).astype(np.float16)
    return codes, zeros, scales
