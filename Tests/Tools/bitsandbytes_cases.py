"""Writes Tests/Fixtures/bitsandbytes.safetensors: what bitsandbytes makes of matrices, on a processor.

    python Tests/Tools/bitsandbytes_cases.py

- `nf4.source` [20, 1024] float16; `nf4.packed`, `nf4.absmax`, `nf4.values`: codes two a byte (the first one above),
  largest magnitudes, decoded. Blocks of zeros, of one value, of tiny and huge ones are among them.
- `double.codes`, `double.factors`, `double.offset`: the magnitudes in 8 bits, and `double.values`.
- `fp4.packed`, `fp4.absmax`, `fp4.values`: the first 4 rows.
- `int8.source` [33, 96] float16; `int8.codes`, `int8.scales`, `int8.values`.
- `int8.inputs` [7, 96] float16, with and without outliers; `int8.outputs` [7, 33] float32: each row by itself
  times the matrix, as LLM.int8() with threshold 6 computes it; `int8.batch`: all of them at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict

import bitsandbytes.functional as bnb
import numpy as np
import torch
from safetensors.numpy import save_file

OUT = Path(__file__).resolve().parents[1] / "Fixtures" / "bitsandbytes.safetensors"


def four_bit_source(random: np.random.Generator) -> torch.Tensor:
    """Ordinary rows with a few blocks of a kind."""
    source = 0.05 * random.standard_normal((20, 1024))
    source[3:6] *= np.exp(random.standard_normal((3, 1024)))
    blocks = source.reshape(-1, 64)
    blocks[5] = 0
    blocks[6] = 0.25
    blocks[7] = -0.125
    blocks[8] = 6e-8 * random.integers(-5, 6, 64)
    blocks[9] = 6e4 * random.uniform(-1, 1, 64)
    blocks[10] = np.where(np.arange(64) == 9, -3.0, 0.0)
    return torch.tensor(source, dtype=torch.float16)


def main() -> None:
    """Writes the file."""
    random = np.random.default_rng(20230903)
    arrays: Dict[str, np.ndarray] = {}

    source = four_bit_source(random)
    arrays["nf4.source"] = source.numpy()
    for name, double, kind in (("nf4", False, "nf4"), ("double", True, "nf4"), ("fp4", False, "fp4")):
        matrix = source[:4] if name == "fp4" else source
        packed, state = bnb.quantize_4bit(
            matrix.float(), blocksize=64, quant_type=kind, compress_statistics=double
        )
        values = bnb.dequantize_4bit(packed, state).reshape(matrix.shape)
        arrays[f"{name}.values"] = values.numpy()
        if double:
            arrays["double.codes"] = state.absmax.numpy()
            arrays["double.factors"] = state.state2.absmax.numpy()
            arrays["double.offset"] = state.offset.reshape(1).numpy()
        else:
            arrays[f"{name}.packed"] = packed.reshape(matrix.shape[0], -1).numpy()
            arrays[f"{name}.absmax"] = state.absmax.numpy()

    weights = torch.tensor(0.1 * random.standard_normal((33, 96)), dtype=torch.float16)
    weights[4] = 0
    weights[5, :] = 0.5
    codes, scales, _ = torch.ops.bitsandbytes.int8_vectorwise_quant(weights.clone(), 0.0)
    arrays["int8.source"] = weights.numpy()
    arrays["int8.codes"] = codes.numpy()
    arrays["int8.scales"] = scales.numpy()
    arrays["int8.values"] = torch.ops.bitsandbytes.int8_vectorwise_dequant(codes, scales).numpy()

    inputs = random.standard_normal((7, 96))
    inputs[1, 40] = 9.5
    inputs[2, [0, 31, 32, 95]] = [-6.0, 17.0, 5.996, 8.0]
    inputs[3] *= 7
    inputs[4] = 0
    inputs[5, 3] = -80.0
    inputs[6] *= 1e-3
    inputs = torch.tensor(inputs, dtype=torch.float16)
    arrays["int8.inputs"] = inputs.numpy()
    rows = []
    for row in inputs:
        x = row.reshape(1, -1).clone()
        quantised, statistics, columns = torch.ops.bitsandbytes.int8_vectorwise_quant(x, 6.0)
        output, _ = torch.ops.bitsandbytes.int8_mixed_scaled_mm(
            row.reshape(1, -1), quantised, codes, statistics, scales, columns
        )
        rows.append(output.float())
    arrays["int8.outputs"] = torch.cat(rows).numpy()
    quantised, statistics, columns = torch.ops.bitsandbytes.int8_vectorwise_quant(inputs.clone(), 6.0)
    output, _ = torch.ops.bitsandbytes.int8_mixed_scaled_mm(
        inputs, quantised, codes, statistics, scales, columns
    )
    arrays["int8.batch"] = output.float().numpy()

    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, OUT)
    OUT.chmod(0o644)
    print(f"{OUT}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
