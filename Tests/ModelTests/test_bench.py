"""`qwen bench`: what it measures is what it says."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from conftest import FIXTURES, ROOT

COMMAND = ROOT / "build" / "bin" / "qwen"
TINY = FIXTURES / "tiny"


def bench(name: str, *options: object) -> subprocess.CompletedProcess:
    command = [COMMAND, "bench", TINY / name, "--repetitions", 2, "--threads", 2, *options]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


def facts(name: str, *options: object) -> dict:
    done = bench(name, *options, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("prompt, new, sequences, chunk", [(120, 1, 4, 16), (3, 40, 5, 64), (17, 2, 9, 4), (1, 1, 1, 1)])
def test_a_batch_is_timed_however_long_its_prompts_are(prompt, new, sequences, chunk):
    options = ["--prompt", prompt, "--generate", new, "--batch", sequences, "--prefill-chunk", chunk]
    found = facts("llama", *options)
    assert found["batch_sequences"] == sequences
    assert found["batch_decode_tokens_per_second"] > 0


def test_a_context_too_small_for_a_batch_is_told():
    done = bench("llama", "--prompt", 30, "--generate", 2, "--batch", 4, "--prefill-chunk", 8, "--context", 33)
    assert done.returncode != 0
    assert "context" in done.stderr


@pytest.mark.parametrize("name", ["llama", "qwen2-tied", "qwen2-moe"])
def test_it_says_what_it_ran_on(name):
    found = facts(name, "--prompt", 8, "--generate", 4)
    assert found["machine"] and found["instruction_set"] and found["threads"] == 2
    assert found["weight_bytes_per_token"] > 0
    assert len(found["read_runs"]) == 3 and found["read_bytes_per_second"] > 1e8
    share = found["weight_bytes_per_token"] * found["decode_tokens_per_second"] / found["read_bytes_per_second"]
    assert found["decode_to_read"] == pytest.approx(share)
    # The memory that is read to compare is no part of what the model takes.
    assert 0 < found["rss_bytes"] <= found["peak_rss_bytes"] < 300 << 20
    text = bench(name, "--prompt", 8, "--generate", 4).stdout
    assert [line.split()[0] for line in text.splitlines()] == ["machine", "load", "reading", "saying", "stream", "memory"]
    assert f"{found['instruction_set']}, 2 threads" in text


def test_a_token_reads_the_layers_and_the_head():
    dense, tied = (json.loads(info(name))["parts"] for name in ("qwen2-untied", "qwen2-tied"))
    for name, parts in (("qwen2-untied", dense), ("qwen2-tied", tied)):
        sizes = {part["part"]: part["bytes"] for part in parts}
        expected = sizes["layers"] + sizes.get("head", sizes["embeddings"])
        assert json.loads(info(name))["memory"]["weight_bytes_per_token"] == expected


def info(name: str) -> str:
    command = [str(COMMAND), "info", str(TINY / name), "--json"]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
