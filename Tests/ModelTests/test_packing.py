"""Mapped weights that move into interleaved memory between steps: same bits, no more memory, and an end."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import libqwen
import numpy as np
import pytest
import wide
from conftest import ROOT

IDS = [int(i) for i in np.random.default_rng(5).integers(0, 280, 40)]


def bits(rows: np.ndarray) -> np.ndarray:
    return np.array(rows, dtype=np.float32).view(np.uint32)


@pytest.fixture(scope="module", params=["qwen", "qwen2", "qwen2-tied", "qwen2-moe"])
def rows(request, tmp_path_factory) -> Path:
    """A model whose matrices lie in rows of Q4_0 and Q6_K in a file."""
    folder = tmp_path_factory.mktemp(request.param)
    wide.write(folder / "floats", request.param)
    libqwen.convert(folder / "floats", folder / "rows.gguf", weights="q4_0", head="q6_k", embeddings="q6_k")
    return folder / "rows.gguf"


def memory(model: libqwen.Model) -> dict:
    return model.info["memory"]


def settle(model: libqwen.Model, session, wanted: np.ndarray) -> int:
    """Runs until weights stay where they are; counts the runs."""
    for count in range(1, 2000):
        assert np.array_equal(bits(session.logits(IDS)), wanted), f"run {count}"
        if memory(model)["settled"]:
            return count
        session.reset()
    raise AssertionError("weights never settle")


def test_weights_move_between_steps_and_bits_stay(rows):
    with libqwen.Model(rows, pack="off") as model, model.session() as session:
        wanted = bits(session.logits(IDS))
        assert memory(model)["settled"]
        mapped = memory(model)["mapped_bytes"]
    with libqwen.Model(rows, threads=2) as model, model.session(prefill_chunk=16) as session:
        assert not memory(model)["settled"]
        assert memory(model)["mapped_bytes"] == mapped
        assert settle(model, session, wanted) > 1
        facts = model.info
        # What stays: embeddings that are no head, and routers.
        left = [part for part in facts["parts"] if part["mapped_bytes"]]
        assert {part["part"] for part in left} <= {"embeddings", "router"}
        assert facts["formats"]["layers"] == "Q4_0"
        assert sum(part["bytes"] for part in facts["parts"]) >= mapped
        settle(model, session, wanted)


def test_sessions_that_run_at_once_move_them_together(rows):
    with libqwen.Model(rows, threads=2) as model:
        with model.session() as session:
            wanted = bits(session.logits(IDS))
        failures = []

        def run() -> None:
            try:
                with model.session(prefill_chunk=20) as session:
                    settle(model, session, wanted)
            except BaseException as error:  # noqa: BLE001
                failures.append(error)

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures and memory(model)["settled"]


@pytest.mark.parametrize("options", [{"pack": "off"}, {"pack": "on"}, {"load": "copy"}, {"compute": "float32"}])
def test_nothing_moves_where_that_is_not_asked_for(rows, options):
    with libqwen.Model(rows, **options) as model, model.session() as session:
        before = memory(model)["mapped_bytes"]
        for _ in range(5):
            session.logits(IDS)
            session.reset()
        assert memory(model)["settled"] and memory(model)["mapped_bytes"] == before


SHORT = """
import resource, sys, threading
sys.path.insert(0, sys.argv[1])
import libqwen
ids = list(range(40))
threading.stack_size(1 << 20)
with libqwen.Model(sys.argv[2], threads=1) as model, model.session() as session:
    wanted = session.logits(ids).tobytes()
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[3]), resource.RLIM_INFINITY))
    for _ in range(2000):
        session.reset()
        assert session.logits(ids).tobytes() == wanted
        if model.info["memory"]["settled"]:
            break
    print(model.info["memory"]["mapped_bytes"], model.info["memory"]["settled"])
"""


def test_refused_memory_leaves_them_where_they_are(tmp_path):
    # Layers of more than a mebibyte, which come from the system.
    wide.write(tmp_path / "floats", "qwen2", num_hidden_layers=12, intermediate_size=4096)
    path = tmp_path / "rows.gguf"
    libqwen.convert(tmp_path / "floats", path, weights="q8_0", rounding="plain")
    found = []
    for spare in (6 << 20, 40 << 20, 1 << 30):
        done = subprocess.run(
            [sys.executable, "-c", SHORT, str(ROOT / "bindings" / "python"), str(path), str(spare)],
            capture_output=True, text=True, check=False,
        )
        assert done.returncode == 0, done.stderr
        mapped, settled = done.stdout.split()
        assert settled == "True"
        found.append(int(mapped))
    assert found[0] > found[1] > found[2], found
