"""Models, goldens, and the rule when tests are skipped.

Without a library the tests that need one are skipped; if LIBQWEN_LIBRARY names one that can't be
loaded, they fail. Tests with the real model want LIBQWEN_SMOLLM2, the path of its GGUF file
(`python Tests/Tools/smollm2.py fetch`).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

import libqwen

FIXTURES = Path(__file__).resolve().parents[3] / "Tests" / "Fixtures"
TINY = FIXTURES / "tiny"
NAMES = sorted(path.parent.name for path in TINY.glob("*/golden.json"))

#: Greedy, without the penalties that some of the fixtures' generation_config.json ask for.
GREEDY: Dict[str, Any] = {"do_sample": False, "repetition_penalty": 1.0}


def load_library() -> bool:
    try:
        libqwen.library_version()
    except libqwen.QwenLibraryError:
        if os.environ.get("LIBQWEN_LIBRARY"):
            raise
        return False
    return True


def tiny_path(name: str) -> Path:
    folder = TINY / name
    gguf = folder / "model.gguf"
    return gguf if gguf.exists() else folder


@dataclass
class Golden:
    """golden.json and golden.safetensors of a model."""

    facts: Dict[str, Any]
    arrays: Dict[str, Any]

    @classmethod
    def read(cls, name: str) -> Golden:
        from safetensors.numpy import load_file

        facts = json.loads((TINY / name / "golden.json").read_text(encoding="utf-8"))
        return cls(facts, dict(load_file(TINY / name / "golden.safetensors")))

    def ids(self, entry: str) -> List[int]:
        values: List[int] = self.arrays[entry].tolist()
        return values


@pytest.fixture(scope="session")
def library() -> None:
    if not load_library():
        pytest.skip("libqwen.so is not there; set LIBQWEN_LIBRARY")


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def golden(name: str) -> Golden:
    return Golden.read(name)


@pytest.fixture
def model(library: None, name: str) -> Iterator[libqwen.Model]:
    with libqwen.Model(tiny_path(name), compute="float32") as opened:
        yield opened


@pytest.fixture
def exact(model: libqwen.Model) -> Iterator[libqwen.Session]:
    """A session whose cache does not round."""
    with model.session(kv_cache="f32") as session:
        yield session


@pytest.fixture(scope="module")
def launch(library: None) -> Iterator[libqwen.Model]:
    """One model for tests that need any."""
    with libqwen.Model(tiny_path("qwen-launch")) as opened:
        yield opened


@pytest.fixture
def session(launch: libqwen.Model) -> Iterator[libqwen.Session]:
    with launch.session() as opened:
        yield opened


@pytest.fixture(scope="module")
def smollm2(library: None) -> Iterator[libqwen.Model]:
    path = os.environ.get("LIBQWEN_SMOLLM2")
    if not path:
        pytest.skip("LIBQWEN_SMOLLM2 is not set")
    with libqwen.Model(path) as opened:
        yield opened
