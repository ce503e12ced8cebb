"""Writes checkpoints as torch.save makes them, and some that must be refused.

    python Tests/Tools/torch_checkpoints.py

`Tests/Fixtures/tiny/qwen-launch-bin` and `qwen-ntk-bin` are the models beside them, with their weights in
pytorch_model.bin and in shards with an index. `Tests/Fixtures/torch/<case>/pytorch_model.bin` are single points of
the format; `cases.json` says what each holds (dtype, shape, bytes), or which words its refusal must have.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Union

import torch
from safetensors.torch import load_file
from torch import Tensor

FIXTURES = Path(__file__).resolve().parents[1] / "Fixtures"
TINY = FIXTURES / "tiny"
OUT = FIXTURES / "torch"
NAMES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def link_others(source: Path, target: Path) -> None:
    """Links every file of `source` but its weights into `target`."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for file in sorted(source.iterdir()):
        if not file.name.startswith("model"):
            os.symlink(os.path.relpath(file, target), target / file.name)


def write_single(name: str) -> None:
    """A tiny model with pytorch_model.bin."""
    target = TINY / f"{name}-bin"
    link_others(TINY / name, target)
    torch.save(dict(load_file(TINY / name / "model.safetensors")), target / "pytorch_model.bin")


def write_sharded(name: str) -> None:
    """A tiny model in the shards of its index, each a state_dict of parameters."""
    source, target = TINY / name, TINY / f"{name}-bin"
    link_others(source, target)
    index = json.loads((source / "model.safetensors.index.json").read_text(encoding="utf-8"))
    for shard in sorted(set(index["weight_map"].values())):
        weights = load_file(source / shard)
        state = torch.nn.ParameterDict({}).state_dict()
        state.update(weights)
        torch.save(state, target / bin_name(shard))
    index["weight_map"] = {key: bin_name(file) for key, file in index["weight_map"].items()}
    path = target / "pytorch_model.bin.index.json"
    path.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def bin_name(shard: str) -> str:
    return "pytorch_" + shard.replace(".safetensors", ".bin")


