"""Writes Tests/Fixtures/foreign: layers as other programs quantise them, with the weights they mean.

    python Tests/Tools/foreign_weights.py [--check DIR]

bitsandbytes writes and reads its own; FP8 is cast by torch. GPTQ and AWQ need a GPU to be made, so their layers are
random codes packed by `foreign_packing.py`; --check holds that against the packages themselves, whose sources lie
unpacked in DIR (pip download --no-deps auto-gptq==0.7.1 autoawq==0.2.9). Entries are "case/layer.tensor" and
"case/expected" [out, in], float32; `cases.json` has the quantization_config of each case.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any, Dict

import bitsandbytes
import bitsandbytes.functional as bnb
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

import foreign_packing as packing

OUT = Path(__file__).resolve().parents[1] / "Fixtures" / "foreign"
OUTPUTS = 8


def noise(seed: int, outputs: int, inputs: int) -> Tensor:
    """Weights with a few loud ones, a row of zeros and a block of zeros."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(outputs, inputs, generator=generator) * 0.05
    values[:, 7] *= 30
    values[3] = 0
    values[5, :64] = 0
    return values


def four_bits(seed: int, inputs: int, kind: str, block: int, nested: bool, dtype: torch.dtype) -> Dict[str, Tensor]:
    weights = noise(seed, OUTPUTS, inputs).to(dtype)
    codes, state = bnb.quantize_4bit(weights, blocksize=block, quant_type=kind, compress_statistics=nested)
    tensors = {"layer.weight": codes}
    tensors |= {f"layer.weight.{key}": value for key, value in state.as_dict(packed=True).items()}
    state.dtype = torch.float32
    return tensors | {"expected": bnb.dequantize_4bit(codes, state)}


def eight_bits(seed: int, inputs: int) -> Dict[str, Tensor]:
    weights = noise(seed, OUTPUTS, inputs).to(torch.float16)
    codes, magnitudes, _ = bnb.int8_vectorwise_quant(weights)
    expected = bnb.int8_vectorwise_dequant(codes, magnitudes)
    tensors = {"layer.weight": codes, "layer.SCB": magnitudes, "layer.weight_format": torch.tensor(0, dtype=torch.uint8)}
    return tensors | {"expected": expected.float()}


