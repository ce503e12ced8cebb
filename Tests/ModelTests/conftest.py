"""The library under test and where the references are. LIBQWEN_LIBRARY names the library, LIBQWEN_SMOLLM2 the real
model; without the latter its tests are skipped and say so."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "Tests" / "Fixtures"
sys.path.insert(0, str(ROOT / "bindings" / "python"))

import libqwen

#: Floats throughout: what the references compute.
EXACT = {"compute": "float32"}
#: Greedy, whatever a model's generation_config.json asks for.
GREEDY = {"do_sample": False, "repetition_penalty": 1.0}


@pytest.fixture(scope="session")
def smollm2_path() -> str:
    path = os.environ.get("LIBQWEN_SMOLLM2")
    if not path:
        pytest.skip("LIBQWEN_SMOLLM2 names no model: run Tests/Tools/fetch.sh")
    return path


@pytest.fixture(scope="session")
def smollm2_golden() -> dict:
    return json.loads((FIXTURES / "smollm2.json").read_text(encoding="utf-8"))


def perplexity(model: libqwen.Model, ids: list, window: int) -> float:
    """exp of the mean negative log probability over windows without overlap, first tokens unscored."""
    import math

    total, count = 0.0, 0
    with model.session(context=window, kv_cache="f32") as session:
        for start in range(0, len(ids), window):
            scores = session.score(ids[start : start + window])
            total, count = total - float(sum(map(float, scores))), count + len(scores)
    return math.exp(total / count)