def saved(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def repacked(data: bytes, change: Callable[[str, bytes], Any], method: int = zipfile.ZIP_STORED) -> bytes:
    """The archive with each entry as `change` returns it; None drops it."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(out, "w", method) as made:
        for name in given.namelist():
            value = change(name, given.read(name))
            if value is not None:
                made.writestr(zipfile.ZipInfo(name, (2023, 8, 3, 0, 0, 0)), value, compress_type=method)
    return out.getvalue()


class Attack:
    """Asks its reader to run a command."""

    def __reduce__(self) -> Any:
        return os.system, ("true",)


def generic() -> Tensor:
    return torch.arange(12, dtype=torch.float32).reshape(3, 4)


def accepted() -> Dict[str, Any]:
    """What must be read: name -> (bytes of the file, tensors in it)."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(5, 3, generator=generator)
    types = {name: (noise * 40).to(dtype) for dtype, name in NAMES.items()}
    base = torch.randn(6, 4, generator=generator).to(torch.bfloat16)
    views = {"all": base, "rows": base[2:5], "row": base[5], "same": base, "flat": base[1:3].reshape(-1)}
    ones = {"a": generic()[:1].t()[:, :1].t(), "none": torch.zeros(0, 4), "scalar": torch.tensor(3.5)}
    module = torch.nn.Linear(3, 2)
    torch.nn.init.normal_(module.weight, generator=generator)
    torch.nn.init.normal_(module.bias, generator=generator)
    state = module.state_dict()
    parameters = dict(module.named_parameters())
    plain = {"weight": generic(), "step": 3, "big": 1 << 40, "minus": -(1 << 33), "rate": 0.5, "tags": ["a", ("b",)]}
    return {
        "types": (saved(types), types),
        "views": (saved(views), views),
        "ones": (saved(ones), ones),
        "state-dict": (saved(state), dict(state)),
        "parameters": (saved(parameters), {k: v.detach() for k, v in parameters.items()}),
        "other-values": (saved(plain), {"weight": plain["weight"]}),
        "protocol-4": (saved({"weight": generic()}, pickle_protocol=4), {"weight": generic()}),
        "protocol-5": (saved({"weight": generic()}, pickle_protocol=5), {"weight": generic()}),
    }


def refused() -> Dict[str, Any]:
    """What must be refused: name -> (bytes of the file, words of the message)."""
    good = saved({"weight": generic()})

    def other_pickle(data: bytes) -> bytes:
        return repacked(good, lambda name, old: data if name.endswith("data.pkl") else old)

    def global_only(module: str, name: str) -> bytes:
        return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"."

    deep = b"\x80\x02)" + b"\x85" * 1000 + b"."
    circle = b"\x80\x02]q\x00h\x00a."
    transposed = saved({"weight": generic().t()})
    return {
        "transposed": (transposed, ["weight", "strides", "contiguous"]),
        "attack": (other_pickle(pickle.dumps({"weight": Attack()}, protocol=2)), ["posix.system", "nothing was run"]),
        "attack-4": (other_pickle(pickle.dumps({"w": Attack()}, protocol=4)), ["posix.system", "nothing was run"]),
        "eval": (other_pickle(global_only("builtins", "eval")), ["builtins.eval"]),
        "numpy": (other_pickle(global_only("numpy.core.multiarray", "_reconstruct")), ["numpy.core.multiarray"]),
        "whole-module": (saved(torch.nn.Linear(2, 2)), ["torch.nn.modules.linear.Linear"]),
        "nested": (saved({"state_dict": {"weight": generic()}}), ["no tensors", "state_dict"]),
        "deep": (other_pickle(deep), ["nested"]),
        "circle": (other_pickle(circle), ["no dictionary"]),
        "compressed": (repacked(good, lambda _, old: old, zipfile.ZIP_DEFLATED), ["compressed"]),
        "big-endian": (repacked(good, lambda n, old: b"big" if n.endswith("byteorder") else old), ["big-endian"]),
        "no-storage": (repacked(good, lambda n, old: None if n.endswith("data/0") else old), ["weight", "storage"]),
        "short-storage": (
            repacked(good, lambda n, old: old[:-1] if n.endswith("data/0") else old),
            ["weight", "47 bytes"],
        ),
        "old-format": (saved({"weight": generic()}, _use_new_zipfile_serialization=False), ["before version 1.6"]),
        "cut": (good[: len(good) // 2], ["no end", "download"]),
        "cut-in-storage": (saved({"weight": torch.zeros(2000)})[:4000], ["has 4000 bytes", "alone have 8000"]),
        "empty": (b"", ["0 bytes"]),
        "page": (b"<!DOCTYPE html><html><body>Sign in</body></html>", ["web page"]),
        "pointer": (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 15442733145\n",
            ["git-LFS pointer of 136 bytes", "15442733145", "git lfs pull"],
        ),
        "link-text": (b"../../blobs/" + b"a" * 64, ["link into a cache"]),
    }


def main() -> None:
    write_single("qwen-launch")
    write_sharded("qwen-ntk")
    shutil.rmtree(OUT, ignore_errors=True)
    cases: List[Dict[str, Any]] = []
    for name, (data, tensors) in accepted().items():
        write(name, data)
        entries = {
            key: {
                "dtype": NAMES[value.dtype],
                "shape": list(value.shape),
                "hex": value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes().hex(),
            }
            for key, value in tensors.items()
        }
        cases.append({"case": name, "tensors": entries})
    for name, (data, words) in refused().items():
        write(name, data)
        cases.append({"case": name, "refused": words})
    text = json.dumps(cases, indent=1)
    (OUT / "cases.json").write_text(text + "\n", encoding="utf-8")


def write(name: str, data: Union[bytes, bytearray]) -> None:
    (OUT / name).mkdir(parents=True)
    (OUT / name / "pytorch_model.bin").write_bytes(data)


if __name__ == "__main__":
    main()