def squares(seed: int, outputs: int, inputs: int, dtype: torch.dtype) -> Dict[str, Tensor]:
    weights = noise(seed, outputs, inputs)
    scales = torch.zeros(-(-outputs // 128), -(-inputs // 128))
    codes = torch.zeros(outputs, inputs, dtype=torch.float8_e4m3fn)
    expected = torch.zeros(outputs, inputs)
    for row in range(scales.shape[0]):
        for column in range(scales.shape[1]):
            at = (slice(128 * row, 128 * row + 128), slice(128 * column, 128 * column + 128))
            scale = (weights[at].abs().max() / 448).to(dtype)
            scales[row, column] = scale
            codes[at] = (weights[at] / scale.float()).to(torch.float8_e4m3fn)
            expected[at] = codes[at].float() * scale.float()
    return {"layer.weight": codes, "layer.weight_scale_inv": scales.to(dtype), "expected": expected}


def groups_case(seed: int, kind: str, inputs: int, size: int, bits: int = 4, **how: Any) -> Dict[str, Tensor]:
    """A GPTQ or AWQ layer."""
    random = np.random.default_rng(seed)
    symmetric = how.get("symmetric", True)
    codes, zeros, scales = packing.random_layer(random, inputs, OUTPUTS, size, bits, symmetric, 0.1)
    groups = np.arange(inputs) // size
    if how.get("sorted_by_importance"):
        groups = groups[random.permutation(inputs)]
    if how.get("uneven"):
        groups = random.integers(0, -(-inputs // size), inputs)
    if kind == "awq":
        layer = packing.awq(codes, zeros, scales)
    else:
        layer = packing.gptq(codes, zeros, scales, groups, bits, how.get("zero_bias", 1))
        # Releases of 2023 have a bias of zeros for every layer.
        layer["bias"] = np.zeros(OUTPUTS, np.float16)
    tensors = {f"layer.{key}": torch.from_numpy(value) for key, value in layer.items()}
    return tensors | {"expected": torch.from_numpy(packing.values(codes, zeros, scales, groups))}


def cases() -> Dict[str, Any]:
    bits4 = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    bits8 = {"quant_method": "bitsandbytes", "load_in_8bit": True, "llm_int8_threshold": 6.0}
    fp8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}

    def gptq(size: int, bits: int = 4, **more: Any) -> Dict[str, Any]:
        common = {"quant_method": "gptq", "bits": bits, "group_size": size, "damp_percent": 0.01}
        return common | {"desc_act": False, "sym": True, "true_sequential": True} | more

    awq = {"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm", "zero_point": True}
    half, brain, single = torch.float16, torch.bfloat16, torch.float32
    return {
        "nf4": (bits4, four_bits(1, 128, "nf4", 64, False, brain)),
        "nf4-half": (bits4, four_bits(2, 192, "nf4", 64, False, half)),
        "nf4-nested": (bits4, four_bits(3, 1088, "nf4", 64, True, brain)),
        "nf4-128": (bits4, four_bits(4, 256, "nf4", 128, False, single)),
        "nf4-odd": (bits4, four_bits(5, 72, "nf4", 64, False, single)),
        "fp4": (bits4, four_bits(6, 128, "fp4", 64, False, half)),
        "fp4-nested": (bits4, four_bits(7, 128, "fp4", 64, True, half)),
        "int8": (bits8, eight_bits(8, 128)),
        "int8-odd": (bits8, eight_bits(9, 50)),
        "fp8": (fp8, squares(10, 130, 128, brain)),
        "fp8-odd": (fp8, squares(11, 20, 72, single)),
        "gptq-4": (gptq(128), groups_case(12, "gptq", 256, 128)),
        "gptq-4-asymmetric": (gptq(32, sym=False), groups_case(13, "gptq", 128, 32, symmetric=False)),
        "gptq-4-whole": (gptq(-1), groups_case(14, "gptq", 96, 96)),
        "gptq-4-sorted": (
            gptq(64, desc_act=True, sym=False),
            groups_case(15, "gptq", 256, 64, symmetric=False, sorted_by_importance=True),
        ),
        "gptq-4-uneven": (gptq(32, desc_act=True), groups_case(16, "gptq", 96, 32, uneven=True)),
        "gptq-8": (gptq(64, 8), groups_case(17, "gptq", 128, 64, 8)),
        "gptq-8-sorted": (
            gptq(32, 8, desc_act=True, sym=False),
            groups_case(18, "gptq", 96, 32, 8, symmetric=False, sorted_by_importance=True),
        ),
        "gptq-v2": (
            gptq(32, sym=False, checkpoint_format="gptq_v2"),
            groups_case(19, "gptq", 64, 32, symmetric=False, zero_bias=0),
        ),
        "awq": (awq, groups_case(20, "awq", 128, 64, symmetric=False)),
    }


# ---- Against the packages --------------------------------------------------------------------------------


def check(folder: Path) -> None:
    """Holds `foreign_packing` against auto_gptq's packing and autoawq's packing and reading."""
    random = np.random.default_rng(7)
    transformers = types.ModuleType("transformers")
    transformers.pytorch_utils = types.SimpleNamespace(Conv1D=type("Conv1D", (), {}))
    saved, sys.modules["transformers"] = sys.modules.get("transformers"), transformers
    source = folder / "auto_gptq/nn_modules/qlinear/qlinear_cuda_old.py"
    text = source.read_text().replace("from ...utils.import_utils", "from auto_gptq_utils")
    sys.modules["auto_gptq_utils"] = types.ModuleType("auto_gptq_utils")
    module = types.ModuleType("qlinear_cuda_old")
    exec(compile(text, str(source), "exec"), module.__dict__)
    for bits in (4, 8):
        size, inputs, outputs = 64, 128, 32
        codes, zeros, scales = packing.random_layer(random, inputs, outputs, size, bits, False, 1.0)
        # A power of two as scale: the package finds the codes again without rounding.
        scales = np.exp2(np.round(np.log2(scales.astype(np.float32)))).astype(np.float16)
        groups = np.arange(inputs) // size
        layer = module.QuantLinear(bits, size, inputs, outputs, False, weight_dtype=torch.float32)
        linear = torch.nn.Linear(inputs, outputs, bias=False)
        linear.weight.data = torch.from_numpy(packing.values(codes, zeros, scales, groups))
        arguments = [torch.from_numpy(x.T.astype(np.float32)) for x in (scales, zeros)]
        layer.pack(linear, *arguments, None)
        ours = packing.gptq(codes, zeros, scales, groups, bits)
        for name in ("qweight", "qzeros"):
            assert np.array_equal(getattr(layer, name).numpy(), ours[name]), (bits, name)
        # Their product with the identity is their reading of the weights.
        read = layer(torch.eye(inputs)).detach().numpy().T
        assert np.array_equal(read, packing.values(codes, zeros, scales, groups)), bits
    spec = importlib.util.spec_from_file_location("packing_utils", folder / "autoawq-0.2.9/awq/utils/packing_utils.py")
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    codes, zeros, scales = packing.random_layer(random, 128, 32, 32, 4, False, 1.0)
    layer = {name: torch.from_numpy(value) for name, value in packing.awq(codes, zeros, scales).items()}
    read = theirs.dequantize_gemm(layer["qweight"], layer["qzeros"], layer["scales"].float(), 4, 32)
    assert np.array_equal(read.numpy().T, packing.values(codes, zeros, scales, np.arange(128) // 32))
    if saved is not None:
        sys.modules["transformers"] = saved
    print("auto_gptq 0.7.1 and autoawq 0.2.9 pack and read the same")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.check:
        check(arguments.check)
    OUT.mkdir(exist_ok=True)
    tensors: Dict[str, Tensor] = {}
    configs: Dict[str, Any] = {}
    for name, (config, layer) in cases().items():
        configs[name] = config
        tensors |= {f"{name}/{key}": value.contiguous().clone() for key, value in layer.items()}
    save_file(tensors, OUT / "layers.safetensors")
    text = json.dumps({"bitsandbytes": bitsandbytes.__version__, "cases": configs}, indent=1)
    (OUT / "cases.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
