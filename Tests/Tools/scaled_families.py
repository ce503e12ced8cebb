"""Writes Tests/Fixtures/scaled_families.*: tiny models of the later families with YaRN, linear scaling and windows.

    python Tests/Tools/scaled_families.py

`scaled_families.json` has the changes to a tiny model's config.json and the token ids; `scaled_families.safetensors`
the logits of the last tokens, by transformers in float32.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

FIXTURES = Path(__file__).resolve().parents[1] / "Fixtures"
ROWS = 3
TOKENS = 61
YARN = {"factor": 4.0, "original_max_position_embeddings": 16}
#: Name, tiny model, what its config.json says instead.
CASES = [
    ("qwen2-yarn", "qwen2-untied", {"rope_scaling": YARN | {"type": "yarn"}}),
    ("qwen2-yarn-later-key", "qwen2-tied", {"rope_scaling": YARN | {"rope_type": "yarn"}}),
    (
        "qwen2-yarn-parameters",
        "qwen2-tied",
        {"rope_theta": None, "rope_parameters": YARN | {"rope_type": "yarn", "rope_theta": 10000.0}},
    ),
    (
        "qwen3-yarn",
        "qwen3",
        {"rope_scaling": YARN | {"rope_type": "yarn", "attention_factor": 1.25, "beta_fast": 8, "beta_slow": 2}},
    ),
    ("qwen2-linear", "qwen2-tied", {"rope_scaling": {"type": "linear", "factor": 2.5}}),
    (
        "qwen2-sliding",
        "qwen2-untied",
        {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1},
    ),
    (
        "qwen3-layer-types",
        "qwen3",
        {
            "use_sliding_window": True,
            "sliding_window": 5,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
]


@torch.inference_mode()
def main() -> None:
    tensors, facts = {}, {}
    for name, base, changes in CASES:
        source = FIXTURES / "tiny" / base
        ids = load_file(source / "golden.safetensors")["input_ids"].tolist()
        ids = (ids * TOKENS)[:TOKENS]
        config = json.loads((source / "config.json").read_text(encoding="utf-8")) | changes
        config = {key: value for key, value in config.items() if value is not None or key in ("rope_scaling",)}
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(source, folder, dirs_exist_ok=True)
            (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, attn_implementation="eager"
            ).eval()
            logits = model(torch.tensor([ids])).logits[0]
            plain = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
            apart = float((logits - plain(torch.tensor([ids])).logits[0])[-ROWS:].abs().max())
        assert apart > 1e-2, f"{name} changes nothing: {apart}"
        tensors[name] = logits[-ROWS:].contiguous()
        facts[name] = {"model": base, "config": config, "ids": ids}
        print(f"{name}: {apart:.3f} away from the model as it is")
    save_file(tensors, FIXTURES / "scaled_families.safetensors")
    text = json.dumps(facts, indent=1)
    (FIXTURES / "scaled_families.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
