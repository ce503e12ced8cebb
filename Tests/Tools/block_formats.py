"""Writes Tests/Fixtures/blocks.safetensors: blocks of every storage format with their values.

    python Tests/Tools/block_formats.py

For a format F (lower case) the file has, all from the `gguf` package:

- `F.bytes` [rows, bytes] and `F.values` [rows, elements]: arbitrary blocks and what they mean.
  Scales are finite and of every size and sign, subnormal ones too; quants are all bit patterns.
- `F.encoded`: the blocks that the rows of `source` [rows, 64] become; those of `half.source` for
  `f16` and `bf16`. Only for formats that `gguf` can write.

Not-a-number in `f16` and `bf16` rows: compare by kind, not by payload.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

OUT = Path(__file__).resolve().parents[1] / "Fixtures" / "blocks.safetensors"
ROWS = 6
FORMATS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
FORMATS += ["IQ4_NL", "IQ4_XS"]
WRITABLE = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
#: Byte offsets of the half-precision scales in a block.
SCALES = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "IQ4_NL": [0],
    "IQ4_XS": [0],
}
SCALE_VALUES = [0.0, -0.0, 1.0, -1.0, 0.0123, -0.37, 6e-8, 6.1e-5, -3e-6, 1000.0, -8.0, 65504.0]


def arbitrary_blocks(name: str, random: np.random.Generator) -> np.ndarray:
    """Two blocks a row: random bytes with chosen scales; the first rows have plain extremes."""
    size = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    blocks = random.integers(0, 256, (2 * ROWS, size), dtype=np.uint8)
    blocks[0], blocks[1] = 0, 255
    for index, offset in enumerate(SCALES[name]):
        scales = np.roll(np.array(SCALE_VALUES, dtype=np.float16), 5 * index)
        blocks[:, offset : offset + 2] = scales[:, None].view(np.uint8)
    return blocks.reshape(ROWS, 2 * size)


def source_rows(random: np.random.Generator) -> np.ndarray:
    """Rows of 64 floats: the shapes that encoders get wrong."""
    rows: List[np.ndarray] = [
        random.standard_normal(64),
        np.zeros(64),
        np.full(64, 0.25),
        -np.abs(random.standard_normal(64)),
        np.where(np.arange(64) % 32 == 7, -50.0, 0.01 * random.standard_normal(64)),
        1e-8 * random.standard_normal(64),
        2e4 * random.uniform(-1, 1, 64),
        # Magnitudes that tie, with either sign first.
        np.where(np.arange(64) % 2 == 0, 2.0, -2.0) * np.where(np.arange(64) < 32, 1, -1),
        # Halves between two quants of Q8_0 with scale 1, and the ends of its range.
        np.concatenate([np.arange(-15, 16) + 0.5, [127.0], np.arange(-15, 16) - 0.5, [-127.0]]),
        # A scale beyond half precision, sums beyond floats, scales whose inverse is infinite.
        1e7 * random.standard_normal(64),
        3.4e38 * random.uniform(-1, 1, 64),
        1e-40 * random.standard_normal(64),
        1e-44 * random.standard_normal(64),
    ]
    ordinary = random.standard_normal((4, 64))
    for index, bad in enumerate((np.nan, np.inf, -np.inf)):
        ordinary[index, [5, 40]] = bad
    ordinary[3, [2, 9, 34, 60]] = [np.inf, np.nan, -np.inf, np.inf]
    rows += list(ordinary)
    rows += list(random.standard_t(3, (40, 64)) * 0.02)
    with np.errstate(over="ignore"):
        return np.stack(rows).astype(np.float32)


def half_patterns() -> np.ndarray:
    """16-bit patterns of both half formats: zeros, subnormals, ends, infinities, not-a-numbers."""
    low = [0x0000, 0x0001, 0x0002, 0x03FF, 0x0400, 0x0401, 0x3BFF, 0x3C00, 0x3C01, 0x3F80, 0x4248]
    high = [0x0080, 0x007F, 0x7BFF, 0x7C00, 0x7C01, 0x7E00, 0x7F7F, 0x7F80, 0x7F81, 0x7FC0, 0x7FFF]
    positive = np.array(low + high, dtype=np.uint16)
    return np.concatenate([positive, positive | 0x8000])


def half_sources() -> np.ndarray:
    """Floats whose rounding to 16 bits is a matter of rules: ties, overflow, subnormals."""
    positive = [
        *(0.0, 1.0, 1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20),
        *(65504.0, 65519.99, 65520.0, 2**-14, 2**-24, 2**-25, 1.01 * 2**-25, 3 * 2**-25),
        *(3.3895314e38, 3.4028235e38, 1e-40, 1.1754944e-38, np.inf, np.nan, 3.14159265),
    ]
    values = np.array(positive, dtype=np.float32)
    return np.concatenate([values, -values])


def main() -> None:
    """Writes the file."""
    random = np.random.default_rng(20230803)
    arrays: Dict[str, np.ndarray] = {}
    sources = source_rows(random)
    arrays["source"] = sources
    arrays["half.source"] = half_sources().reshape(1, -1)
    for name in FORMATS:
        kind, key = GGMLQuantizationType[name], name.lower()
        arrays[f"{key}.bytes"] = arbitrary_blocks(name, random)
        arrays[f"{key}.values"] = dequantize(arrays[f"{key}.bytes"], kind)
        if name in WRITABLE:
            with np.errstate(all="ignore"):
                arrays[f"{key}.encoded"] = quantize(sources, kind)
    with np.errstate(over="ignore"):
        for name in ("F16", "BF16"):
            kind, key = GGMLQuantizationType[name], name.lower()
            arrays[f"{key}.bytes"] = half_patterns().view(np.uint8).reshape(1, -1)
            arrays[f"{key}.values"] = as_float(arrays[f"{key}.bytes"], kind)
            encoded = quantize(arrays["half.source"], kind)
            arrays[f"{key}.encoded"] = np.ascontiguousarray(encoded).view(np.uint8)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, OUT)
    OUT.chmod(0o644)
    print(f"{OUT}: {OUT.stat().st_size} bytes")


def as_float(data: np.ndarray, kind: GGMLQuantizationType) -> np.ndarray:
    """16-bit rows as float32."""
    shaped = data.view(np.float16) if kind is GGMLQuantizationType.F16 else data
    return dequantize(shaped, kind)


if __name__ == "__main__":
    main()
