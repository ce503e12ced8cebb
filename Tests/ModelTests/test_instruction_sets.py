"""LIBQWEN_ISA limits the instructions of a whole process; whole models have the same bits with all of them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import wide
from conftest import ROOT

SETS = {"x86_64": ["scalar", "avx2", "avxvnni", "avx512", "avx512bf16"], "aarch64": ["scalar", "neon", "neondot", "neoni8mm"]}
NAMES = SETS.get(platform.machine(), ["scalar"])

#: Opens a model in each way, reads a prompt, answers, and prints the set in force and a digest of all logits.
DIGEST = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
import libqwen
digest = hashlib.sha256()
ids = [(7 * k) % 280 for k in range(40)]
for options in (dict(word.split("=") for word in ways.split(",") if word) for ways in sys.argv[3:]):
    with libqwen.Model(sys.argv[2], **options) as model:
        for kind in ("f16", "q8"):
            with model.session(kv_cache=kind) as session:
                for part in (ids, [5], [6], [7, 8, 9]):
                    digest.update(session.logits(part).tobytes())
print(libqwen.describe("cpu")["instruction_set"], digest.hexdigest())
"""


def run(name: str, path: Path, *ways: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", DIGEST, str(ROOT / "bindings" / "python"), str(path), *ways],
        capture_output=True, text=True, check=False, env={**os.environ, "LIBQWEN_ISA": name},
    )


@pytest.mark.parametrize("family", ["qwen", "qwen2", "qwen3-moe"])
def test_whole_models_have_the_same_bits_with_every_set(family, tmp_path):
    wide.write(tmp_path / family, family)
    ways = ["", "compute=float32", "weights=bf16", "weights=bf16,compute=bfloat16", *(f"weights={word}" for word in ("q4_0", "q8_0", "q4_k", "q6_k", "nf4", "int8"))]
    found = {}
    for name in NAMES:
        done = run(name, tmp_path / family, *ways)
        assert done.returncode == 0, done.stderr
        used, digest = done.stdout.split()
        # A processor that lacks a set takes the best one below it.
        assert NAMES.index(used) <= NAMES.index(name)
        found[used] = digest
    assert "scalar" in found
    assert len(set(found.values())) == 1, found


def test_without_a_name_the_best_set_is_taken(tmp_path):
    wide.write(tmp_path / "m", "qwen2")
    assert run("", tmp_path / "m", "").stdout == run(NAMES[-1], tmp_path / "m", "").stdout


def test_a_name_of_no_set_is_an_error_with_the_names(tmp_path):
    wide.write(tmp_path / "m", "qwen2")
    done = run("avx3", tmp_path / "m", "")
    assert done.returncode == 1
    assert "LIBQWEN_ISA in the environment names no instruction set; it takes " + ", ".join(NAMES) in done.stderr
