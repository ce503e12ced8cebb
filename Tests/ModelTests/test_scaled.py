"""YaRN, linear scaling and sliding windows of the later families against transformers (Tests/Tools/scaled_families.py)."""

from __future__ import annotations

import json

import libqwen
import numpy as np
import pytest
from conftest import EXACT, FIXTURES
from safetensors.numpy import load_file

CASES = json.loads((FIXTURES / "scaled_families.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("chunk", [128, 7, 1])
def test_logits_are_those_of_transformers(name, chunk, tmp_path):
    case = CASES[name]
    for file in (FIXTURES / "tiny" / case["model"]).iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(case["config"]), encoding="utf-8")
    wanted = load_file(FIXTURES / "scaled_families.safetensors")[name]
    ids = case["ids"]
    with libqwen.Model(str(tmp_path), **EXACT) as model:
        with model.session(kv_cache="f32", prefill_chunk=chunk) as session:
            session.logits(ids[:9])
            logits = session.logits(ids, first=len(ids) - len(wanted))
    assert np.abs(logits - wanted).max() < 1e-5 * np.abs(wanted).max()
